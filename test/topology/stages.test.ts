import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { TestStore, gruStep, rowModel } from '../inference/test-models.js'
import { Prng } from '../../src/base/prng.js'
import { parseTopology, type Topology } from '../../src/topology/load-topology.js'
import { TopologyTestDriver, type TestOutput, type TestRecord } from '../../src/topology/test-driver.js'
import { card, cardRecord, type Card, hourMs, minuteMs, randomCards, smallTopology, startMs } from './card-events.js'

const file = new URL('../../../topologies/chain.yaml', import.meta.url).pathname

function chainText({ customer = '', terminal = '', labels = '' } = {}): string {
  return `
name: chain
source:
  topic: transactions
  format: avro
  schema: ../schemas/transaction.avsc
  fields:
    event_id: { path: transaction_id, type: text }
    event_time: { path: event_time, type: timestamp-millis }
    customer: { path: customer_id, type: text }
    terminal: { path: terminal_id, type: text, optional: true }
    amount: { path: amount_minor, type: integer, min: 0 }
${labels}
stages:
  customer:
    key: customer
    grace: 1h
    ttl: 60d
    ring: 8
    features: [{ name: f0, kind: value, field: amount, scale: 0.01 }, { name: f1, kind: count, window: 1h }, { name: f2, kind: mean, field: amount, window: 1d, scale: 0.001 }, { name: f3, kind: timeSince, log1p: true }, { name: f4, kind: hourSin }]
    models: { champion: gru@1 }
    ${customer}
  terminal:
    key: terminal
    grace: 1h
    ttl: 60d
    ring: 4
    features: [{ name: f0, kind: value, field: customer.score }, { name: f1, kind: count, window: 1h }, { name: f2, kind: mean, field: amount, window: 1d, scale: 0.001 }, { name: f3, kind: timeSince, log1p: true }, { name: f4, kind: value, field: customer.f1 }]
    models: { champion: row@1 }
    policy: { decline: 0.9, review: 0.5, attributes: [amount, customer] }
    ${terminal}
limits: { batchRecordsMax: 64, checkpointIntervalMs: 100ms }
`.replace(', optional: true', '')
}

const chain = (): Topology => parseTopology(chainText(), file)

/** The chain with labels, whose second stage goes by the frauds that are known. */
const labelledText = chainText({
  labels: `labels:
  topic: labels
  format: avro
  schema: ../schemas/label.avsc
  fields:
    event_id: { path: transaction_id, type: text }
    known_at: { path: known_at, type: timestamp-millis }
    is_fraud: { path: is_fraud, type: boolean }
    customer: { path: customer_id, type: text }
    terminal: { path: terminal_id, type: text }`,
})
  .replace("{ name: f3, kind: timeSince, log1p: true }, { name: f4, kind: hourSin }]", "{ name: f3, kind: labelCount, window: 5d }, { name: f4, kind: hourSin }]")
  .replace("{ name: f0, kind: value, field: customer.score }, { name: f1, kind: count, window: 1h }", "{ name: f0, kind: labelRate, window: 5d, delay: 2h }, { name: f1, kind: timeSinceLabel, memory: 5d, unit: 1h }")

const labelled = (): Topology => parseTopology(labelledText, file)

function labelOf(record: TestRecord, knownAtMs: number, isFraud: boolean): TestRecord {
  const { transaction_id, customer_id, terminal_id, event_time } = record.value as Card
  return { key: customer_id, value: { transaction_id, customer_id, terminal_id, event_time, known_at: knownAtMs, is_fraud: isFraud, scenario: 0 }, timestampMs: knownAtMs }
}

/** Payments in the order of their times, so that both stages see one order. */
function orderedCards(seed: number, count: number): TestRecord[] {
  const prng = new Prng(seed)
  let now = startMs
  return Array.from({ length: count }, (_, id) => {
    now += prng.below(20 * minuteMs)
    return cardRecord(card(id, `c${prng.below(6)}`, now, { amount_minor: 1 + prng.below(90_000), terminal_id: `t${prng.below(5)}` }))
  })
}

interface ScoredValue {
  readonly event_id: string
  readonly entity: string
  readonly score: number
  readonly late: boolean
  readonly attributes: Readonly<Record<string, unknown>>
  readonly lineage: { readonly task: string }
}

const valueOf = ({ value }: TestOutput): ScoredValue => value as ScoredValue
const scoresOf = (scored: readonly TestOutput[]): [string, number][] => scored.map((each) => [valueOf(each).event_id, valueOf(each).score])

/** Models of both stages, for the tests of one `describe`. */
function testModels(): TestStore {
  const store = new TestStore()
  before(() => {
    store.add('gru', gruStep())
    store.add('row', rowModel())
  })
  after(() => store.remove())
  return store
}

/** A driver that goes through, and one that is restarted after every `step` records: the same scores, and the same state in both stages. */
async function assertRestartsDoNotShow(
  open: () => Promise<TopologyTestDriver>,
  records: readonly TestRecord[],
  { step, batch, restartedBatch, prepare }: { step: number; batch: number; restartedBatch: number; prepare?: (restarted: TopologyTestDriver, from: number) => Promise<void> },
  whole: TopologyTestDriver,
): Promise<void> {
  let restarted = await open()
  const expected = []
  const found = []
  for (let from = 0; from < records.length; from += step) {
    whole.clock.advance(60)
    restarted.clock.advance(60)
    await prepare?.(restarted, from)
    expected.push(...(await whole.pipe(records.slice(from, from + step), batch)).scored)
    found.push(...(await restarted.pipe(records.slice(from, from + step), restartedBatch)).scored)
    const next = await restarted.restart()
    assert.deepEqual(entities(next), entities(restarted))
    assert.deepEqual(entities(next.next!), entities(restarted.next!))
    await restarted.close()
    restarted = next
  }
  assert.deepEqual(scoresOf(found), scoresOf(expected))
  assert.deepEqual(entities(restarted.next!), entities(whole.next!))
  await whole.close()
  await restarted.close()
}

describe('a topology with two stages', () => {
  const store = testModels()
  const open = (topology: Topology, partitions = 1): Promise<TopologyTestDriver> => TopologyTestDriver.open({ topology, models: store.root, partitions, startMs })

  it('scores an event where its second key leads, with what the first stage has found out', async () => {
    const records = orderedCards(11, 300)
    const driver = await open(chain())
    const first = await open(smallTopology({ champion: 'gru@1' }))
    const alone = await first.pipe(records)
    const { scored, forwarded } = await driver.pipe(records)
    assert.equal(scored.length, 300)
    const own = new Map(scoresOf(alone.scored))
    for (const { value } of forwarded) {
      const { event_id, customer__score } = value as { event_id: string; customer__score: number }
      assert.equal(customer__score, own.get(event_id), 'the score that the first stage alone gives')
    }
    for (const each of scored) {
      const { entity, attributes, lineage } = valueOf(each)
      assert.match(entity, /^t\d$/)
      assert.match(String(attributes.customer), /^c\d$/)
      assert.equal(lineage.task, 'chain/terminal/0')
      assert.equal(each.key?.toString(), entity)
    }
    await driver.close()
    await first.close()
  })

  it('folds the second stage as a topology of its own would: windows of a terminal over all customers', async () => {
    const records = orderedCards(12, 200)
    const driver = await open(chain())
    // The second stage alone: what it reads of the first has no part in its windows.
    const text = chainText().replace(/ {2}customer:\n {4}key: customer[\s\S]*(?= {2}terminal:\n {4}key)/, '').replaceAll(/customer\.(score|f1)/g, 'amount')
    const alone = await open(parseTopology(text, file))
    await driver.pipe(records)
    await alone.pipe(records)
    assert.ok(windowsOf(alone).length > 1)
    assert.deepEqual(windowsOf(driver.next!), windowsOf(alone))
    await alone.close()
    await driver.close()
  })

  for (const partitions of [1, 3]) {
    it(`gives the same bits whatever the borders of batches and restarts in between, ${partitions} partition${partitions === 1 ? '' : 's'}`, async () => {
      // With several partitions the recorded order of the hop decides: the same batches in both.
      const batches = partitions === 1 ? { batch: 40, restartedBatch: 7 } : { batch: 10, restartedBatch: 10 }
      await assertRestartsDoNotShow(() => open(chain(), partitions), orderedCards(13, 240), { step: 40, ...batches }, await open(chain(), partitions))
    })
  }

  it('leaves no trace of a batch that was rolled back', async () => {
    const records = orderedCards(14, 120)
    const driver = await open(chain())
    const plain = await open(chain())
    await driver.pipe(records.slice(0, 60))
    await plain.pipe(records.slice(0, 60))
    driver.rollback(await driver.fold(records.slice(60, 100)))
    const again = await driver.pipe(records.slice(60))
    const straight = await plain.pipe(records.slice(60))
    assert.deepEqual(scoresOf(again.scored), scoresOf(straight.scored))
    await driver.close()
    await plain.close()
  })

  it('passes id, event time, headers and timestamp through', async () => {
    const driver = await open(chain())
    const record = { ...cardRecord(card(7, 'c1', startMs)), timestampMs: startMs + 5, headers: { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', ce_id: 'x' } }
    const { scored } = await driver.pipe([record])
    assert.equal(valueOf(scored[0]!).event_id, '7')
    assert.equal(scored[0]!.timestampMs, startMs + 5)
    assert.equal(scored[0]!.headers.traceparent?.toString(), record.headers.traceparent)
    assert.equal(scored[0]!.headers.ce_id?.toString(), 'x')
    await driver.close()
  })

  it('goes by the slowest of the upstream tasks, so that none that lags makes its events late', async () => {
    const driver = await open(chain(), 2)
    const at = (id: number, partition: number, hours: number): TestRecord => ({ ...cardRecord(card(id, `c${partition}`, startMs + hours * hourMs)), partition })
    await driver.pipe([at(1, 0, 0), at(2, 1, 0)])
    await driver.pipe([at(3, 0, 30)])
    const { scored } = await driver.pipe([at(4, 1, 1)])
    assert.equal(valueOf(scored[0]!).late, false, '29 hours behind the other partition, and not late')
    await driver.close()
  })

  it('marks an event that was late in the first stage as late to the end, and changes no state with it', async () => {
    const driver = await open(chain())
    await driver.pipe([cardRecord(card(1, 'c1', startMs + 5 * hourMs))])
    const before = entities(driver.next!)
    const { scored } = await driver.pipe([cardRecord(card(2, 'c1', startMs))])
    assert.equal(valueOf(scored[0]!).late, true)
    assert.deepEqual(entities(driver.next!).filter((line) => line.includes('/')), before.filter((line) => line.includes('/')))
    await driver.close()
  })

  it('gives each broken record one dead letter, in the first stage', async () => {
    const driver = await open(chain())
    const records = randomCards(15, 80, { broken: true })
    const { scored, deadLetters } = await driver.pipe(records)
    assert.equal(scored.length + deadLetters.length, 80)
    const empty = await driver.pipe([cardRecord(card(900, 'c1', startMs + 4000 * hourMs, { terminal_id: '' }))])
    assert.match(String(empty.deadLetters[0]!.headers['__streams.errors.message']), /field terminal: 1 to 47 bytes are needed for the next stage/)
    await driver.close()
  })
})

describe('labels in a topology with two stages', () => {
  const store = testModels()
  const open = (partitions = 1): Promise<TopologyTestDriver> => TopologyTestDriver.open({ topology: labelled(), models: store.root, partitions, startMs })

  /** Known some hours after their events, in the order in which they become known. */
  function labelsOf(records: readonly TestRecord[]): TestRecord[] {
    const prng = new Prng(3)
    const labels = records.map((record) => labelOf(record, (record.value as Card).event_time + hourMs * (1 + prng.below(8)), prng.below(3) === 0))
    return labels.sort((a, b) => a.timestampMs! - b.timestampMs!)
  }

  it('take effect at their known_at, in both stages, and not when they arrive', async () => {
    const driver = await open()
    const first = cardRecord(card(1, 'c1', startMs, { terminal_id: 't1' }))
    await driver.label([labelOf(first, startMs + 5 * hourMs, true)])
    await driver.pipe([first])
    const at = async (id: number, hours: number): Promise<[number, number]> => {
      const { forwarded } = await driver.pipe([cardRecord(card(id, 'c1', startMs + hours * hourMs, { terminal_id: 't1' }))])
      const event = forwarded.map(({ value }) => value as { _kind: number; customer__f3: number }).find(({ _kind }) => _kind === 0)!
      return [event.customer__f3, forwarded.length]
    }
    assert.deepEqual(await at(2, 4), [0, 1], 'before it is known')
    assert.deepEqual(await at(3, 5), [1, 2], 'known at this very time; the label goes on to the next stage')
    await driver.close()
  })

  for (const partitions of [1, 2]) {
    it(`give the same bits whatever the borders of batches, restarts and when they arrive, ${partitions} partition${partitions === 1 ? '' : 's'}`, async () => {
      const records = orderedCards(21, 260)
      const labels = labelsOf(records)
      const whole = await open(partitions)
      await whole.label(labels)
      const step = 52
      let given = 0
      // Only those that are needed by the end of this step, and a few more.
      const prepare = async (restarted: TopologyTestDriver, from: number): Promise<void> => {
        const lastMs = records[Math.min(records.length, from + step) - 1]!.timestampMs!
        const due = labels.filter(({ timestampMs }) => timestampMs! <= lastMs).length + (from % 3)
        await restarted.label(labels.slice(given, Math.max(given, due)))
        given = Math.max(given, due)
      }
      await assertRestartsDoNotShow(() => open(partitions), records, { step, batch: 13, restartedBatch: partitions === 1 ? 5 : 13, prepare }, whole)
    })
  }

  it('pass through a stage that has no feature for them', async () => {
    const text = labelledText.replace('{ name: f3, kind: labelCount, window: 5d }', '{ name: f3, kind: timeSince }')
    const driver = await TopologyTestDriver.open({ topology: parseTopology(text, file), models: store.root, startMs })
    const first = cardRecord(card(1, 'c1', startMs))
    await driver.pipe([first])
    await driver.label([labelOf(first, startMs + hourMs, true)])
    const { lineage } = await driver.pipe([cardRecord(card(2, 'c1', startMs + 2 * hourMs))])
    assert.deepEqual(lineage.map(({ value }) => [value.task, value.counts.labels, value.counts.labels_unknown]), [['chain/customer/0', 0, 0], ['chain/terminal/0', 1, 0]])
    await driver.close()
  })

  it('leave no trace when their batch is rolled back', async () => {
    const records = orderedCards(22, 120)
    const labels = labelsOf(records)
    const driver = await open()
    const plain = await open()
    for (const each of [driver, plain]) {
      await each.label(labels)
      await each.pipe(records.slice(0, 50))
    }
    const open1 = await driver.fold(records.slice(50, 80))
    const open2 = await driver.fold(records.slice(80, 100))
    driver.rollback(open2)
    driver.rollback(open1)
    assert.deepEqual(entities(driver), entities(plain))
    assert.deepEqual(scoresOf((await driver.pipe(records.slice(50))).scored), scoresOf((await plain.pipe(records.slice(50))).scored))
    await driver.close()
    await plain.close()
  })

  it('are counted by what became of them, and one that cannot be read is a dead letter', async () => {
    const driver = await open()
    const records = orderedCards(23, 4)
    await driver.pipe(records)
    const known = records[3]!.timestampMs! + 1
    await driver.label([
      labelOf(records[0]!, known, true),
      labelOf(records[0]!, known, true),
      labelOf(records[0]!, known, false),
      labelOf(cardRecord(card(999, 'c0', startMs)), known, true),
      { key: 'c0', value: Buffer.from('no label'), timestampMs: known },
    ])
    const { lineage, deadLetters } = await driver.pipe([cardRecord(card(5, 'c1', known + 1))])
    const { labels, labels_repeated, labels_conflicting, labels_unknown } = lineage[0]!.value.counts
    assert.deepEqual({ labels, labels_repeated, labels_conflicting, labels_unknown }, { labels: 2, labels_repeated: 1, labels_conflicting: 1, labels_unknown: 1 })
    assert.deepEqual(lineage[0]!.value.inputs.map(({ topic, from, to }) => [topic, from, to]), [['transactions', 4, 5], ['labels', -1, 5]])
    assert.equal(deadLetters.length, 1)
    assert.equal(deadLetters[0]!.headers['__streams.errors.topic']?.toString(), 'labels')
    await driver.close()
  })
})

/** Windows, counters and log of each entity of a stage. */
function windowsOf({ stage }: TopologyTestDriver): [string, number[]][] {
  const windows: [string, number[]][] = []
  for (const slot of stage.tasks[0]!.index) windows.push([Buffer.from(stage.store.slots.keyOf(slot)).toString(), [...stage.store.exportWords(slot)]])
  return windows.sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Entities of a stage with a digest of each, without what depends on batches. */
function entities(driver: TopologyTestDriver): string[] {
  return [...driver.stateDigests()].filter(([name]) => name.includes('/')).map(([name, digest]) => `${name} ${digest}`)
}

describe('a chain of stages', () => {
  const refused = (name: string, text: string, message: RegExp): void => {
    it(`is refused for ${name}`, () => {
      assert.throws(() => parseTopology(text, file), message)
    })
  }
  refused('a policy before the last stage', chainText({ customer: 'policy: { decline: 1, review: 1 }' }), /stages\.customer\.policy: only the last stage decides/)
  refused('a last stage without a policy', chainText().replace(/^ {4}policy:.*$/m, ''), /stages\.terminal\.policy: the last stage needs a policy/)
  refused('a field that no stage before gives', chainText().replace('customer.f1', 'customer.f9'), /"customer\.f9" is not a field of the source/)
  refused('a key that is no text', chainText().replace('key: terminal', 'key: amount'), /"amount" is not a text field/)
  refused('a feature of labels without labels', chainText().replace('kind: timeSince, log1p: true }, { name: f4, kind: hourSin', 'kind: labelCount, window: 1d }, { name: f4, kind: hourSin'), /labelCount needs a labels topic/)
  refused('labels without a key', labelledText.replace('    terminal: { path: terminal_id, type: text }\nstages', 'stages'), /labels\.fields\.terminal: is required, with type text: a stage is keyed by it/)
  refused('upstreamSkew in the first stage', chainText({ customer: 'upstreamSkew: 1d' }), /the first stage has no stage before it/)

  it('keeps the layout of a later stage when the stage before gets a feature that it does not read', () => {
    const more = parseTopology(chainText().replace('{ name: f4, kind: hourSin }]', '{ name: f4, kind: hourSin }, { name: f5, kind: night }]'), file)
    const [first, second] = chain().chain
    assert.equal(more.chain[1]!.digests.layout, second!.digests.layout)
    assert.notEqual(more.chain[0]!.digests.layout, first!.digests.layout)
  })
})
