import { Kafka, logLevel } from 'kafkajs'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { Prng } from '../../src/base/prng.js'
import type { LineageRecord } from '../../src/codec/lineage-codec.js'
import { RangeReader } from '../../src/consumer/range-reader.js'
import { decodeOwn } from './engine-verify.js'

export const hourMs = 3_600_000

/** The fourteen columns that card-gru and card-row read: what they hold is up to the topology. */
export function chainFeatures(more: Readonly<Record<string, string>> = {}): string {
  const own: Record<string, string> = {
    amount: 'kind: value, field: amount, scale: 0.01',
    log_amount: 'kind: log1p, field: amount, scale: 0.01',
    hour_sin: 'kind: hourSin',
    hour_cos: 'kind: hourCos',
    weekend: 'kind: weekend',
    night: 'kind: night',
    customer_count_1d: 'kind: count, window: 1d',
    customer_mean_1d: 'kind: mean, field: amount, window: 1d, scale: 0.01',
    customer_count_7d: 'kind: count, window: 7d',
    customer_mean_7d: 'kind: mean, field: amount, window: 7d, scale: 0.01',
    customer_count_30d: 'kind: count, window: 30d',
    customer_mean_30d: 'kind: mean, field: amount, window: 30d, scale: 0.01',
    amount_ratio_30d: 'kind: ratio, field: amount, window: 30d',
    log_since: 'kind: timeSince, unit: 1s, log1p: true',
    ...more,
  }
  return Object.entries(own).map(([name, text]) => `      - { name: ${name}, ${text} }`).join('\n')
}

/** The same payments and labels for each namespace. Labels are known some hours later, and come in that order. */
export async function feedChain(brokers: string, namespaces: readonly string[], { seed, events, apartMsMax }: { seed: number; events: number; apartMsMax: number }): Promise<void> {
  const kafka = new Kafka({ clientId: 'feeder', brokers: brokers.split(','), logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ waitForLeaders: true, topics: namespaces.flatMap((namespace) => ['transactions', 'labels'].map((topic) => ({ topic: `${namespace}.${topic}`, numPartitions: 1 }))) })
  await admin.disconnect()
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  await producer.connect()
  const prng = new Prng(seed)
  let now = 1_704_103_200_000
  const payments = Array.from({ length: events }, (_, id) => {
    now += prng.below(apartMsMax)
    return { id: String(id), at: now, customer: `c${prng.below(40)}`, terminal: `t${prng.below(25)}`, amount: 1 + prng.below(50_000) }
  })
  const labels = payments
    .filter(() => prng.below(3) > 0)
    .map(({ id, at, customer, terminal }) => ({ id, customer, terminal, known: at + hourMs * (2 + prng.below(30)), fraud: prng.below(4) === 0 }))
    .sort((a, b) => a.known - b.known)
  for (const namespace of namespaces) {
    await producer.send({ topic: `${namespace}.transactions`, messages: payments.map((value) => ({ key: value.customer, value: JSON.stringify(value), headers: { traceparent: `00-${value.id}` } })) })
    await producer.send({ topic: `${namespace}.labels`, messages: labels.map((value) => ({ key: value.customer, value: JSON.stringify(value) })) })
  }
  await producer.disconnect()
}

/**
 * Lineage records in their order. Both stages write to the topic, so that their transactions cross there: kafkajs takes
 * the list of aborted ones to be in the order of their beginnings, and shows records of some (filterAbortedMessages.js).
 */
export async function lineageOf(brokers: string, topic: string): Promise<LineageRecord[]> {
  const reader = new RangeReader({ brokers, clock: systemClock, logger: silentLogger })
  const records: LineageRecord[] = []
  try {
    await reader.start()
    await reader.readRange({ topic, partition: 0, from: 'earliest', to: 'settled-end' }, (columns) => {
      for (let row = 0; row < columns.count; row++) records.push(decodeOwn<LineageRecord>('lineage', { value: Buffer.from(columns.value(row)!) }))
    })
  } finally {
    await reader.close()
  }
  return records
}
