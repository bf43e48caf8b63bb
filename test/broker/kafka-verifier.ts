import { Kafka, logLevel } from 'kafkajs'
import { uniqueSuffix } from '../../src/base/prng.js'
import { teachKafkajsLz4 } from '../../src/soak/lz4-frame.js'

export interface VerifiedRecord {
  readonly partition: number
  readonly offset: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>
}

const endHeader = 'verifier-end'

/**
 * Everything that a committed reader sees in a topic, by partition and in order, read by another implementation than the
 * one under test. A mark is written to each partition first: reading ends there, so neither counted offsets nor silence
 * decide. A transaction that is still open holds it up, as it would hold up anybody.
 */
export async function readCommitted(brokers: string, topic: string): Promise<VerifiedRecord[][]> {
  teachKafkajsLz4()
  const kafka = new Kafka({ clientId: 'verifier', brokers: brokers.split(','), logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  const partitions = (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]!.partitions.length
  await admin.disconnect()

  const run = uniqueSuffix()
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  await producer.connect()
  await producer.send({ topic, messages: Array.from({ length: partitions }, (_, partition) => ({ partition, value: run, headers: { [endHeader]: run } })) })
  await producer.disconnect()

  const records: VerifiedRecord[][] = Array.from({ length: partitions }, () => [])
  const open = new Set(records.keys())
  const consumer = kafka.consumer({ groupId: `verifier-${run}`, readUncommitted: false, maxWaitTimeInMs: 100, retry: { retries: 10 } })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await new Promise<void>((resolve, reject) => {
    // From what passes, as a coordinator that loads its groups, it begins again by itself.
    consumer.on('consumer.crash', ({ payload }) => (payload.restart ? undefined : reject(payload.error)))
    void consumer.run({
      autoCommit: false,
      eachMessage: ({ partition, message }) => {
        const { key, value, offset, headers = {} } = message
        // A reader that joins again starts anew: the same offset twice is one record.
        if (Number(offset) <= (records[partition]!.at(-1)?.offset ?? -1)) return Promise.resolve()
        if (String(headers[endHeader]) === run) open.delete(partition)
        else if (open.has(partition) && headers[endHeader] === undefined) records[partition]!.push({ partition, offset: Number(offset), key, value, headers })
        if (open.size === 0) resolve()
        return Promise.resolve()
      },
    })
  }).finally(() => consumer.disconnect())
  return records
}

export interface Integrity {
  /** Identifiers that should be there and are not. */
  readonly missing: readonly string[]
  /** Identifiers that are there more than once, or should not be. */
  readonly doubled: readonly string[]
  /** Records that come before one with a smaller number, in the same partition. */
  readonly outOfOrder: number
}

/** Compares what was read with what was written: `idOf` names a record, `orderOf` rises within a partition. */
export function checkIntegrity(
  records: readonly (readonly VerifiedRecord[])[],
  expected: Iterable<string>,
  idOf: (record: VerifiedRecord) => string,
  orderOf?: (record: VerifiedRecord) => number,
): Integrity {
  const wanted = new Set(expected)
  const seen = new Set<string>()
  const doubled: string[] = []
  let outOfOrder = 0
  for (const partition of records) {
    let before = -Infinity
    for (const record of partition) {
      const id = idOf(record)
      if (seen.has(id) || !wanted.has(id)) doubled.push(id)
      seen.add(id)
      const order = orderOf?.(record) ?? before
      if (order < before) outOfOrder++
      before = order
    }
  }
  return { missing: [...wanted].filter((id) => !seen.has(id)), doubled, outOfOrder }
}
