import type { RangeReader } from '../../consumer/range-reader.js'
import { readRecord, type ReadRecord } from '../../consumer/read-record.js'
import type { StartingPoint } from '../../consumer/topic-follower.js'

/** The newest committed records of a topic in the order of their timestamps, and where following goes on after them. */
export async function newestRecords(
  reader: RangeReader,
  { topic, partitions, count, signal }: { topic: string; partitions: number; count: number; signal: AbortSignal },
): Promise<{ records: ReadRecord[]; next: StartingPoint[] }> {
  const records: ReadRecord[] = []
  const next: StartingPoint[] = []
  for (let partition = 0; partition < partitions; partition++) {
    const { stableEnd } = await reader.watermarks(topic, partition)
    const last = count > 0 ? await reader.lastRecords(topic, partition, { count, signal }) : undefined
    const found = last ? Array.from({ length: last.count }, (_, row) => readRecord(last, row, [topic])) : []
    records.push(...found)
    // The end may have moved between the two calls: nothing is shown twice or left out.
    next.push({ topic, partition, offset: Math.max(stableEnd, (found.at(-1)?.offset ?? -1) + 1) })
  }
  records.sort((a, b) => a.timestamp - b.timestamp)
  return { records: records.slice(records.length - Math.min(count, records.length)), next }
}
