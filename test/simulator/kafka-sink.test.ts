import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import avsc from 'avsc'
import { Kafka, logLevel, Partitioners, type KafkaMessage } from 'kafkajs'
import { systemClock } from '../../src/base/clock.js'
import { createMissingTopics } from '../../src/simulator/create-topics.js'
import { KafkaSink, type KafkaSinkOptions } from '../../src/simulator/kafka-sink.js'
import { LiveSimulator } from '../../src/simulator/live-simulator.js'
import { secondsPerDay } from '../../src/simulator/parameters.js'
import { generatePublished } from '../../src/simulator/published-transactions.js'
import { startTestStack, type TestStack } from '../broker/test-stack.js'

const epochMs = Date.UTC(2018, 3, 1)
const labelDelayMs = 7 * secondsPerDay * 1000
const partitions = 3
const clock = systemClock
const table = generatePublished({ customers: 120, terminals: 600, days: 30, radius: 15 })

let stack: TestStack
before(async () => {
  stack = await startTestStack()
})
after(() => stack.stop())

interface Read {
  readonly partition: number
  readonly message: KafkaMessage
}

/** Everything on a topic, by kafkajs. */
async function readAll(topic: string): Promise<Read[]> {
  const kafka = new Kafka({ brokers: stack.brokers.split(','), logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  const ends = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  assert.equal(ends.length, partitions)
  const expected = ends.reduce((sum, { high }) => sum + Number(high), 0)
  const consumer = kafka.consumer({ groupId: `reader-${topic}` })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const read: Read[] = []
  await new Promise<void>((resolve, reject) => {
    const eachMessage = ({ partition, message }: Read): Promise<void> => {
      read.push({ partition, message })
      if (read.length === expected) resolve()
      return Promise.resolve()
    }
    consumer.run({ eachMessage }).catch(reject)
  })
  await consumer.disconnect()
  return read
}

/** kafkajs cannot read lz4 by itself. */
const settings = { 'compression.codec': 'none' }

async function sinkOptions(name: string, format: 'avro' | 'json'): Promise<KafkaSinkOptions> {
  const topics = { transactionsTopic: `${name}.transactions`, labelsTopic: `${name}.labels` }
  const created = await createMissingTopics(stack, Object.values(topics), partitions, clock)
  assert.deepEqual(created, Object.values(topics))
  assert.deepEqual(await createMissingTopics(stack, Object.values(topics), partitions, clock), [])
  const { brokers, registryUrl } = stack
  return { ...topics, brokers, registryUrl, format, settings, clock, epochMs, labelDelayMs }
}

test('transactions and labels arrive once each, in order for each card, in the registered schemas', async () => {
  const options = await sinkOptions('arrive', 'avro')
  const startedMs = clock.nowMs()
  const sink = await KafkaSink.open(options)
  const live = new LiveSimulator({ source: table, sink, clock, epochMs, pace: { kind: 'full' }, labels: 'all', labelDelayMs })
  const counters = await live.done
  const transactions = await readAll(options.transactionsTopic)
  const labels = await readAll(options.labelsTopic)
  assert.equal(counters.acked, transactions.length + labels.length)
  assert.equal(labels.length, counters.labelsSent)
  const decode = await decoder()

  const decoded = await Promise.all(transactions.map(({ message }) => decode(message.value!)))
  const ids = decoded.map((event) => event['transaction_id'] as number)
  assert.deepEqual([...ids].sort((a, b) => a - b), [...table.seconds.keys()])
  const lastOf = new Map<string, number>()
  const partitioner = Partitioners.DefaultPartitioner()
  const replicas = { partitionErrorCode: 0, leader: 1, replicas: [1], isr: [1] }
  const metadata = Array.from({ length: partitions }, (_, partitionId) => ({ partitionId, ...replicas }))
  for (const [i, { partition, message }] of transactions.entries()) {
    const key = message.key!.toString()
    const row = ids[i]!
    assert.equal(key, String(table.customer[row]))
    assert.equal(decoded[i]!['customer_id'], key)
    assert.equal(decoded[i]!['amount_minor'], table.amountCents[row])
    assert.equal(partition, partitioner({ topic: options.transactionsTopic, partitionMetadata: metadata, message }), 'the partition of Java clients')
    assert.ok(row > (lastOf.get(key) ?? -1), 'order of a card')
    lastOf.set(key, row)
    const sentMs = Number(message.timestamp)
    assert.ok(sentMs >= startedMs && sentMs <= clock.nowMs(), 'the timestamp is the wall-clock time of sending')
  }
  for (const { message } of labels.slice(0, 500)) {
    const label = await decode(message.value!)
    const row = label['transaction_id'] as number
    assert.equal(label['is_fraud'], table.isFraud[row] === 1)
    assert.equal(label['known_at'], epochMs + table.seconds[row]! * 1000 + labelDelayMs)
  }
})

test('JSON needs no registry; stop keeps what was sent', async () => {
  const { registryUrl: _registryUrl, ...options } = await sinkOptions('plain', 'json')
  const sink = await KafkaSink.open(options)
  const live = new LiveSimulator({ source: table, sink, clock, epochMs, pace: { kind: 'rate', perSecond: 2000 }, labels: 'none', labelDelayMs })
  while (live.counters.sent < 100) await clock.sleep(5)
  const counters = await live.stop()
  const read = await readAll(options.transactionsTopic)
  assert.equal(read.length, counters.sent)
  assert.equal(counters.acked, counters.sent)
  const values = read.map(({ message }) => JSON.parse(message.value!.toString()) as Record<string, unknown>)
  const first = values.find((value) => value['transaction_id'] === 0)!
  assert.equal(first['event_time'], epochMs + table.seconds[0]! * 1000)
})

/** Reads by the schema that the registry has under the id of the value. */
async function decoder(): Promise<(value: Buffer) => Promise<Record<string, unknown>>> {
  const types = new Map<number, Promise<avsc.Type>>()
  const load = async (id: number): Promise<avsc.Type> => {
    const response = await fetch(`${stack.registryUrl}/schemas/ids/${id}`)
    const { schema } = (await response.json()) as { schema: string }
    return avsc.Type.forSchema(JSON.parse(schema) as avsc.Schema)
  }
  return async (value) => {
    assert.equal(value[0], 0)
    const id = value.readInt32BE(1)
    const type = types.get(id) ?? load(id)
    types.set(id, type)
    return (await type).fromBuffer(value.subarray(5)) as Record<string, unknown>
  }
}
