import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import { openSession, type DeviceContest, type DevicePolicy } from '../../src/inference/device.js'
import { testGolden } from '../../src/inference/golden.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import type { ModelRole, Scorer } from '../../src/inference/scorer.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import { GraphBuilder } from './onnx-maker.js'
import { cut, makeSchedule, scoreParts, switchModels } from './schedule.js'
import { F, features, gruStep, rowModel, TestStore, windowDense, windowGru, type TestModel } from './test-models.js'
import { scoreTolerance, whyNoWebgpu } from './webgpu-adapter.js'

const skip = await whyNoWebgpu()
/** Few sizes to probe: a software adapter is slow. */
const limits = { limits: { batchRowsMax: 32 } }
const rowsMax = 32

describe('models on WebGPU', () => {
  const store = new TestStore()
  const models = [store.add('gru', gruStep(), limits), store.add('window', windowDense(), limits), store.add('row', rowModel(), limits)]
  const otherRow = store.add('other-row', rowModel(61), limits)
  const refused = store.add('refused', windowGru(), limits)
  const scorers: Scorer[] = []
  const open = async (uses: readonly LoadedModel[], device: DevicePolicy, workers: number): Promise<Scorer> => {
    const roles: ModelRole[] = ['champion', 'shadow', 'shadow']
    const scorer = await createScorer({
      features, window: 8, models: uses.map((model, index) => ({ model, role: roles[index]! })), device, workers, clock: systemClock, limits: { rowsMax }, chunkSlots: 16,
    })
    scorers.push(scorer)
    return scorer
  }
  const parts = cut(makeSchedule(5, { events: 300, entities: 20, features: F, firstSlot: 0 }), 5, rowsMax)
  after(async () => {
    for (const scorer of scorers) await scorer.close()
    store.remove()
  })

  test('give the scores of the CPU, and the same bits with one thread, one worker and three that share the adapter', { skip }, async () => {
    const onCpu = (await scoreParts(await open(models, 'cpu', 0), parts)).scores
    let first: number[][] | undefined
    for (const workers of [0, 1, 3]) {
      const scorer = await open(models, 'webgpu', workers)
      const { scores, failed } = await scoreParts(scorer, parts)
      assert.deepEqual(failed.flat(), [])
      assert.equal(scorer.metrics().workerRestarts, 0)
      assert.match(scorer.deviceClass, / webgpu /)
      first ??= scores
      assert.deepEqual(scores, first, `${workers} workers`)
    }
    assertClose(first!, onCpu)
  })

  test('are replaced while three workers score on the same adapter', { skip }, async () => {
    const scorer = await open(models, 'webgpu', 3)
    let done = false
    const replacing = switchModels(scorer, [models[0]!, models[1]!, otherRow].map((model) => ({ model, role: 'shadow' as const }))).finally(() => (done = true))
    while (!done) assert.deepEqual((await scoreParts(scorer, parts.slice(0, 3))).failed.flat(), [])
    await replacing
    assert.deepEqual(scorer.models.map(({ reference, device }) => `${reference} ${device}`), ['gru@1 webgpu', 'window@1 webgpu', 'other-row@1 webgpu'])
  })

  test('are refused with the nodes that have no kernel there: by name where the device is named, in the note with auto', { skip }, async () => {
    await assert.rejects(open([refused], 'webgpu', 1), (error) => {
      assert.ok(error instanceof HarrierError)
      assert.equal(error.code, 'DEVICE_UNAVAILABLE')
      assert.equal(error.message, 'refused@1 cannot run on webgpu: it has no kernel there for Cast')
      assert.match(error.remedy, /export the model without these nodes/)
      return true
    })
    const named = new GraphBuilder(7)
    named.input('x', ['B', F])
    const shrunk = named.op('Shrink', [named.op('Round', [named.dense('x', F, 4)])])
    named.output(named.op('Sigmoid', [named.dense(shrunk, 4, 1)]), 'score', ['B', 1])
    const { manifest }: TestModel = rowModel()
    const scorer = await open([models[0]!, store.add('round', { bytes: named.model(), manifest }, limits)], 'auto', 1)
    assert.equal(scorer.models[1]!.device, 'cpu')
    assert.match(scorer.models[1]!.deviceNote!, /^no GPU can run it: .*webgpu: it has no kernel there for (Round, Shrink|Shrink, Round)$/)
    assert.equal(scorer.metrics().deviceFallbacks, 1, 'the other one has an adapter, whatever is faster')
  })

  test('compete with the CPU when the device is auto: the faster one at the topology\'s batch size has it, and the note has the times', { skip }, async () => {
    const bytes = rowModel().bytes as Uint8Array<ArrayBuffer>
    const contest = (gpuMs: number, cpuMs: number, workers: number) => (): DeviceContest => {
      // webgpu is timed first
      const times = [gpuMs, cpuMs]
      return { rows: 500, workers, timeRun: () => Promise.resolve(times.shift()!) }
    }
    const settled = async (gpuMs: number, cpuMs: number, workers = 1): Promise<string> => {
      const { session, device, deviceNote } = await openSession(bytes, 'row@1', 'auto', contest(gpuMs, cpuMs, workers))
      await session.release()
      return `${device}: ${deviceNote!.replace(/; cuda: .*/, '')}`
    }
    assert.equal(await settled(1, 2.5), 'webgpu: 500 rows take 1.00 ms on webgpu and 2.50 ms on cpu')
    assert.equal(await settled(25, 2.5), 'cpu: 500 rows take 25 ms on webgpu and 2.50 ms on cpu')
    assert.equal(await settled(1, 2.5, 3), 'cpu: 500 rows take 1.00 ms on webgpu and 2.50 ms on cpu, and 3 workers share webgpu')
    const failing = (): DeviceContest => ({ rows: 500, workers: 1, timeRun: () => Promise.reject(new Error('device lost')) })
    const { device, deviceNote, session } = await openSession(bytes, 'row@1', 'auto', failing)
    await session.release()
    assert.equal(device, 'cpu')
    assert.match(deviceNote!, /^no GPU can run it: webgpu: device lost/)
  })

  for (const name of ['card-attention', 'card-cnn', 'card-gru', 'card-row']) {
    test(`${name} gives the scores of its training framework`, { skip }, async () => {
      const { model, largestDifference, dependent, passed } = await testGolden(`${modelsFolder}/${name}/1`, { device: 'webgpu', clock: systemClock })
      assert.equal(model.device, 'webgpu')
      assert.equal(passed, true, `largest difference ${largestDifference}, ${dependent} rows depend on their neighbours`)
    })
  }
})

function assertClose(actual: readonly number[][], expected: readonly number[][]): void {
  const differences = actual.flatMap((scores, event) => scores.map((score, model) => Math.abs(score - expected[event]![model]!)))
  assert.ok(differences.length > 0 && differences.every((difference) => difference <= scoreTolerance), `largest difference ${Math.max(...differences)}`)
}
