import type { RecordColumns } from '../../base/record-columns.js'
import type { RdkafkaMessage } from '../../consumer/rdkafka-client.js'
import type { RangeReader } from '../../consumer/range-reader.js'
import type { StartingPoint } from '../../consumer/topic-follower.js'

/** The newest committed records of a topic in the order of their timestamps, and where following goes on after them. */
export async function newestRecords(
  reader: RangeReader,
  { topic, partitions, count, signal }: { topic: string; partitions: number; count: number; signal: AbortSignal },
): Promise<{ records: RdkafkaMessage[]; next: StartingPoint[] }> {
  const records: RdkafkaMessage[] = []
  const next: StartingPoint[] = []
  for (let partition = 0; partition < partitions; partition++) {
    const { stableEnd } = await reader.watermarks(topic, partition)
    const last = count > 0 ? await reader.lastRecords(topic, partition, { count, signal }) : undefined
    const found = last ? Array.from({ length: last.count }, (_, row) => toMessage(last, row, topic)) : []
    records.push(...found)
    // The end may have moved between the two calls: nothing is shown twice or left out.
    next.push({ topic, partition, offset: Math.max(stableEnd, (found.at(-1)?.offset ?? -1) + 1) })
  }
  records.sort((a, b) => a.timestamp - b.timestamp)
  return { records: records.slice(records.length - Math.min(count, records.length)), next }
}

function toMessage(columns: RecordColumns, row: number, topic: string): RdkafkaMessage {
  const key = columns.key(row)
  const value = columns.value(row)
  return {
    topic,
    partition: columns.partition[row]!,
    offset: columns.offset[row]!,
    timestamp: columns.timestamp[row]!,
    key: key ? Buffer.from(key) : null,
    value: value ? Buffer.from(value) : null,
    headers: columns.headers(row).map((header) => ({ [header.name]: header.value ?? Buffer.alloc(0) })),
  }
}
