import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import avsc from 'avsc'
import { Kafka, logLevel, Partitioners, type KafkaMessage } from 'kafkajs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { partitionByKey, RecordColumns } from '../../src/base/record-columns.js'
import { withAdmin } from '../../src/consumer/admin.js'
import { RecordOutbox } from '../../src/producer/record-outbox.js'
import { RecordProducer } from '../../src/producer/record-producer.js'
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

/** A topic of three partitions whose broker takes no record of more than 2,000 bytes. */
async function topicOfSmallRecords(name: string): Promise<string> {
  await withAdmin({ brokers: stack.brokers, clock }, (admin) => admin.ensureTopics([{ topic: name, partitions, config: { 'max.message.bytes': '2000' } }], { create: true }))
  return name
}

const large = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7919) % 251))
const openProducer = (): Promise<RecordProducer> => RecordProducer.open({ brokers: stack.brokers, clock, logger: silentLogger, settings })

test('a producer of records says what was not acknowledged, once, and goes on', async (context) => {
  const topic = await topicOfSmallRecords('small')
  const producer = await openProducer()
  context.after(() => producer.close(5000))
  const columns = new RecordColumns(3)
  columns.append(0, partitionByKey, 0, clock.nowMs(), Buffer.from('4961'), Buffer.from('good'))
  columns.append(0, 2, 0, clock.nowMs(), null, large)
  await producer.send(columns, [topic])
  await assert.rejects(producer.delivered(10_000), { code: 'BROKER_UNAVAILABLE', message: /a record was not acknowledged: .*too large/ })
  columns.reset()
  columns.append(0, 2, 0, clock.nowMs(), null, Buffer.from('after'))
  columns.appendHeader('h', 'v')
  await producer.send(columns, [topic])
  await producer.delivered(10_000)
  assert.deepEqual((await readAll(topic)).map(({ message }) => [message.key?.toString(), message.value?.toString(), message.headers?.['h']?.toString()]).sort(), [[undefined, 'after', 'v'], ['4961', 'good', undefined]])
  columns.reset()
  columns.append(0, partitionByKey, 0, clock.nowMs(), Buffer.from('k'), null)
  await assert.rejects(producer.send(columns, ['nowhere']), { code: 'TOPIC_MISSING' })
  columns.partition[0] = partitions
  await assert.rejects(producer.send(columns, [topic]).then(() => producer.delivered(10_000)), { code: 'TOPIC_MISSING' })
})

test('an outbox tells the end of a send to those whose records were in it, and to no others', async (context) => {
  const topic = await topicOfSmallRecords('outbox')
  const outbox = new RecordOutbox(await openProducer(), topic, { recordsMax: 3, bytesMax: 10_000, deliveredMsMax: 10_000, closeMsMax: 5000 }, clock)
  context.after(() => outbox.close())
  const put = (key: string, value: Uint8Array): Promise<void> => outbox.put({ key: Buffer.from(key), value, headers: [['key', key]] })
  const small = Buffer.from('small')
  // In one turn: one send, of which the last finds no room.
  const first = await Promise.allSettled([put('a', small), put('b', small), put('c', small), put('d', small)])
  assert.deepEqual(first.map(({ status }) => status), ['fulfilled', 'fulfilled', 'fulfilled', 'rejected'])
  await assert.rejects(Promise.reject((first[3] as PromiseRejectedResult).reason as Error), { code: 'OVERLOADED' })
  const failing = put('e', large)
  await nextTurn()
  // The large one is on its way by now: what comes next is not in its send.
  const next = put('f', small)
  await assert.rejects(failing, { code: 'BROKER_UNAVAILABLE' })
  await next
  const last = put('g', small)
  await outbox.close()
  await last
  assert.deepEqual((await readAll(topic)).map(({ message }) => message.headers?.['key']?.toString()).sort(), ['a', 'b', 'c', 'f', 'g'])
  await assert.rejects(put('h', small), { code: 'BROKER_UNAVAILABLE' })
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
