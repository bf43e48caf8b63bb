import assert from 'node:assert/strict'
import { appendFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import type { Scorer, ScorerOptions } from '../../src/inference/scorer.js'
import { HANG_AT, THROW_AT } from './onnx-maker.js'
import { contents, fill, makeSchedule, scoreParts, type Scored, type ScheduledEvent } from './schedule.js'
import { F, features, gruStep, rowModel, TestStore, windowDense } from './test-models.js'

const entities = 12
const rowsMax = 30
const timeoutMs = 450

describe('a model that fails', () => {
  const store = new TestStore()
  const scorers: Scorer[] = []
  let models: LoadedModel[] = []
  const options = (more: Partial<ScorerOptions> = {}): ScorerOptions => ({
    features, window: 6, models: models.map((model) => ({ model, role: 'shadow' })), device: 'cpu', workers: 0, clock: systemClock,
    chunkSlots: 8, ...more, limits: { rowsMax, framesMax: 3, workerRestartsPerMinuteMax: 100, ...more.limits },
  })
  const open = async (more: Partial<ScorerOptions> = {}): Promise<Scorer> => {
    const scorer = await createScorer(options(more))
    scorers.push(scorer)
    return scorer
  }
  /** Equal parts of a schedule in which feature 0 of some events springs the traps. */
  const trapped = (seed: number, traps: Record<number, number>): ScheduledEvent[][] => {
    const events = makeSchedule(seed, { events: 300, entities, features: F, firstSlot: 0 })
    for (const [index, value] of Object.entries(traps)) events[Number(index)]!.row[0] = value
    return Array.from({ length: 20 }, (_, part) => events.slice(part * 15, part * 15 + 15))
  }
  /** A replay leaves out the models that the lineage recorded as failed, and does not meet the traps: it never runs them there. */
  const replay = async (parts: ScheduledEvent[][], recorded: Scored): Promise<{ scored: Scored; scorer: Scorer }> => {
    const scorer = await open()
    return { scored: await scoreParts(scorer, parts, 1, (part) => ({ skip: recorded.failed[part]! })), scorer }
  }

  before(() => {
    const limits = { timeoutMs }
    const trapped = [store.add('gru', gruStep(1, true), { limits }), store.add('window', windowDense(4, true), { limits })]
    models = [...trapped, store.add('row', rowModel()), store.add('gru-2', gruStep(2))]
  })
  after(async () => {
    for (const scorer of scorers) await scorer.close()
    store.remove()
  })

  for (const workers of [0, 1, 3]) {
    test(`by throwing fails for the whole frame, and a replay that leaves it out comes to the same bits (${workers} workers)`, async () => {
      const parts = trapped(5, { 40: THROW_AT, 41: THROW_AT, 140: THROW_AT })
      const scorer = await open({ workers })
      const live = await scoreParts(scorer, parts, 3)
      const again = await replay(parts, live)
      assert.deepEqual(again.scored.failed, live.failed)
      assert.deepEqual(again.scored.scores, live.scores)
      assert.deepEqual(contents(scorer, 0, entities), contents(again.scorer, 0, entities))
      assert.ok(live.failed[2]!.includes(0) && live.failed[2]!.includes(1), 'the frame with the trap has failed')
      assert.ok(live.failed[0]!.length === 0 && live.failed.at(-1)!.length === 0, 'before and long after the traps nothing fails')
      assert.ok(live.scores.every((row) => row[2]! > 0 && row[3]! > 0), 'the other models go on')
      assert.ok(scorer.metrics().models[0]!.failures.threw > 0)
    })
  }

  test('by hanging loses its worker and its scores in that frame; the others go on, and a replay comes to the same bits', async () => {
    const parts = trapped(6, { 100: HANG_AT })
    const scorer = await open({ workers: 2 })
    const live = await scoreParts(scorer, parts, 3)
    assert.ok(live.failed[6]!.includes(0))
    assert.deepEqual([live.failed[0], live.failed.at(-1)], [[], []])
    assert.ok(live.scores.every((row) => row[2]! > 0 && row[3]! > 0))
    const metrics = scorer.metrics()
    assert.ok(metrics.models[0]!.failures['timed-out'] > 0)
    assert.ok(metrics.workerRestarts > 0)
    const again = await replay(parts, live)
    assert.deepEqual(again.scored.scores, live.scores)
    assert.deepEqual(contents(scorer, 0, entities), contents(again.scorer, 0, entities))
  })

  test('by hanging again and again is set aside, and tried again after a time', async () => {
    const hanging: ScheduledEvent = { slot: 1, flags: 1, eventTime: 1, row: [HANG_AT, 0, 0, 0, 0] }
    const sound: ScheduledEvent = { slot: 2, flags: 1, eventTime: 1, row: [0, 0, 0, 0, 0] }
    // a clock that the test can put forward, so that a slow machine does not decide
    let aheadMs = 0
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs }
    const limits = { workerRestartsPerMinuteMax: 2, modelRetryAfterMs: 3_600_000 }
    const scorer = await open({ workers: 1, models: [{ model: models[0]!, role: 'champion' }], limits, clock })
    const frame = scorer.acquireFrame()!
    const kindOf = async (event: ScheduledEvent): Promise<string | undefined> => {
      fill(frame, [event])
      await scorer.score(frame)
      return frame.failures[0]?.kind
    }
    assert.equal(await kindOf(hanging), 'timed-out')
    assert.equal(await kindOf(hanging), 'timed-out')
    assert.equal(await kindOf(hanging), 'set-aside')
    assert.equal(await kindOf(sound), 'set-aside')
    assert.match(frame.failures[0]!.message, /set aside for 3600000 ms after 2 failures in a minute; the last: gru@1 took more than 450 ms/)
    assert.equal(scorer.metrics().workerRestarts, 2)
    aheadMs = limits.modelRetryAfterMs
    assert.equal(await kindOf(sound), undefined)
    assert.equal(scorer.metrics().models[0]!.failures['set-aside'], 2)
  })

  test('leaves an undo exact', async () => {
    const scorer = await open({ workers: 2 })
    const parts = trapped(7, { 20: THROW_AT })
    await scoreParts(scorer, [parts[0]!])
    const was = contents(scorer, 0, entities)
    const frame = scorer.acquireFrame()!
    fill(frame, parts[1]!)
    await scorer.score(frame)
    assert.deepEqual(frame.failedModels, [0, 1])
    scorer.undo(frame)
    assert.deepEqual(contents(scorer, 0, entities), was)
  })

  test('whose file was altered is refused when a worker is started', async () => {
    const model = store.add('altered', rowModel(12))
    appendFileSync(model.file, 'x')
    await assert.rejects(open({ workers: 1, models: [{ model, role: 'shadow' }] }), { code: 'MODEL_INVALID', message: /sha256/ })
  })

  test('leaves no call pending when the scorer is closed', async () => {
    const scorer = await open({ workers: 1 })
    const frame = scorer.acquireFrame()!
    fill(frame, trapped(8, {})[0]!)
    const pending = scorer.score(frame)
    const closed = scorer.close()
    await assert.rejects(pending, { message: 'the scorer was closed' })
    await closed
    await assert.rejects(scorer.score(frame), { message: 'the scorer was closed' })
  })
})
