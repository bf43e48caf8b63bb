import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { harrier } from '../stack/stack-fixture.js'
import { repositoryRoot } from '../golden/repository-root.js'

const examples = join(repositoryRoot(), 'docs', 'examples', 'models')
const topology = join(examples, 'authorisations.yaml')

describe('harrier models', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-models-cli-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  /** A copy of an example that a test may spoil. */
  const copyOf = (name: string, change: (manifest: string) => string = (text) => text): string => {
    const copy = mkdtempSync(join(folder, `${name}-`))
    cpSync(join(examples, 'models', name, '1'), copy, { recursive: true })
    writeFileSync(join(copy, 'model.yaml'), change(readFileSync(join(copy, 'model.yaml'), 'utf8')))
    return copy
  }

  for (const name of ['auth-cnn', 'auth-gru', 'auth-trees']) {
    it(`inspect writes a manifest for ${name} that passes its golden rows as it is`, async () => {
      const { stdout, code } = await harrier(['models', 'inspect', join(examples, 'models', name, '1', 'model.onnx'), '--topology', topology, '--manifest'], {})
      assert.equal(code, 0)
      const tested = await harrier(['models', 'test', copyOf(name, () => stdout)], {})
      assert.match(tested.stdout, /ok {6}96 scores of 4 sequences/)
      assert.equal(tested.code, 0)
    })
  }

  it('inspect prints what goes in and out, operators, opsets, parameters and size', async () => {
    const { stdout } = await harrier(['models', 'inspect', join(examples, 'models', 'auth-attention', '1', 'model.onnx')], {})
    for (const text of ['33 KB', 'ai.onnx 17', 'parameters  2,291', 'Softmax', 'x  float32 [16, batch, 7]', 'padding  bool [batch, 16]', 'logit  float32 [batch, 1]']) {
      assert.ok(stdout.includes(text), `${text} in ${stdout}`)
    }
    assert.match(stdout, /layout: time-major[^]*padding, what: padding-mask[^]*last, what: last-row[^]*score: \{meaning: logit\}/)
  })

  it('inspect says how to export a tree model whose probabilities are a list of maps', async () => {
    const { stdout } = await harrier(['models', 'inspect', join(repositoryRoot(), 'test', 'golden', 'models', 'zipmap.onnx')], {})
    assert.match(stdout, /output_probability {2}a sequence or a map/)
    assert.match(stdout, /export again with options=\{id\(model\): \{'zipmap': False\}\}/)
    assert.match(stdout, /to be corrected/)
  })

  it('a manifest that reads such an output is refused with the same advice', async () => {
    const copy = copyOf('auth-trees', () => '')
    cpSync(join(repositoryRoot(), 'test', 'golden', 'models', 'zipmap.onnx'), join(copy, 'model.onnx'))
    const { stdout } = await harrier(['models', 'inspect', join(copy, 'model.onnx'), '--manifest'], {})
    const manifest = stdout.replace(/outputs:\n#[^]*/, 'outputs:\n- {name: output_probability, what: score}\n')
    writeFileSync(join(copy, 'model.yaml'), manifest)
    writeFileSync(join(copy, 'golden.json'), JSON.stringify({ sequences: [{ rows: [Array(14).fill(0)], scores: [0] }] }))
    const { code, stderr } = await harrier(['models', 'test', copy], {})
    assert.match(stderr, /model\.yaml: outputs\[0\]\.name: output "output_probability" is no tensor .*'zipmap': False/)
    assert.notEqual(code, 0)
  })

  const mistakes: [string, string, (manifest: string) => string, RegExp][] = [
    ['a logit taken for a probability', 'auth-gru', (text) => text.replace('meaning: logit', 'meaning: probability'), /in model\.yaml: the output is a logit: write score: \{meaning: logit\}/],
    ['the other class', 'auth-cnn', (text) => text.replace('column: 1', 'column: 0'), /in model\.yaml: the scores are those of the other class: write score: \{column: 1\}/],
    ['zeros on the wrong side', 'auth-attention', (text) => text.replace('padding: right', 'padding: left'), /only windows that are not full differ: write padding: right/],
    ['values of a category in another order', 'auth-trees', (text) => text.replace('[CHIP, CONTACTLESS, ECOM, ATM]', '[ATM, CONTACTLESS, ECOM, CHIP]'), /expected 0\.\d+, got 0\.\d+/],
    ['features in another order', 'auth-trees', (text) => text.replace('log_amount, hour_sin', 'hour_sin, log_amount'), /FAILED {2}96 scores/],
  ]
  for (const [what, name, change, message] of mistakes) {
    it(`test fails for ${what}, with exit code 1`, async () => {
      const { code, stdout } = await harrier(['models', 'test', copyOf(name, change)], {})
      assert.match(stdout, /FAILED/)
      assert.match(stdout, message)
      assert.equal(code, 1)
    })
  }

  const goldens: [string, unknown, RegExp][] = [
    ['no golden.json', undefined, /golden\.json: there is none\n.*write \{"tolerance"/],
    ['another number of scores', { sequences: [{ rows: [[]], scores: [] }] }, /sequences\.0: 1 rows and 0 scores/],
    ['a row that is too short', { sequences: [{ rows: [[1]], scores: [1] }] }, /sequences\.0\.rows\.0: has 1 numbers for 7 features/],
    ['a text that is no category', { sequences: [{ rows: [[1, 'x', 1, 1, 1, 1, 1]], scores: [1] }] }, /sequences\.0\.rows\.0\.1: "x" is no number/],
    ['a field that there is not', { sequence: [] }, /sequences.*: .*; .*"sequence"/],
  ]
  for (const [what, golden, message] of goldens) {
    it(`test names file and place: ${what}`, async () => {
      const copy = copyOf('auth-gru')
      rmSync(join(copy, 'golden.json'))
      if (golden !== undefined) writeFileSync(join(copy, 'golden.json'), JSON.stringify(golden))
      const { code, stderr } = await harrier(['models', 'test', copy], {})
      assert.match(stderr, message)
      assert.notEqual(code, 0)
    })
  }

  it('topology check --models opens the models as run would, and refuses what run would refuse', async () => {
    const good = await harrier(['topology', 'check', topology, '--models', join(examples, 'models')], {})
    assert.equal(good.code, 0, good.stderr)
    assert.match(good.stdout, /^model auth-cnn@1 \(champion\): window of 16 rows, reads 8 of the 9 features of stage card\n(model auth-\w+@1 \(shadow\): .*\n){3}.*authorisations\.yaml: ok /)
    const broken = join(folder, 'authorisations.yaml')
    writeFileSync(broken, readFileSync(topology, 'utf8').replace('name: night', 'name: nights'))
    const refused = await harrier(['topology', 'check', broken, '--models', join(examples, 'models')], {})
    assert.match(refused.stderr, /auth-cnn@1 reads features that the stage does not have: night\n/)
    assert.equal(refused.code, 2)
    assert.match((await harrier(['topology', 'check', topology, '--models', folder], {})).stderr, /no .*auth-cnn.1.model\.yaml for auth-cnn@1/)
  })

  it('inspect says of a file that is none what it is', async () => {
    mkdirSync(join(folder, 'x'))
    writeFileSync(join(folder, 'x', 'model.onnx'), 'not a model')
    const { code, stderr } = await harrier(['models', 'inspect', join(folder, 'x', 'model.onnx')], {})
    assert.match(stderr, /model\.onnx is no ONNX file: /)
    assert.notEqual(code, 0)
    assert.match((await harrier(['models', 'inspect', join(folder, 'none.onnx')], {})).stderr, /none\.onnx cannot be read: ENOENT/)
  })
})
