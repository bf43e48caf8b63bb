import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { stringify } from 'yaml'
import { parseManifest } from '../../src/inference/manifest-schema.js'
import { featureIndexes } from '../../src/inference/loaded-model.js'
import { loadModelFolder, ModelStore } from '../../src/inference/model-store.js'
import { openModel } from '../../src/inference/open-model.js'
import { gruOperator, gruStep, rowModel, TestStore, windowDense, type TestModel } from './test-models.js'

const x = { name: 'x', what: 'features' }
const h = { name: 'h', what: 'state:0' }
const score = { name: 's', what: 'score' }
const whole = { name: 'm', version: 1, sha256: 'a'.repeat(64), ...gruStep().manifest }
const parseOf = (change: Record<string, unknown>) => parseManifest(stringify({ ...whole, ...change }), 'models/m/1/model.yaml')

describe('a manifest', () => {
  test('has defaults for what it leaves out', () => {
    const manifest = parseOf({})
    assert.equal(manifest.version, '1')
    assert.deepEqual(manifest.score, { meaning: 'probability', column: 0 })
    assert.deepEqual(manifest.limits, { batchRowsMax: 512, timeoutMs: 5000 })
    assert.deepEqual(manifest.states, [{ shape: [12], batchAxis: 0 }])
  })

  const wrong: [string, Record<string, unknown>, RegExp][] = [
    ['a kind that there is not', { kind: 'tree' }, /kind/],
    ['a field that there is not', { windw: 3 }, /windw/],
    ['a sha256 that is none', { sha256: 'abc' }, /sha256: 64 hexadecimal digits/],
    ['no input for the features', { inputs: [h] }, /inputs: no input is fed with features; write/],
    ['no output for the score', { outputs: [{ name: 'h', what: 'next-state:0' }] }, /outputs: exactly one output is the score/],
    ['a state without its output', { outputs: [score] }, /exactly one output is next-state:0/],
    ['an input for a state that there is not', { inputs: [x, h, { name: 'c', what: 'state:1' }] }, /inputs\.2\.what: there are 1 states/],
    ['a recurrent model without states', { states: [] }, /states: a recurrent model has at least one state/],
    ['a recurrent model with a window', { window: 4 }, /window: a recurrent model has no window/],
    ['a window model without its window', { kind: 'window', states: [], inputs: [x], outputs: [score] }, /window: a window model names/],
    ['a feature twice', { features: ['f0', 'f0'] }, /features: feature names are unique/],
    ['a reference of no feature', { reasons: { reference: { f9: 1 } } }, /reasons\.reference\.f9: is not in features; write one of f0, f1/],
    ['a reference that is no number', { reasons: { reference: { f0: 'much' } } }, /reasons\.reference\.f0: "much" is no number/],
    ['a reference that is no value of the category', { categories: { f1: { values: ['A', 'B'] } }, reasons: { reference: { f1: 'C' } } }, /reasons\.reference\.f1: "C" is not in categories\.f1\.values; write one of A, B/],
    ['a part of no feature', { reasons: { parts: [{ name: 'a', features: ['f9'], text: 'a' }] } }, /reasons\.parts\.0\.features: "f9" is not in features/],
    ['a feature in two parts', { reasons: { parts: [{ name: 'a', features: ['f1'], text: 'a' }, { name: 'b', features: ['f1'], text: 'b' }] } }, /reasons\.parts\.1\.features: "f1" is in two parts/],
    ['a part twice', { reasons: { parts: [{ name: 'a', features: ['f1'], text: 'a' }, { name: 'a', features: ['f2'], text: 'b' }] } }, /reasons\.parts\.1\.name: "a" stands twice/],
    ['a text about no feature', { reasons: { parts: [{ name: 'a', features: ['f1'], text: 'as {f7}' }] } }, /reasons\.parts\.0\.text: \{f7\}: there is no value "f7"; write one of/],
    ['a text with no format', { reasons: { parts: [{ name: 'a', features: ['f1'], text: 'as {f1:money}' }] } }, /reasons\.parts\.0\.text: \{f1:money\}: there is no format "money"; write 0 to 6/],
    ['a brace of its own', { reasons: { pastEvent: 'the {ago before' } }, /reasons\.pastEvent: a brace has no other/],
    ['more past events than can be told apart', { reasons: { pastEvents: 25 } }, /reasons\.pastEvents/],
    ['a file in another folder', { file: '../model.onnx' }, /file: a file beside model.yaml/],
  ]
  for (const [what, change, message] of wrong) {
    test(`with ${what} is refused, and the message names file and field`, () => {
      assert.throws(() => parseOf(change), { code: 'MANIFEST_INVALID', message: new RegExp(`^models/m/1/model.yaml: .*${message.source}`) })
    })
  }

  test('that is not YAML is refused', () => {
    assert.throws(() => parseManifest('a: [', 'model.yaml'), { code: 'MANIFEST_INVALID', message: /^model.yaml is not YAML/ })
  })
})

describe('a model store', () => {
  const store = new TestStore()
  const models = new ModelStore(store.root)
  after(() => store.remove())

  test('lists versions in order and loads one', () => {
    store.add('b', rowModel())
    store.add('a', rowModel())
    mkdirSync(join(store.root, 'a', 'not-a-version'))
    assert.deepEqual(models.list(), ['a@1', 'b@1'])
    assert.equal(models.load('b@1').manifest.kind, 'row')
    assert.deepEqual(new ModelStore(join(store.root, 'nowhere')).list(), [])
  })

  test('says what is there when a version is not', () => {
    assert.throws(() => models.load('b@2'), { code: 'MODEL_NOT_FOUND', remedy: 'these are there: a@1, b@1' })
    assert.throws(() => models.load('b'), { code: 'MODEL_NOT_FOUND', remedy: /<name>@<version>/ })
  })

  test('refuses an altered file, a missing file, and a folder that says otherwise', () => {
    const { file, folder } = store.add('c', rowModel())
    appendFileSync(file, 'x')
    assert.throws(() => models.load('c@1'), { code: 'MODEL_INVALID', message: /has sha256 [0-9a-f]{64}, its manifest says/ })
    rmSync(file)
    assert.throws(() => loadModelFolder(folder), { code: 'MODEL_INVALID', message: /cannot be read/ })
    const { bytes, manifest } = rowModel()
    const other = store.add('d', { bytes, manifest })
    writeFileSync(join(other.folder, 'model.yaml'), stringify({ ...other.manifest, name: 'e' }))
    assert.throws(() => models.load('d@1'), { code: 'MANIFEST_INVALID', message: /says e@1, its folder says d@1/ })
  })

  test('finds a model\'s features in another order, and names those that are missing', () => {
    const model = store.add('f', gruOperator())
    assert.deepEqual([...featureIndexes(model, ['f0', 'f1', 'f2', 'f3'])], [3, 1, 0])
    assert.throws(() => featureIndexes(model, ['f0', 'f2']), { code: 'MODEL_INVALID', message: /does not have: f3, f1$/ })
  })

  const misfits: [string, TestModel, Record<string, unknown>, RegExp][] = [
    ['an input that the graph lacks', rowModel(), { inputs: [{ name: 'y', what: 'features' }] }, /the manifest does not name the inputs x/],
    ['another number of features', rowModel(), { features: ['f0', 'f1'] }, /"x" has shape \[B, 5\], expected \[B, 2\]/],
    ['another window', windowDense(), { window: 3 }, /"x" has shape \[B, 4, 5\], expected \[B, 3, 5\]/],
    ['another state', gruStep(), { states: [{ shape: [6] }] }, /"h" has shape \[B, 12\], expected \[B, 6\]/],
    ['an output that the graph lacks', rowModel(), { outputs: [{ name: 'z', what: 'score' }] }, /outputs\[0\].name: the graph has no output "z"; write one of: score/],
  ]
  for (const [index, [what, model, change, message]] of misfits.entries()) {
    test(`does not open a graph whose manifest has ${what}`, async () => {
      const added = store.add(`misfit-${index}`, model, change)
      await assert.rejects(openModel({ model: added, epoch: 1, policy: 'cpu', rowsMultiple: null }), { code: 'MODEL_INVALID', message })
    })
  }

  test('does not open what is not ONNX', async () => {
    const model = store.add('garbage', { bytes: Buffer.from('not a model'), manifest: rowModel().manifest })
    const open = openModel({ model, epoch: 1, policy: 'cpu', rowsMultiple: null })
    await assert.rejects(open, { code: 'MODEL_INVALID', message: /garbage\/1\/model\.onnx is no ONNX file/ })
  })
})
