import { Kafka, logLevel } from 'kafkajs'
import { HarrierError } from '../base/errors.js'
import { withTimeout } from '../base/clock.js'
import { uniqueSuffix } from '../base/prng.js'
import { kafkaJsSecurity } from '../consumer/kafka-security.js'
import type { Connections } from '../stack/connections.js'
import { teachKafkajsLz4 } from './lz4-frame.js'

export interface CommittedRecord {
  readonly partition: number
  readonly offset: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>
}

const endHeader = 'soak-end'
/** An open transaction of a dead process holds a reader up for 10 s; the rest is a slow machine. */
const readMsMax = 180_000
/** Where kafkajs stumbles over itself (a broker that is busy, metadata that has gone), all is read again from the beginning. */
const triesMax = 3

/**
 * Everything that a committed reader sees in some topics, in order, read by kafkajs: another implementation than the one
 * under test. A mark is written to each partition first, and reading ends there: neither counted offsets nor silence decide.
 */
export async function readCommitted(connections: Connections, topics: readonly string[]): Promise<Map<string, CommittedRecord[]>> {
  for (let tries = 1; ; tries++) {
    try {
      return await readOnce(connections, topics)
    } catch (error) {
      if (error instanceof HarrierError || tries === triesMax) throw error
    }
  }
}

async function readOnce({ brokers, security }: Connections, topics: readonly string[]): Promise<Map<string, CommittedRecord[]>> {
  teachKafkajsLz4()
  const kafka = new Kafka({ clientId: 'harrier-soak', brokers: brokers.split(','), logLevel: logLevel.NOTHING, retry: { retries: 20 }, ...kafkaJsSecurity(security) })
  const run = uniqueSuffix()
  const open = await writeMarks(kafka, topics, run)
  const records = new Map<string, CommittedRecord[]>(topics.map((topic) => [topic, []]))
  // After a hiccup kafkajs reads on from where the group stands, which is the beginning: an offset that was read is no news.
  const next = new Map<string, number>()
  const consumer = kafka.consumer({ groupId: `harrier-soak-${run}`, readUncommitted: false, maxWaitTimeInMs: 100, retry: { retries: 20 } })
  await consumer.connect()
  try {
    await consumer.subscribe({ topics: [...topics], fromBeginning: true })
    const read = new Promise<void>((resolve, reject) => {
      consumer.on('consumer.crash', ({ payload }) => reject(payload.error))
      const running = consumer.run({
        autoCommit: false,
        eachMessage: ({ topic, partition, message }) => {
          const { key, value, offset, headers = {} } = message
          const place = `${topic}/${partition}`
          if (Number(offset) < (next.get(place) ?? 0)) return Promise.resolve()
          next.set(place, Number(offset) + 1)
          if (String(headers[endHeader]) === run) open.delete(place)
          else if (open.has(place) && headers[endHeader] === undefined) records.get(topic)!.push({ partition, offset: Number(offset), key, value, headers })
          if (open.size === 0) resolve()
          return Promise.resolve()
        },
      })
      running.catch(reject)
    })
    await withTimeout(read, readMsMax, () => {
      const places = [...open].map((place) => `${place}, read up to ${next.get(place) ?? 0}`)
      return new HarrierError('BROKER_UNAVAILABLE', `reading back did not end within ${readMsMax} ms; not at their end: ${places.join('; ')}`)
    })
  } finally {
    await consumer.disconnect()
  }
  return records
}

async function writeMarks(kafka: Kafka, topics: readonly string[], run: string): Promise<Set<string>> {
  const admin = kafka.admin()
  await admin.connect()
  const { topics: found } = await admin.fetchTopicMetadata({ topics: [...topics] })
  await admin.disconnect()
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  await producer.connect()
  const open = new Set<string>()
  for (const { name, partitions } of found) {
    for (const { partitionId } of partitions) open.add(`${name}/${partitionId}`)
    await producer.send({ topic: name, messages: partitions.map(({ partitionId }) => ({ partition: partitionId, value: run, headers: { [endHeader]: run } })) })
  }
  await producer.disconnect()
  return open
}
