import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { Prng } from '../../src/base/prng.js'
import { endedDays, sweepSegments } from '../../src/topology/day-calendar.js'
import { chainFeatures, feedChain, hourMs, lineageOf } from './chain-fixture.js'
import { EngineProcess } from './engine-fixture.js'
import { decodeOwn } from './engine-verify.js'
import { readCommitted } from './kafka-verifier.js'
import { startTestStack, type TestStack } from './test-stack.js'

const seed = Number(process.env.SEED ?? 83)
const events = 1500
const kills = 5

/** Payments are scored, then customers at the end of each day, and at once for one payment in some. One partition, so that there is one order. */
const topologyText = `
name: days
source:
  topic: transactions
  format: json
  fields:
    event_id: { path: id, type: text }
    event_time: { path: at, type: timestamp-millis }
    customer: { path: customer, type: text }
    amount: { path: amount, type: integer }
labels:
  topic: labels
  format: json
  fields:
    event_id: { path: id, type: text }
    known_at: { path: known, type: timestamp-millis }
    is_fraud: { path: fraud, type: boolean }
    customer: { path: customer, type: text }
stages:
  customer:
    key: customer
    grace: 1h
    ttl: 60d
    ring: 4
    features:
${chainFeatures()}
    models: { champion: card-gru@1 }
  account:
    key: customer
    grace: 1h
    ttl: 60d
    ring: 7
    upstreamSkew: 1d
    score: { when: dayTurn, events: { field: amount, from: 45000 } }
    features:
${chainFeatures({
  amount: 'kind: max, field: amount, window: 1d, scale: 0.01',
  log_amount: 'kind: sum, field: amount, window: 1d, scale: 0.0001',
  amount_ratio_30d: 'kind: max, field: customer.score, window: 1d',
  customer_mean_30d: 'kind: labelCount, window: 5d',
  log_since: 'kind: timeSince, unit: 1s, log1p: true',
})}
    models: { champion: card-gru@1 }
    policy: { decline: 0.9, review: 0.5, attributes: [amount] }
limits: { batchRecordsMax: 25, checkpointIntervalMs: 1s, turnedPerBatchMax: 16 }
`

describe(`a topology whose days turn, on a broker (SEED=${seed})`, () => {
  let stack: TestStack
  const folder = mkdtempSync(join(tmpdir(), 'harrier-days-'))
  const topology = join(folder, 'days.yaml')
  before(async () => {
    writeFileSync(topology, topologyText)
    stack = await startTestStack()
    await feedChain(stack.brokers, ['killed', 'calm'], { seed, events, apartMsMax: hourMs / 2 })
  })
  after(async () => {
    await stack.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const start = (namespace: string): EngineProcess => new EngineProcess({ stack, namespace, instanceId: 'a', topology })

  /** Until all payments are taken and the sweep has caught up with the days: the stream stands still by then. */
  async function toTheEnd(namespace: string): Promise<Map<string, string>> {
    const engine = start(namespace)
    await engine.until('all folded', () => engine.stats?.state === 'running' && engine.stats.lag <= 4 && engine.ready >= 2 && engine.stats.tasks.every(({ position }) => position >= events), 120_000)
    for (let tries = 0; tries < 100 && !(await hasTurned(namespace)); tries++) await systemClock.sleep(200)
    assert.ok(await hasTurned(namespace), 'a stream that stands still ends its sweep')
    assert.equal(await engine.interrupt(), 0)
    const [records] = await readCommitted(stack.brokers, `${namespace}.days.scored`)
    const scored = new Map<string, string>()
    for (const record of records!) {
      const value = decodeOwn<{ event_id: string; lineage: { task: string } }>('scored-event', record)
      assert.ok(!scored.has(value.event_id), `${value.event_id} is scored once`)
      scored.set(value.event_id, JSON.stringify({ ...value, lineage: value.lineage.task }))
    }
    return new Map([...scored].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  async function hasTurned(namespace: string): Promise<boolean> {
    const last = (await lineageOf(stack.brokers, `${namespace}.days.lineage`)).filter(({ task }) => task.startsWith('days/account/')).at(-1)
    return last !== undefined && last.turns_after === endedDays(last.stream_time_after, hourMs) * sweepSegments
  }

  it(`killed ${kills} times: every customer and day has one score, that of an uninterrupted run`, async (t) => {
    const prng = new Prng(seed)
    for (let kill = 0; kill < kills; kill++) {
      const engine = start('killed')
      await engine.until('both tasks ready', () => engine.ready >= 2)
      await systemClock.sleep(prng.below(400))
      assert.equal(await engine.kill(), 'SIGKILL')
    }
    const killed = await toTheEnd('killed')
    const calm = await toTheEnd('calm')
    assert.deepEqual(killed, calm)
    const days = [...calm.keys()].filter((id) => id.includes('@')).length
    assert.ok(days > 300 && calm.size - days > 50, `${days} days, ${calm.size - days} payments scored at once`)
    const batches = (await lineageOf(stack.brokers, 'killed.days.lineage')).filter(({ task }) => task === 'days/account/0')
    for (const [index, { sequence, turns_before }] of batches.entries()) {
      assert.equal(sequence, index)
      if (index > 0) assert.equal(turns_before, batches[index - 1]!.turns_after, 'the sweep goes on where it was')
    }
    assert.equal(batches.reduce((sum, { counts }) => sum + counts.turned, 0), days)
    t.diagnostic(`${days} days and ${calm.size - days} payments scored, ${batches.length} batches, ${kills} kills`)
  })
})
