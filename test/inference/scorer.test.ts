import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '../../src/base/clock.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import type { Scorer, ScorerOptions } from '../../src/inference/scorer.js'
import { HIDDEN_HEAD } from '../../src/inference/sequence-memory.js'
import { NaiveScorer } from './naive-scorer.js'
import { allBytes, contents, cut, fill, makeSchedule, scoreParts } from './schedule.js'
import { F, features, gruOperator, gruStep, H, poisonable, rowModel, TestStore, windowDense, windowGru } from './test-models.js'

const rowsMax = 40
const ring = 8
const entities = 9

describe('a scorer', () => {
  const store = new TestStore()
  const scorers: Scorer[] = []
  let models: LoadedModel[] = []
  let nextSlot = 0
  const options = (more: Partial<ScorerOptions> = {}): ScorerOptions => ({
    features, window: ring, models: models.map((model) => ({ model, role: 'shadow' })), device: 'cpu', workers: 0, clock: systemClock,
    limits: { rowsMax, framesMax: 3 }, chunkSlots: 16, ...more,
  })
  const open = async (more: Partial<ScorerOptions> = {}): Promise<Scorer> => {
    const scorer = await createScorer(options(more))
    scorers.push(scorer)
    return scorer
  }
  const schedule = (seed: number, events: number) => {
    const firstSlot = nextSlot
    nextSlot += entities
    return { firstSlot, events: makeSchedule(seed, { events, entities, features: F, firstSlot }) }
  }

  before(() => {
    models = [
      store.add('gru-step', gruStep()), store.add('gru-operator', gruOperator()), store.add('poisonable', poisonable()),
      // Several chunks of a frame, and several runs of a chunk.
      store.add('window-dense', windowDense(), { limits: { batchRowsMax: 5 } }), store.add('window-gru', windowGru(), { limits: { batchRowsMax: 3 } }),
      store.add('row', rowModel()), store.add('row-log', rowModel(7, true)),
      store.add('row-small-batches', rowModel(8), { limits: { batchRowsMax: 3 } }),
      store.add('gru-small-batches', gruStep(9), { limits: { batchRowsMax: 2 } }),
    ]
  })
  after(async () => {
    for (const scorer of scorers) await scorer.close()
    store.remove()
  })

  test('gives the bits of a plain computation, one event at a time', async () => {
    const scorer = await open()
    const naive = await NaiveScorer.create(models, ring, scorer.models.map((model) => model.rowsMultiple))
    const { events } = schedule(11, 400)
    const expected: number[][] = []
    for (const event of events) expected.push(await naive.score(event))
    const { scores } = await scoreParts(scorer, cut(events, 12, rowsMax))
    scores.forEach((row, index) => assert.deepEqual(row, expected[index], `event ${index} ${JSON.stringify(events[index])}`))
    assert.ok(scores.some((row) => Number.isNaN(row[2])), 'the schedule poisons some rows')
    assert.ok(scores.every((row) => row.every((score, model) => model === 2 || (score > 0 && score < 1))))
    assert.ok(scorer.metrics().models[2]!.failures.notFinite > 0)
  })

  test('gives the same bits for any cut into frames, any number of frames in flight and any number of workers', async () => {
    const inline = await open()
    const pools = [await open({ workers: 1 }), await open({ workers: 2 }), await open({ workers: 3 })]
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 3 }), async (seed, ahead) => {
        const { firstSlot, events } = schedule(seed, 120)
        const one = await scoreParts(inline, events.map((event) => [event]))
        const state = contents(inline, firstSlot, entities)
        for (const [index, scorer] of [inline, ...pools].entries()) {
          // inline once more: other slots of the same scorer
          const shift = index === 0 ? (nextSlot += entities) - entities - firstSlot : 0
          const moved = events.map((event) => ({ ...event, slot: event.slot + shift }))
          const many = await scoreParts(scorer, cut(moved, seed + index, rowsMax), ahead)
          assert.deepEqual(many.scores, one.scores)
          assert.deepEqual(contents(scorer, firstSlot + shift, entities), state)
        }
      }),
      { numRuns: 12 },
    )
  })

  test('takes frames back to the bit, two in flight, newest first', async () => {
    for (const workers of [0, 2]) {
      const scorer = await open({ workers })
      for (let seed = 1; seed <= 25; seed++) {
        const { events } = schedule(1, 0)
        events.push(...makeSchedule(seed, { events: 90, entities, features: F, firstSlot: 0 }))
        scorer.memory.ensureSlots(entities)
        const [first, ...rest] = cut(events, seed, rowsMax)
        await scoreParts(scorer, [first!])
        for (const [n, next] of rest.map((part, index) => [part, rest[index + 1] ?? []] as const)) {
          const was = allBytes(scorer)
          const frames = [scorer.acquireFrame()!, scorer.acquireFrame()!] as const
          fill(frames[0], n)
          fill(frames[1], next)
          await Promise.all(frames.map((frame) => scorer.score(frame)))
          scorer.undo(frames[1])
          scorer.undo(frames[0])
          assert.ok(was.equals(allBytes(scorer)), `seed ${seed}`)
          scorer.undo(frames[0])
          assert.ok(was.equals(allBytes(scorer)), 'a second undo changes nothing')
          for (const frame of frames) scorer.releaseFrame(frame)
          await scoreParts(scorer, [n])
        }
      }
    }
  })

  test('comes to the same state with stateOnly as with all models', async () => {
    const scorer = await open()
    const { firstSlot, events } = schedule(21, 200)
    await scoreParts(scorer, cut(events, 22, rowsMax))
    const state = contents(scorer, firstSlot, entities)
    const shift = nextSlot - firstSlot
    nextSlot += entities
    const moved = events.map((event) => ({ ...event, slot: event.slot + shift }))
    const again = await scoreParts(scorer, cut(moved, 23, rowsMax), 2, () => ({ stateOnly: true }))
    assert.deepEqual(contents(scorer, firstSlot + shift, entities), state)
    assert.ok(again.scores.every((row) => Number.isNaN(row[3]) && Number.isNaN(row[5])), 'window and row models have not run')
  })

  test('warms a hidden state of another epoch from the ring, as if the model had run over its rows', async () => {
    const carried = await open({ models: [{ model: models[0]!, role: 'champion', epoch: 1 }] })
    const released = await open({ models: [{ model: models[0]!, role: 'champion', epoch: 2 }] })
    // no more rows than the ring keeps, so that the carried state has seen exactly the ring
    const drawn = makeSchedule(31, { events: ring, entities: 1, features: F, firstSlot: 0 })
    const events = drawn.map((event, index) => ({ ...event, flags: index === 0 ? 1 : 0, eventTime: index }))
    const next = { slot: 0, flags: 0, eventTime: 100, row: [0.1, 0.2, 0.3, 0.4, 0.5] }
    const { scores } = await scoreParts(carried, [events, [next]])
    await scoreParts(released, [events])
    // what a restore leaves there: the ring, and a hidden state of epoch 1
    const slab = released.memory.hidden[0]!
    slab.words[0]![0] = 1
    slab.words[0]!.fill(0x3f800000, HIDDEN_HEAD, HIDDEN_HEAD + H)
    const warmed = await scoreParts(released, [[next]])
    assert.deepEqual(warmed.scores[0], scores.at(-1))
    assert.equal(released.metrics().warmedRows, 1)
    assert.deepEqual(contents(released, 0, 1)[0]!.slice(-H * 8), contents(carried, 0, 1)[0]!.slice(-H * 8))
  })

  test('refuses a window that the ring cannot hold, and features that the stage lacks', async () => {
    await assert.rejects(createScorer(options({ window: 3 })), { code: 'MODEL_INVALID', message: /window of 4 rows/ })
    await assert.rejects(createScorer(options({ features: ['f0', 'f1', 'f2', 'f3'] })), { code: 'MODEL_INVALID', message: /f4/ })
  })

  test('refuses a device that cannot run the model, and with auto falls back openly', async () => {
    await assert.rejects(createScorer(options({ device: 'cuda' })), { code: 'DEVICE_UNAVAILABLE' })
    const scorer = await open({ device: 'auto', workers: 1, models: [{ model: models[0]!, role: 'champion' }] })
    const [model] = scorer.models
    // with an adapter both are measured, without one it says what each lacks
    assert.ok(model!.device !== 'cpu' || /cuda: .+webgpu: .+|rows take .+ on \w+ and .+ on cpu/s.test(model!.deviceNote ?? ''))
    assert.match(scorer.deviceClass, new RegExp(`^onnxruntime-\\S+ ${model!.device} \\S+ node-\\d+$`))
  })
})
