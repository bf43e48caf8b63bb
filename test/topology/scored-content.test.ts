import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { loadTopology } from '../../src/topology/load-topology.js'
import { TopologyTestDriver } from '../../src/topology/test-driver.js'
import { ModelStore } from '../../src/inference/model-store.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import { card, cardRecord, dayMs, hourMs, minuteMs, randomCards, startMs } from './card-events.js'

interface Scored {
  event_id: string
  entity: string
  event_time: string
  score: number
  decision: string
  model: string
  fallback: boolean
  late: boolean
  scores: { model: string; role: string; score: number }[]
  reasons: string[]
  attributes: Record<string, unknown>
  lineage: { task: string; sequence: number }
}

describe('card-fraud with the committed models', () => {
  const topology = loadTopology('card-fraud')
  let driver: TopologyTestDriver
  before(async () => {
    driver = await TopologyTestDriver.open({ topology, partitions: 2, startMs })
  })
  after(() => driver.close())

  it('scores an event by every model, champion first, and names event, entity, attributes and lineage', async () => {
    const event = card(9_007_199_254_740_990, 'anna', startMs, { amount_minor: 12_345, terminal_id: '777' })
    const { scored, deadLetters } = await driver.pipe([cardRecord(event, { partition: 1 })])
    assert.equal(deadLetters.length, 0)
    const [output] = scored
    const value = output!.value as Scored
    assert.equal(output!.topic, 'card-fraud.scored')
    assert.equal(output!.partition, 1)
    assert.equal(output!.key!.toString(), 'anna')
    assert.equal(output!.timestampMs, startMs)
    assert.equal(value.event_id, '9007199254740990')
    assert.equal(value.entity, 'anna')
    assert.equal(value.event_time, new Date(startMs).toISOString())
    assert.deepEqual(value.scores.map(({ model, role }) => `${role} ${model}`), [
      'champion card-gru@1',
      'shadow card-attention@1',
      'shadow card-cnn@1',
      'shadow card-row@1',
    ])
    for (const { score } of value.scores) assert.ok(score > 0 && score < 1, `score ${score}`)
    assert.equal(value.score, value.scores[0]!.score)
    assert.equal(value.model, 'card-gru@1')
    assert.equal(value.fallback, false)
    assert.equal(value.late, false)
    assert.deepEqual({ ...value.attributes }, { amount: 12_345, terminal: '777' })
    assert.deepEqual({ ...value.lineage }, { task: 'card-fraud/customer/1', sequence: 0 })
  })

  it('makes an alert of each event at or above review, equal to its scored event, and of no other', async () => {
    // A calm month, then payments of a hundred times the usual amount: what the models were trained to see.
    const calm = Array.from({ length: 60 }, (_, i) => cardRecord(card(i, 'bert', startMs + i * 12 * hourMs, { amount_minor: 2_000 })))
    const spike = Array.from({ length: 12 }, (_, i) => cardRecord(card(100 + i, 'bert', startMs + 30 * dayMs + i * 10 * minuteMs, { amount_minor: 250_000 })))
    const { scored, alerts } = await driver.pipe([...calm, ...spike], 9)
    assert.ok(alerts.length > 0, 'the spike alerts')
    const wanted = scored.filter(({ value }) => (value as Scored).decision !== 'APPROVE')
    assert.equal(alerts.length, wanted.length)
    for (const [index, alert] of alerts.entries()) {
      const from = wanted[index]!.value as Scored
      const value = alert.value as Omit<Scored, 'scores'>
      assert.deepEqual(alert.key, wanted[index]!.key)
      for (const name of ['event_id', 'entity', 'event_time', 'score', 'decision', 'model'] as const) assert.equal(value[name], from[name])
      assert.deepEqual(value.reasons, from.reasons)
      assert.ok(value.reasons.length > 0)
      assert.deepEqual({ ...value.attributes }, { ...from.attributes })
      assert.deepEqual({ ...value.lineage }, { ...from.lineage })
    }
    const { policy } = topology.stage
    for (const { value } of scored) {
      const { score, decision } = value as Scored
      assert.equal(decision, score >= policy.decline ? 'DECLINE' : score >= policy.review ? 'REVIEW' : 'APPROVE')
    }
  })

  it('passes the headers of the input through to scored events and alerts, in order and byte for byte', async () => {
    const headers = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', ce_id: 'x', ce_specversion: '1.0', binary: Buffer.from([0, 255, 128]), empty: '', none: null }
    const { scored } = await driver.pipe([cardRecord(card(500, 'carl', startMs + 40 * dayMs), { headers })])
    assert.deepEqual(Object.keys(scored[0]!.headers), Object.keys(headers))
    assert.equal(scored[0]!.headers['traceparent']!.toString(), headers.traceparent)
    assert.deepEqual(scored[0]!.headers['binary'], headers.binary)
    assert.equal(scored[0]!.headers['none'], null)
  })

  it('writes a lineage record for each task of a batch: ranges, counts, models with sha256, digests, stream time', async () => {
    const fresh = await TopologyTestDriver.open({ topology, partitions: 2, startMs })
    const one = [cardRecord(card(1, 'a', startMs), { partition: 0 }), cardRecord(card(2, 'b', startMs + 5), { partition: 1 }), cardRecord(card(3, 'a', startMs + 9), { partition: 0 })]
    const first = await fresh.pipe(one)
    const second = await fresh.pipe([{ key: 'a', value: null, partition: 0 }, cardRecord(card(4, 'a', startMs + 20), { partition: 0 })])
    await fresh.close()
    assert.equal(first.lineage.length, 2)
    const [lineage] = second.lineage
    const value = lineage!.value
    assert.equal(lineage!.topic, 'card-fraud.lineage')
    assert.equal(lineage!.key!.toString(), 'card-fraud/customer/0')
    assert.equal(lineage!.partition, 0)
    assert.equal(value.sequence, 1)
    assert.deepEqual(value.inputs.map((range) => ({ ...range })), [{ topic: 'transactions', partition: 0, from: 2, to: 4 }])
    assert.deepEqual({ ...value.counts }, { records: 2, scored: 1, alerts: second.alerts.length, dead_letters: 1, late: 0, fallbacks: 0, labels: 0, labels_repeated: 0, labels_conflicting: 0, labels_unknown: 0, turned: 0, unscored: 0 })
    const store = new ModelStore(modelsFolder)
    for (const { model, sha256, device, failure } of value.models) {
      assert.equal(sha256, store.load(model).manifest.sha256)
      assert.equal(device, 'cpu')
      assert.equal(failure, null)
    }
    assert.deepEqual({ ...value.digests }, { ...topology.digests })
    assert.equal(value.stream_time_before, startMs + 9)
    assert.equal(value.stream_time_after, startMs + 20)
    assert.equal(value.oldest_dirty, 0)
    assert.equal(value.transactional_id, 'card-fraud-test-0')
    assert.match(value.engine.device_class, /^onnxruntime-/)
  })

  it('scores every record exactly once, in the order of its partition', async () => {
    const fresh = await TopologyTestDriver.open({ topology, partitions: 3, startMs })
    const records = randomCards(1, 400, { broken: true })
    const { scored, deadLetters, lineage } = await fresh.pipe(records, 37)
    await fresh.close()
    assert.equal(scored.length + deadLetters.length, records.length)
    const ids = scored.map(({ value }) => Number((value as Scored).event_id))
    assert.equal(new Set(ids).size, ids.length)
    for (const partition of [0, 1, 2]) {
      const own = scored.filter((output) => output.partition === partition).map(({ value }) => Number((value as Scored).event_id))
      assert.deepEqual(own, [...own].sort((a, b) => a - b))
      let at = 0
      for (const { value } of lineage.filter((output) => output.partition === partition)) {
        assert.equal(value.inputs[0]!.from, at)
        at = value.inputs[0]!.to
      }
    }
  })
})
