import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { TopologyTestDriver, type TestOutput } from '../../src/topology/test-driver.js'
import { rowModel, gruStep, TestStore } from '../inference/test-models.js'
import { card, cardRecord, dayMs, hourMs, smallTopology, startMs } from './card-events.js'

const field = (output: TestOutput | undefined, name: string): unknown => (output!.value as Record<string, unknown>)[name]

describe('late events and expiry', () => {
  const store = new TestStore()
  before(() => {
    store.add('gru', gruStep())
    store.add('row', rowModel())
  })
  after(() => store.remove())

  it('scores a late event without a change of state, and says so', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology(), models: store.root })
    await driver.pipe([cardRecord(card(1, 'a', startMs)), cardRecord(card(2, 'a', startMs + 5 * hourMs))])
    const before = driver.stateDigests().get('0/a')
    const { scored, lineage } = await driver.pipe([cardRecord(card(3, 'a', startMs + 5 * hourMs - hourMs - 1))])
    assert.equal(field(scored[0], 'late'), true)
    assert.match((field(scored[0], 'reasons') as string[]).join(), /late/)
    assert.equal(lineage[0]!.value.counts.late, 1)
    assert.equal(lineage[0]!.value.counts.scored, 1)
    assert.equal(driver.stateDigests().get('0/a'), before)
    await driver.close()
  })

  it('takes an event at the very end of grace into the state', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology(), models: store.root })
    await driver.pipe([cardRecord(card(1, 'a', startMs + 5 * hourMs))])
    const before = driver.stateDigests().get('0/a')
    const { scored } = await driver.pipe([cardRecord(card(2, 'a', startMs + 4 * hourMs))])
    assert.equal(field(scored[0], 'late'), false)
    assert.notEqual(driver.stateDigests().get('0/a'), before)
    await driver.close()
  })

  it('makes a dead letter of a late event where the topology says so', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology({ late: 'dead-letter' }), models: store.root })
    const { scored, deadLetters, lineage } = await driver.pipe([cardRecord(card(1, 'a', startMs + 5 * hourMs)), cardRecord(card(2, 'b', startMs))])
    assert.equal(scored.length, 1)
    assert.equal(String(deadLetters[0]!.headers['__streams.errors.exception']), 'RECORD_INVALID')
    assert.match(String(deadLetters[0]!.headers['__streams.errors.message']), /^late: event time/)
    assert.deepEqual({ ...lineage[0]!.value.counts }, { records: 2, scored: 1, alerts: lineage[0]!.value.counts.alerts, dead_letters: 1, late: 1, fallbacks: 0, labels: 0, labels_repeated: 0, labels_conflicting: 0, labels_unknown: 0, turned: 0, unscored: 0 })
    await driver.close()
  })

  it('a late event of an entity that nobody knows leaves no entity behind', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology(), models: store.root })
    await driver.pipe([cardRecord(card(1, 'a', startMs + 5 * hourMs)), cardRecord(card(2, 'ghost', startMs))])
    assert.equal(driver.stateDigests().has('0/ghost'), false)
    await driver.close()
  })

  it('an entity past its ttl scores as one that was never seen', async () => {
    const topology = smallTopology({ ttl: '2d' })
    const old = await TopologyTestDriver.open({ topology, models: store.root })
    const fresh = await TopologyTestDriver.open({ topology, models: store.root })
    await old.pipe(Array.from({ length: 5 }, (_, i) => cardRecord(card(i, 'a', startMs + i * hourMs))))
    const returns = cardRecord(card(9, 'a', startMs + 4 * hourMs + 2 * dayMs + 1))
    const [again] = (await old.pipe([returns])).scored
    const [first] = (await fresh.pipe([returns])).scored
    assert.equal(field(again, 'score'), field(first, 'score'))
    assert.equal(old.stateDigests().get('0/a'), fresh.stateDigests().get('0/a'))
    const kept = await TopologyTestDriver.open({ topology, models: store.root })
    await kept.pipe(Array.from({ length: 5 }, (_, i) => cardRecord(card(i, 'a', startMs + i * hourMs))))
    const [intime] = (await kept.pipe([cardRecord(card(9, 'a', startMs + 4 * hourMs + 2 * dayMs))])).scored
    assert.notEqual(field(intime, 'score'), field(first, 'score'))
    await Promise.all([old.close(), fresh.close(), kept.close()])
  })
})
