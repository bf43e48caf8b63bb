import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { TopologyTestDriver, type TestOutput } from '../../src/topology/test-driver.js'
import { gruStep, poisonable, rowModel, TestStore, windowDense } from '../inference/test-models.js'
import { HANG_AT, THROW_AT } from '../inference/onnx-maker.js'
import { card, cardRecord, smallTopology, startMs } from './card-events.js'

/** An amount whose feature f0 springs the trap. */
const trapMinor = THROW_AT * 100

interface Scored {
  score: number
  decision: string
  model: string
  fallback: boolean
  scores: { model: string; score: number }[]
  reasons: string[]
}
const scoredOf = (outputs: TestOutput[]): Scored[] => outputs.map(({ value }) => value as Scored)
/** Of other customers than the trap's: a row that a model cannot bear stays in its entity's ring and is met again in warming. */
const calm = (from: number, count: number, customer = 'a') => Array.from({ length: count }, (_, i) => cardRecord(card(from + i, `${customer}${i % 3}`, startMs + (from + i) * 1000)))
const trap = (id: number) => cardRecord(card(id, 'c1', startMs + id * 1000, { amount_minor: trapMinor }))

describe('a champion that fails', () => {
  const store = new TestStore()
  before(() => {
    store.add('gru', gruStep(1, true))
    store.add('row', rowModel())
    store.add('window', windowDense(4, true))
    store.add('poison', poisonable())
    store.add('slow', gruStep(1, true), { limits: { batchRowsMax: 64, timeoutMs: 300 } })
  })
  after(() => store.remove())

  it('is stood in for by the fall-back model, in lineage and counts, and scores again in the next batch', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology({ fallback: '{ model: row@1 }' }), models: store.root })
    await driver.pipe(calm(0, 6))
    const { scored, lineage } = await driver.pipe([...calm(6, 3), trap(9)])
    for (const value of scoredOf(scored)) {
      assert.equal(value.fallback, true)
      assert.equal(value.model, 'row@1')
      assert.deepEqual(value.scores.map(({ model }) => model), ['row@1'])
      assert.equal(value.score, value.scores[0]!.score)
      assert.match(value.reasons.join(), /fall-back/)
    }
    const record = lineage[0]!.value
    assert.equal(record.counts.fallbacks, 4)
    assert.match(record.models.find(({ role }) => role === 'champion')!.failure!, /^threw: /)
    assert.equal(record.models.find(({ role }) => role === 'fallback')!.failure, null)
    const after = await driver.pipe(calm(10, 6))
    assert.deepEqual(scoredOf(after.scored).map(({ fallback }) => fallback), Array<boolean>(6).fill(false))
    assert.equal(after.lineage[0]!.value.models[0]!.failure, null)
    await driver.close()
  })

  it('leaves the decision to review, with score -1, where the topology says so', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology(), models: store.root })
    const { scored, alerts } = await driver.pipe([trap(1)])
    const [value] = scoredOf(scored)
    assert.deepEqual([value!.score, value!.decision, value!.model, value!.fallback], [-1, 'REVIEW', 'review', true])
    assert.equal(value!.scores.length, 0)
    assert.equal(alerts.length, 1)
    await driver.close()
  })

  it('leaves the decision to a rule on a field of the event', async () => {
    const fallback = `{ rule: { field: amount, reviewFrom: 5000, declineFrom: ${trapMinor} } }`
    const driver = await TopologyTestDriver.open({ topology: smallTopology({ fallback }), models: store.root })
    const amounts = [4_999, 5_000, trapMinor - 1, trapMinor]
    const { scored } = await driver.pipe(amounts.map((amount, i) => cardRecord(card(i, 'a', startMs + i, { amount_minor: amount }))))
    assert.deepEqual(scoredOf(scored).map(({ decision, model }) => `${decision} ${model}`), ['APPROVE rule', 'REVIEW rule', 'REVIEW rule', 'DECLINE rule'])
    await driver.close()
  })

  it('a shadow that fails costs only its own scores', async () => {
    const [with_, without] = await Promise.all([
      TopologyTestDriver.open({ topology: smallTopology({ champion: 'row@1', shadows: ['window@1'] }), models: store.root }),
      TopologyTestDriver.open({ topology: smallTopology({ champion: 'row@1' }), models: store.root }),
    ])
    const records = [...calm(0, 4), trap(5)]
    const scored = scoredOf((await with_.pipe(records)).scored)
    const plain = scoredOf((await without.pipe(records)).scored)
    assert.deepEqual(scored.map(({ score, fallback }) => [score, fallback]), plain.map(({ score }) => [score, false]))
    for (const { scores } of scored) assert.deepEqual(scores.map(({ model }) => model), ['row@1'])
    await Promise.all([with_.close(), without.close()])
  })

  it('a NaN of one event falls back for that event alone', async () => {
    // poisonable: the score is NaN when feature 1 (the count, at least 1) is below -3: never; feature 0 poisons the state.
    const driver = await TopologyTestDriver.open({ topology: smallTopology({ champion: 'poison@1', fallback: '{ model: row@1 }' }), models: store.root })
    const { scored } = await driver.pipe(calm(0, 5))
    for (const { score } of scoredOf(scored)) assert.ok(Number.isFinite(score))
    await driver.close()
  })

  it('comes to the same state after a restart, by the failures that lineage recorded', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology({ fallback: '{ model: row@1 }' }), models: store.root })
    await driver.pipe([...calm(0, 6), trap(6), ...calm(7, 20), trap(27), ...calm(28, 5)], 5)
    const restored = await driver.restart()
    assert.deepEqual(restored.stateDigests(), driver.stateDigests())
    const [live, again] = await Promise.all([driver.pipe(calm(40, 12)), restored.pipe(calm(40, 12))])
    assert.deepEqual(again.scored.map(({ bytes }) => bytes), live.scored.map(({ bytes }) => bytes))
    await Promise.all([driver.close(), restored.close()])
  })

  it('a champion that hangs is timed out in its thread and stood in for', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology({ champion: 'slow@1', fallback: '{ model: row@1 }' }), models: store.root, workers: 1 })
    const threads = threadsOfProcess()
    await driver.pipe(calm(0, 6))
    const { scored, lineage } = await driver.pipe([cardRecord(card(6, 'c1', startMs + 6000, { amount_minor: HANG_AT * 100 }))])
    assert.deepEqual(scoredOf(scored).map(({ model, fallback }) => [model, fallback]), [['row@1', true]])
    assert.match(lineage[0]!.value.models[0]!.failure!, /^timed-out: /)
    const after = await driver.pipe(calm(7, 6))
    assert.deepEqual(scoredOf(after.scored).map(({ model }) => model), Array<string>(6).fill('slow@1'))
    const restored = await driver.restart({ workers: 0 })
    assert.deepEqual(restored.stateDigests(), driver.stateDigests())
    await Promise.all([driver.close(), restored.close()])
    // The abandoned thread ends when its run does; a process that exits before it is aborted by onnxruntime.
    for (let waits = 0; waits < 300 && threadsOfProcess() >= threads; waits++) await systemClock.sleep(200)
  })
})

/** Linux; elsewhere nothing is waited for. */
function threadsOfProcess(): number {
  const status = '/proc/self/status'
  return existsSync(status) ? Number(/^Threads:\s*(\d+)/m.exec(readFileSync(status, 'utf8'))?.[1]) : -1
}
