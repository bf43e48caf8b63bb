import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { appendFileSync, closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { stringify } from 'yaml'
import { Prng } from '../../src/base/prng.js'
import { systemClock } from '../../src/base/clock.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import { inspectModel } from '../../src/inference/inspect-model.js'
import { sha256OfFile, type LoadedModel } from '../../src/inference/loaded-model.js'
import { loadModelFolder, readModelFolder } from '../../src/inference/model-store.js'
import { openModel } from '../../src/inference/open-model.js'
import { makeSchedule, scoreParts, switchModels } from './schedule.js'
import { GraphBuilder } from './onnx-maker.js'
import { F, features, rowModel, TestStore } from './test-models.js'

const width = 2300
const layers = 5
const dataBytes = 4 * (F * width + layers * width * width + width)
/** What a process may hold on to of a model that is gone: allocators, compiled code, stacks of threads. */
const keptBytesMax = 60e6

describe('a model of 106 MB in a file beside it', () => {
  const store = new TestStore()
  let large: LoadedModel
  let small: LoadedModel

  before(() => {
    small = store.add('small', rowModel())
    large = addLarge(store)
  })
  after(() => store.remove())

  test('is inspected without being read whole, and the manifest names its weights', async () => {
    const facts = await inspectModel(large.file)
    assert.equal(facts.bytes < 10_000, true)
    assert.equal(facts.graph.parameters, dataBytes / 4)
    assert.deepEqual(facts.externalData, [{ file: 'model.onnx.data', bytes: dataBytes, sha256: large.manifest.externalData[0]!.sha256 }])
    assert.equal(facts.problem, null)
    assert.match(facts.manifest, /^externalData:\n- \{file: "model.onnx.data", sha256: [0-9a-f]{64}\}$/m)
  })

  test('comes and goes beside a small one while frames are scored, and its memory goes with it', async () => {
    const uses = [small, small].map((model) => ({ model, role: 'shadow' as const }))
    const scorer = await createScorer({ features, window: 1, models: uses, device: 'cpu', workers: 1, clock: systemClock, limits: { rowsMax: 8 }, chunkSlots: 16 })
    try {
      const events = makeSchedule(3, { events: 8, entities: 8, features: F, firstSlot: 0 })
      const smallScores = (await scoreParts(scorer, [events])).scores.map((scores) => scores[0])
      const residentBefore = resident()
      let scored = 0
      const swap = async (model: LoadedModel): Promise<void> => {
        let done = false
        const replacing = switchModels(scorer, [uses[0]!, { model, role: 'shadow' }]).finally(() => (done = true))
        while (!done) {
          const { scores, failed } = await scoreParts(scorer, [events])
          assert.deepEqual(failed, [[]])
          assert.deepEqual(scores.map((each) => each[0]), smallScores)
          scored++
          await systemClock.sleep(1)
        }
        await replacing
      }
      for (let round = 0; round < 3; round++) {
        await swap(large)
        const { fileBytes, openedBytes } = scorer.models[1]!
        assert.ok(fileBytes > dataBytes && openedBytes > 0.5 * dataBytes, `${openedBytes} bytes are reported`)
        await scoreParts(scorer, [events])
        const open = resident() - residentBefore
        assert.ok(open < dataBytes + keptBytesMax, `${open} bytes more with the model open, round ${round}`)
        // Once out of force it rests for a way back; with the next switch it is gone.
        await swap(small)
        await swap(small)
        await until(() => resident() - residentBefore < keptBytesMax)
        const kept = resident() - residentBefore
        assert.ok(kept < keptBytesMax, `${kept} bytes kept of it, round ${round}`)
      }
      assert.ok(scored > 30, `${scored} frames were scored while models were opened`)
    } finally {
      await scorer.close()
    }
  })

  test('is refused when its weights are altered, missing, or not named by the manifest', async () => {
    const other = addLarge(store, 'other', 64)
    const manifest = readFileSync(join(other.folder, 'model.yaml'), 'utf8')
    writeFileSync(join(other.folder, 'model.yaml'), manifest.replace(/externalData:[^]*?\n(?=\w)/, ''))
    const unnamed = loadModelFolder(other.folder)
    await assert.rejects(openModel({ model: unnamed, epoch: 1, policy: 'cpu', rowsMultiple: null }), { code: 'MODEL_INVALID', message: /externalData lacks model\.onnx\.data/ })
    writeFileSync(join(other.folder, 'model.yaml'), manifest)
    appendFileSync(join(other.folder, 'model.onnx.data'), 'x')
    assert.throws(() => loadModelFolder(other.folder), { code: 'MODEL_INVALID', message: /model\.onnx\.data has sha256/ })
    writeFileSync(join(other.folder, 'model.yaml'), manifest.replace('file: model.onnx.data', 'file: elsewhere.data'))
    assert.throws(() => loadModelFolder(other.folder), { code: 'MODEL_INVALID', message: /elsewhere\.data cannot be read/ })
    assert.equal(readModelFolder(other.folder).reference, 'other@1', 'the manifest alone can be read')
    rmSync(join(other.folder, 'model.onnx.data'))
    await assert.rejects(inspectModel(other.file), { code: 'MODEL_INVALID', message: /model\.onnx takes weights from model\.onnx\.data, which does not lie beside it/ })
  })
})

/** Dense layers with tanh between them; all weights in model.onnx.data. */
function addLarge({ root }: TestStore, name = 'large', size = width): LoadedModel {
  const folder = join(root, name, '1')
  mkdirSync(folder, { recursive: true })
  const data = openSync(join(folder, 'model.onnx.data'), 'w')
  const graph = new GraphBuilder(1)
  const prng = new Prng(9)
  const pattern = Float32Array.from({ length: size * 7 + 3 }, () => prng.normal() / Math.sqrt(size))
  let at = 0
  const weights = (rows: number, columns: number): string => {
    const values = Float32Array.from({ length: rows * columns }, (_, i) => pattern[i % pattern.length]!)
    writeSync(data, new Uint8Array(values.buffer))
    const made = graph.external([rows, columns], 'model.onnx.data', at)
    at += values.byteLength
    return made
  }
  graph.input('x', ['B', F])
  let hidden = graph.op('Tanh', [graph.op('MatMul', ['x', weights(F, size)])])
  for (let layer = 0; layer < layers; layer++) hidden = graph.op('Tanh', [graph.op('MatMul', [hidden, weights(size, size)])])
  graph.output(graph.op('Sigmoid', [graph.op('MatMul', [hidden, weights(size, 1)])]), 'score', ['B', 1])
  closeSync(data)
  const bytes = graph.model()
  writeFileSync(join(folder, 'model.onnx'), bytes)
  const externalData = [{ file: 'model.onnx.data', sha256: sha256OfFile(join(folder, 'model.onnx.data')) }]
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const { manifest } = rowModel()
  writeFileSync(join(folder, 'model.yaml'), stringify({ name, version: 1, sha256, externalData, ...manifest, limits: { batchRowsMax: 8, timeoutMs: 60_000 } }))
  return loadModelFolder(folder)
}

function resident(): number {
  return process.memoryUsage.rss()
}

/** Waits for what a thread that ends gives back. */
async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 100 && !holds(); tries++) await systemClock.sleep(50)
}
