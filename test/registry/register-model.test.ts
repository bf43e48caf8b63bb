import assert from 'node:assert/strict'
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { manifestFile } from '../../src/inference/loaded-model.js'
import { ModelStore } from '../../src/inference/model-store.js'
import { readRegistration, registrationFile } from '../../src/inference/registration.js'
import { registerModel, type Registered } from '../../src/registry/register-model.js'
import { F, gruStep, rowModel, TestStore } from '../inference/test-models.js'

describe('registering a model version', () => {
  const made = new TestStore()
  const root = mkdtempSync(join(tmpdir(), 'harrier-registered-'))
  after(() => {
    made.remove()
    rmSync(root, { recursive: true, force: true })
  })
  const register = (folder: string, actor = 'anna'): Promise<Registered> => registerModel({ folder, root, actor, device: 'cpu', harrier: '0.0.0', clock: systemClock })

  it('puts it where versions live, with who, when and what its trial run said', async () => {
    const { folder } = made.add('gru', gruStep())
    const { model, isNew, registration } = await register(folder)
    assert.ok(isNew)
    assert.equal(model.folder, join(root, 'gru', '1'))
    assert.equal(new ModelStore(root).load('gru@1').manifest.sha256, model.manifest.sha256)
    assert.deepEqual(readRegistration(model.folder), registration)
    assert.deepEqual(Object.keys(registration.files), ['model.yaml', 'model.onnx'])
    assert.equal(registration.actor, 'anna')
    assert.deepEqual([registration.trial.rows, registration.trial.golden, registration.trial.device], [3, false, 'cpu'])
    assert.deepEqual(readdirSync(join(root, 'gru')), ['1'], 'nothing is left beside it')
  })

  it('again with the same files changes nothing, with other files it is refused', async () => {
    const again = await register(join(made.root, 'gru', '1'), 'bert')
    assert.ok(!again.isNew)
    assert.equal(again.registration.actor, 'anna')
    const { folder } = made.add('gru', gruStep(77))
    await assert.rejects(register(folder), { code: 'RELEASE_REFUSED', message: /gru@1 is in .* already, and model.yaml, model.onnx differ: a version never changes/ })
    const { manifest } = again.model
    const path = join(root, 'gru', '1', manifestFile)
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, `${text}score: { meaning: logit }\n`)
    const registered = again.registration.files[manifestFile]
    assert.throws(() => new ModelStore(root).find('gru@1'), { code: 'MODEL_INVALID', message: new RegExp(`model.yaml has sha256 [0-9a-f]{64}, its registration says ${registered}`) }, 'the graph would be read in another way')
    writeFileSync(path, text)
    assert.equal(new ModelStore(root).find('gru@1').manifest.sha256, manifest.sha256)
  })

  it('is for a version that was put there by hand, too', async () => {
    const folder = join(root, 'by-hand', '1')
    mkdirSync(join(root, 'by-hand'))
    cpSync(made.add('by-hand', rowModel()).folder, folder, { recursive: true })
    assert.equal(readRegistration(folder), undefined)
    assert.ok((await register(folder)).isNew)
    assert.ok(existsSync(join(folder, registrationFile)))
  })

  it('refuses an altered file, golden rows that differ, and scores that are not finite; and leaves nothing', async () => {
    const altered = made.add('altered', rowModel())
    appendFileSync(altered.file, 'x')
    await assert.rejects(register(altered.folder), { code: 'MODEL_INVALID', message: /has sha256/ })
    const wrong = made.add('wrong', rowModel())
    writeFileSync(join(wrong.folder, 'golden.json'), JSON.stringify({ sequences: [{ rows: [Array.from({ length: F }, () => 0.5)], scores: [2] }] }))
    await assert.rejects(register(wrong.folder), { code: 'MODEL_INVALID', message: /its golden rows do not give their scores: 1 of 1 differ/ })
    assert.deepEqual(readdirSync(root).sort(), ['by-hand', 'gru'])
  })
})
