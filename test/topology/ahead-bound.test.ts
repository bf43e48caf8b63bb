import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { noTimestamp } from '../../src/base/record-columns.js'
import { TopologyTestDriver, type TestOutput, type TestRecord } from '../../src/topology/test-driver.js'
import { gruStep, TestStore } from '../inference/test-models.js'
import { card, cardRecord, dayMs, hourMs, smallTopology, startMs } from './card-events.js'

const messageOf = ({ headers }: TestOutput): string => String(headers['__streams.errors.message'])

/** A payment of customer a, `byMs` ahead of its record's timestamp. */
function ahead(id: number, byMs: number, recordMs = startMs): TestRecord {
  return cardRecord(card(id, 'a', recordMs + byMs), { timestampMs: recordMs })
}

describe('events ahead of their records', () => {
  const store = new TestStore()
  before(() => {
    store.add('gru', gruStep())
  })
  after(() => store.remove())
  const open = (aheadMax?: string): Promise<TopologyTestDriver> => TopologyTestDriver.open({ topology: smallTopology(aheadMax === undefined ? {} : { aheadMax }), models: store.root })

  it('more than a day ahead is a dead letter that names the field, both times and the setting; exactly a day is not', async () => {
    const driver = await open()
    const { scored, deadLetters, lineage } = await driver.pipe([ahead(1, dayMs), ahead(2, dayMs + 1)])
    assert.deepEqual(scored.map(({ value }) => (value as { event_id: string }).event_id), ['1'])
    assert.equal(deadLetters.length, 1)
    assert.equal(String(deadLetters[0]!.headers['__streams.errors.exception']), 'RECORD_INVALID')
    assert.equal(messageOf(deadLetters[0]!), "field event_time: 2024-01-02T10:00:00.001Z lies more than source.aheadMax (1d) ahead of the record's timestamp 2024-01-01T10:00:00.000Z")
    assert.equal(lineage[0]!.value.counts.dead_letters, 1)
    assert.equal(lineage[0]!.value.ahead_max_ms, dayMs)
    await driver.close()
  })

  it('moves stream time for nobody: what follows is scored with the bits that it has without it', async () => {
    const good = Array.from({ length: 20 }, (_, i) => ahead(i, 0, startMs + i * hourMs))
    const [clean, hit] = await Promise.all([open(), open()])
    const expected = await clean!.pipe(good)
    const mixed = good.flatMap((record, i) => [ahead(1000 + i, 400 * dayMs, startMs + i * hourMs), record])
    const actual = await hit!.pipe(mixed, 7)
    const scores = ({ scored }: { scored: TestOutput[] }): unknown[] => scored.map(({ value }) => ({ ...(value as object), lineage: null }))
    assert.deepEqual(scores(actual), scores(expected))
    assert.equal(actual.deadLetters.length, good.length)
    assert.equal(hit!.stateDigests().get('0/a'), clean!.stateDigests().get('0/a'))
    assert.equal(hit!.stage.tasks[0]!.streamTimeMs, startMs + 19 * hourMs)
    await Promise.all([clean!.close(), hit!.close()])
  })

  it('a record without a timestamp is not bound', async () => {
    const driver = await open('1s')
    const { scored } = await driver.pipe([cardRecord(card(1, 'a', startMs + 400 * dayMs), { timestampMs: noTimestamp })])
    assert.equal(scored.length, 1)
    await driver.close()
  })

  it('a restore decides as it was decided then, whatever aheadMax is now', async () => {
    let driver = await open('1h')
    await driver.pipe([ahead(1, 0), ahead(2, 2 * hourMs), ahead(3, hourMs)], 2)
    for (const [i, aheadMax] of (['3h', '1h', '3h'] as const).entries()) {
      const restored = await driver.restart({ topology: smallTopology({ aheadMax }) })
      assert.deepEqual([...restored.stateDigests()], [...driver.stateDigests()])
      const { deadLetters, lineage } = await restored.pipe([ahead(10 + i, 2 * hourMs)])
      assert.equal(deadLetters.length, aheadMax === '1h' ? 1 : 0)
      assert.equal(lineage[0]!.value.ahead_max_ms, (aheadMax === '1h' ? 1 : 3) * hourMs)
      await driver.close()
      driver = restored
    }
    await driver.close()
  })
})
