import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Prng } from '../../src/base/prng.js'
import { RESET } from '../../src/inference/frame.js'
import { parseTopology, type Topology } from '../../src/topology/load-topology.js'
import { TopologyTestDriver, type TestOutput, type TestOutputs, type TestRecord } from '../../src/topology/test-driver.js'
import { gruStep, rowModel, TestStore, windowDense } from '../inference/test-models.js'
import { card, cardRecord, dayMs, hourMs, randomCards, startMs, type Card } from './card-events.js'
import { chainTopology, daysTopology, file } from './day-topologies.js'
import { naiveDays } from './naive-days.js'

interface ScoredValue {
  readonly event_id: string
  readonly entity: string
  readonly event_time: string
  readonly scores: readonly { readonly model: string; readonly score: number }[]
}

const valueOf = ({ value }: TestOutput): ScoredValue => value as ScoredValue

/** Scores by event; an event has one. */
function scoresOf(scored: readonly TestOutput[]): Map<string, string> {
  const scores = new Map<string, string>()
  for (const each of scored) {
    const { event_id, event_time, scores: byModel } = valueOf(each)
    assert.ok(!scores.has(event_id), `${event_id} is scored once`)
    scores.set(event_id, JSON.stringify([event_time, byModel]))
  }
  return new Map([...scores].sort(([a], [b]) => (a < b ? -1 : 1)))
}

function more(all: TestOutput[], { scored }: TestOutputs): void {
  all.push(...scored)
}

/** State without what depends on how batches were cut. */
function stateOf(driver: TopologyTestDriver): [string, string][] {
  return [...driver.stateDigests()].filter(([name]) => name.includes('/'))
}

function labelsOf(records: readonly TestRecord[], seed: number): TestRecord[] {
  const prng = new Prng(seed)
  return records
    .filter(() => prng.below(3) === 0)
    .map((record) => {
      const { transaction_id, customer_id, terminal_id, event_time } = record.value as Card
      const known_at = event_time + prng.below(3 * dayMs)
      return { key: customer_id, value: { transaction_id, customer_id, terminal_id, event_time, known_at, is_fraud: prng.below(2) === 0, scenario: 0 }, timestampMs: known_at }
    })
    .sort((a, b) => a.timestampMs - b.timestampMs)
}

describe('a stage that scores when days turn', () => {
  const store = new TestStore()
  before(() => {
    store.add('gru', gruStep())
    store.add('row', rowModel())
    store.add('window', windowDense())
  })
  after(() => store.remove())
  const open = (topology: Topology, partitions = 1): Promise<TopologyTestDriver> => TopologyTestDriver.open({ topology, models: store.root, partitions, startMs })

  it('leaves the rows of a naive recomputation, for events out of order, late and after leaps, and says where they begin anew', async () => {
    let rows = 0
    for (let seed = 1; seed <= 16; seed++) {
      const prng = new Prng(seed)
      const ring = 4 + prng.below(5)
      const graceMs = prng.below(3) * 5 * hourMs
      const topology = daysTopology({ ring, grace: `${graceMs / hourMs}h`, ttl: `${ring + 3 + prng.below(3)}d`, limits: 'turnedPerBatchMax: 16' })
      const records = randomCards(seed, 150, { customers: 1 + prng.below(12) })
      const driver = await open(topology)
      const found = new Map<string, string>()
      const take = async (some: readonly TestRecord[]): Promise<void> => {
        const folded = await driver.fold(some)
        const { frame, frameRows, events, records: { arena }, recordRow } = folded.batch
        for (let at = 0; at < frameRows; at++) {
          const id = events.text(events.index('event_id'), recordRow[at]!, arena)!
          assert.ok(!found.has(id), `seed ${seed}: ${id} has one row`)
          found.set(id, JSON.stringify([(frame!.flags[at]! & RESET) !== 0, [...frame!.rows.subarray(at * 5, at * 5 + 5)]]))
        }
        await driver.commit(folded)
      }
      for (let from = 0; from < records.length; ) {
        const size = 1 + prng.below(40)
        await take(records.slice(from, from + size))
        from += size
      }
      while (driver.stage.turns!.owes(driver.stage.tasks[0]!)) await take([])
      const expected = naiveDays(records.map(({ value }) => value as Card), { ring, graceMs, ttlMs: topology.stage.ttl })
      assert.deepEqual([...found].sort(), [...expected].sort(), `seed ${seed}`)
      rows += expected.size
      await driver.close()
    }
    assert.ok(rows > 500, `${rows} rows`)
  })

  it('gives the same scores and the same state with other batch borders and other sweep limits', async () => {
    const scored = { days: 0, payments: 0 }
    for (let seed = 1; seed <= 4; seed++) {
      const records = randomCards(seed, 120, { customers: 3 + seed * 5 })
      const labels = labelsOf(records, seed)
      const results = []
      for (const [batch, limits] of [[64, ''], [7, 'turnedPerBatchMax: 16'], [1, 'turnedPerBatchMax: 8192']] as const) {
        const driver = await open(chainTopology(limits))
        await driver.label(labels)
        const outputs: TestOutput[] = []
        more(outputs, await driver.pipe(records, batch))
        more(outputs, await driver.idle())
        results.push({ scores: scoresOf(outputs), state: stateOf(driver.next!) })
        await driver.close()
      }
      assert.deepEqual(results[1], results[0], `seed ${seed}`)
      assert.deepEqual(results[2], results[0], `seed ${seed}`)
      for (const id of results[0]!.scores.keys()) scored[id.includes('@') ? 'days' : 'payments']++
    }
    assert.ok(scored.days > 100 && scored.payments > 10, JSON.stringify(scored))
  })

  it('goes on after a restart and after a rollback in mid-sweep as if nothing had been', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const records = randomCards(seed + 20, 160, { customers: 40 })
      const whole = await open(daysTopology({ limits: 'turnedPerBatchMax: 16' }))
      let restarted = await open(daysTopology({ limits: 'turnedPerBatchMax: 16, checkpointBytesMax: 2048' }))
      const expected: TestOutput[] = []
      const found: TestOutput[] = []
      const prng = new Prng(seed)
      for (let from = 0; from < records.length; from += 20) {
        whole.clock.advance(30)
        restarted.clock.advance(30)
        const some = records.slice(from, from + 20)
        more(expected, await whole.pipe(some))
        if (prng.below(2) === 0) {
          const before = restarted.stateDigests()
          const first = await restarted.fold(some.slice(0, 9))
          const second = await restarted.fold(some.slice(9))
          restarted.rollback(second)
          restarted.rollback(first)
          assert.deepEqual(restarted.stateDigests(), before, `seed ${seed}: a rollback leaves no trace`)
        }
        more(found, await restarted.pipe(some, 9))
        const next = await restarted.restart()
        assert.deepEqual(next.stateDigests(), restarted.stateDigests(), `seed ${seed}, after ${from}`)
        await restarted.close()
        restarted = next
      }
      more(expected, await whole.idle())
      more(found, await restarted.idle())
      assert.deepEqual(scoresOf(found), scoresOf(expected), `seed ${seed}`)
      assert.deepEqual(stateOf(restarted), stateOf(whole))
      await whole.close()
      await restarted.close()
    }
  })

  it('restores a chain with labels in mid-sweep', async () => {
    const records = randomCards(3, 200, { customers: 30 })
    const labels = labelsOf(records, 3)
    const whole = await open(chainTopology('turnedPerBatchMax: 16'))
    let restarted = await open(chainTopology('turnedPerBatchMax: 16'))
    await whole.label(labels)
    await restarted.label(labels)
    const expected: TestOutput[] = []
    const found: TestOutput[] = []
    for (let from = 0; from < records.length; from += 25) {
      whole.clock.advance(40)
      restarted.clock.advance(40)
      more(expected, await whole.pipe(records.slice(from, from + 25)))
      more(found, await restarted.pipe(records.slice(from, from + 25), 10))
      const next = await restarted.restart()
      assert.deepEqual(next.next!.stateDigests(), restarted.next!.stateDigests())
      await restarted.close()
      restarted = next
    }
    more(expected, await whole.idle())
    more(found, await restarted.idle())
    assert.deepEqual(scoresOf(found), scoresOf(expected))
    await whole.close()
    await restarted.close()
  })

  it('names a turned day after entity and date, at its last moment, and comes before the event that is younger', async () => {
    const driver = await open(daysTopology({ events: ', events: { field: amount, from: 100000 }' }))
    const day = Date.UTC(2024, 0, 1)
    const pay = (id: number, at: number, amount_minor: number, customer = 'ada'): TestRecord => cardRecord(card(id, customer, at, { amount_minor }))
    assert.deepEqual((await driver.pipe([pay(1, day + 10 * hourMs, 2000)])).scored, [])
    const atOnce = await driver.pipe([pay(2, day + 12 * hourMs, 150_000)])
    assert.deepEqual(atOnce.scored.map((each) => valueOf(each).event_id), ['2'])
    // Half an hour into the next day is within the grace period: the day may still change.
    assert.deepEqual((await driver.pipe([pay(3, day + dayMs + hourMs / 2, 2000)])).scored, [])
    const { scored, lineage } = await driver.pipe([pay(4, day + dayMs + 2 * hourMs, 200_000)])
    assert.deepEqual(scored.map((each) => valueOf(each).event_id), ['ada@2024-01-01', '4'])
    assert.equal(valueOf(scored[0]!).event_time, '2024-01-01T23:59:59.999Z')
    assert.equal(valueOf(scored[0]!).entity, 'ada')
    const { counts, turns_before, turns_after } = lineage[0]!.value
    assert.deepEqual([counts.scored, counts.turned, counts.unscored], [2, 1, 0])
    assert.ok(turns_after > turns_before)
    await driver.close()
  })

  it('scores a silent customer for `ring` days and no longer, and frees it without a trace', async () => {
    const driver = await open(daysTopology({ ring: 4, ttl: '5d' }))
    const day = Date.UTC(2024, 0, 1)
    const first = await driver.pipe([cardRecord(card(1, 'ada', day)), cardRecord(card(2, 'bob', day + 10 * dayMs))])
    const rest = await driver.idle()
    const ids = [...first.scored, ...rest.scored].map((each) => valueOf(each).event_id)
    assert.deepEqual(ids.filter((id) => id.startsWith('ada')), ['ada@2024-01-01', 'ada@2024-01-02', 'ada@2024-01-03', 'ada@2024-01-04'])
    driver.clock.advance(1000)
    await driver.pipe([cardRecord(card(3, 'bob', day + 10 * dayMs))])
    driver.clock.advance(1000)
    const { state } = await driver.pipe([cardRecord(card(4, 'bob', day + 10 * dayMs))])
    assert.ok(state.some(({ key }) => key!.toString() === 'ada'), 'its deletion is on the changelog')
    await driver.close()
  })

  it('scores the days of an erased customer that had ended, and none of what came before afterwards', async () => {
    const day = Date.UTC(2024, 0, 1)
    const forget: TestRecord = { key: 'ada', value: null, headers: { 'harrier-control': 'forget' } }
    const results = []
    for (const limits of ['', 'turnedPerBatchMax: 16']) {
      const driver = await open(daysTopology({ limits }))
      const records = [cardRecord(card(1, 'ada', day)), cardRecord(card(2, 'bob', day + 2 * dayMs)), forget, cardRecord(card(3, 'ada', day + 2 * dayMs)), cardRecord(card(4, 'bob', day + 4 * dayMs))]
      const scored: TestOutput[] = []
      more(scored, await driver.pipe(records, limits === '' ? 64 : 1))
      more(scored, await driver.idle())
      results.push(scoresOf(scored))
      await driver.close()
    }
    assert.deepEqual(results[1], results[0])
    assert.deepEqual([...results[0]!.keys()].filter((id) => id.startsWith('ada')), ['ada@2024-01-01', 'ada@2024-01-03'])
  })

  it('refuses a topology whose days could not be turned, and says what to write', () => {
    const refused = (text: string, change: (yaml: string) => string, pattern: RegExp): void => assert.throws(() => parseTopology(change(text), file), pattern)
    const { spec } = chainTopology()
    const yaml = JSON.stringify({ ...spec, source: { ...spec.source } })
    refused(yaml, (t) => t.replace('"batchRecordsMax":64', '"batchRecordsMax":2000'), /account\.score\.when: limits\.batchRecordsMax 2000 makes up to \d+ rows a batch .* write limits: \{ batchRecordsMax: \d+ \}/)
    refused(yaml, (t) => t.replace('"name":"f0","kind":"count","window":86400000', '"name":"f0","kind":"value","field":"amount"'), /account\.features\[0\]\.kind: value looks at an event/)
    refused(yaml, (t) => t.replace('"ttl":1728000000', '"ttl":432000000').replace('"ring":4,"upstreamSkew":172800000', '"ring":8,"upstreamSkew":172800000'), /account\.ttl: must be at least ring × 1d plus grace/)
    refused(yaml, (t) => t.replace('"field":"customer.score"', '"field":"customer"'), /"customer" is not a number field/)
    refused(yaml, (t) => t.replace('"when":"dayTurn"', '"when":"event"'), /without dayTurn every event is scored/)
    refused(yaml, (t) => t.replace('"models":{"champion":"row@1"', '"score":{"when":"dayTurn"},"models":{"champion":"row@1"'), /only the last stage can score when days turn[^]*a stage that reads labels itself cannot turn days/)
  })
})
