import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { Prng } from '../../src/base/prng.js'
import { chainFeatures, feedChain, hourMs, lineageOf } from './chain-fixture.js'
import { EngineProcess } from './engine-fixture.js'
import { decodeOwn } from './engine-verify.js'
import { readCommitted } from './kafka-verifier.js'
import { startTestStack, type TestStack } from './test-stack.js'

const seed = Number(process.env.SEED ?? 61)
const events = 2400
const kills = 6

/** Two stages and labels; one partition, so that there is one order. card-row reads fourteen columns: what they hold is up to the topology. */
const topologyText = `
name: chain
source:
  topic: transactions
  format: json
  fields:
    event_id: { path: id, type: text }
    event_time: { path: at, type: timestamp-millis }
    customer: { path: customer, type: text }
    terminal: { path: terminal, type: text }
    amount: { path: amount, type: integer }
labels:
  topic: labels
  format: json
  fields:
    event_id: { path: id, type: text }
    known_at: { path: known, type: timestamp-millis }
    is_fraud: { path: fraud, type: boolean }
    customer: { path: customer, type: text }
    terminal: { path: terminal, type: text }
stages:
  customer:
    key: customer
    grace: 1h
    ttl: 60d
    ring: 4
    features:
${chainFeatures({ customer_count_30d: 'kind: labelCount, window: 5d' })}
    models: { champion: card-gru@1 }
  terminal:
    key: terminal
    grace: 1h
    ttl: 60d
    ring: 4
    features:
${chainFeatures({ customer_mean_1d: 'kind: labelRate, window: 5d, delay: 3h', customer_mean_7d: 'kind: value, field: customer.score', customer_mean_30d: 'kind: timeSinceLabel, memory: 9d' })}
    models: { champion: card-row@1 }
    policy: { decline: 0.9, review: 0.5, attributes: [customer] }
limits: { batchRecordsMax: 25, checkpointIntervalMs: 1s }
`

describe(`a topology with two stages and labels on a broker (SEED=${seed})`, () => {
  let stack: TestStack
  const folder = mkdtempSync(join(tmpdir(), 'harrier-stages-'))
  const topology = join(folder, 'chain.yaml')
  before(async () => {
    writeFileSync(topology, topologyText)
    stack = await startTestStack()
    await feedChain(stack.brokers, ['killed', 'calm'], { seed, events, apartMsMax: hourMs / 6 })
  })
  after(async () => {
    await stack.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const start = (namespace: string): EngineProcess => new EngineProcess({ stack, namespace, instanceId: 'a', topology })

  async function toTheEnd(namespace: string): Promise<Map<string, string>> {
    const engine = start(namespace)
    await engine.until('all scored', () => engine.stats?.state === 'running' && engine.stats.lag <= 4 && engine.ready >= 2 && engine.stats.tasks.every(({ position }) => position >= events), 120_000)
    assert.equal(await engine.interrupt(), 0)
    return scoredOf(namespace)
  }

  /** Content of each scored event by id, without its lineage sequence; each event once, in the order of the input. */
  async function scoredOf(namespace: string): Promise<Map<string, string>> {
    const [records] = await readCommitted(stack.brokers, `${namespace}.chain.scored`)
    const scored = records!.map((record) => ({ record, value: decodeOwn<{ event_id: string; lineage: { task: string } }>('scored-event', record) }))
    assert.deepEqual(scored.map(({ value }) => value.event_id), Array.from({ length: events }, (_, id) => String(id)))
    for (const { record, value } of scored) assert.equal(String(record.headers?.traceparent), `00-${value.event_id}`)
    return new Map(scored.map(({ value }) => [value.event_id, JSON.stringify({ ...value, lineage: value.lineage.task })]))
  }

  it(`killed ${kills} times: no event lost or doubled at either hop, and the scores of an uninterrupted run`, async (t) => {
    const prng = new Prng(seed)
    for (let kill = 0; kill < kills; kill++) {
      const engine = start('killed')
      const tasks = prng.below(4) === 0 ? 1 : 2
      await engine.until(`${tasks} tasks ready`, () => engine.ready >= tasks)
      await systemClock.sleep(prng.below(500))
      assert.equal(await engine.kill(), 'SIGKILL')
    }
    const killed = await toTheEnd('killed')
    const calm = await toTheEnd('calm')
    assert.deepEqual(killed, calm)
    const batches = await lineageOf(stack.brokers, 'killed.chain.lineage')
    for (const stage of ['customer', 'terminal']) {
      const own = batches.filter(({ task }) => task === `chain/${stage}/0`)
      own.forEach(({ sequence, inputs }, index) => {
        assert.equal(sequence, index, `${stage}: no sequence missing or twice`)
        for (const [input, range] of inputs.entries()) if (index > 0) assert.equal(range.from, own[index - 1]!.inputs[input]!.to, `${stage}: ranges touch`)
      })
      const applied = own.reduce((sum, { counts }) => sum + counts.labels, 0)
      assert.ok(applied > events / 3, `${stage}: ${applied} labels came into effect`)
      assert.equal(own.reduce((sum, { counts }) => sum + counts.labels_unknown + counts.labels_repeated + counts.labels_conflicting, 0), 0)
    }
    t.diagnostic(`${events} events, ${batches.length} batches, ${kills} kills`)
  })
})
