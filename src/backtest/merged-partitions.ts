import { Condition } from '../base/condition.js'
import { RecordColumns } from '../base/record-columns.js'
import type { Tags } from '../topology/stage-chain.js'

/** What one partition has ready: rows from `at` on, in the order of their offsets. */
export interface PartitionHead {
  readonly records: RecordColumns
  readonly tags: Tags
  /** Event time of each row; NaN: as old as the row before. */
  readonly times: Float64Array
}

/** Gives batches of one partition to `take`, which answers when it wants the next. */
export type PartitionReader = (take: (head: PartitionHead) => Promise<void>) => Promise<void>

/** Rows that are passed on together. */
const mergedRowsMax = 4096

/**
 * Merges partitions by the event time of their heads, each in the order of its offsets; ties by partition. So a later stage
 * meets the events of all partitions in the order of time, however fast each is read.
 */
export async function mergePartitions(readers: readonly PartitionReader[], push: (records: RecordColumns, tags: Tags) => Promise<void>): Promise<void> {
  const changed = new Condition()
  const heads = readers.map((): { head: PartitionHead | undefined; at: number; timeMs: number; isOver: boolean; done: () => void } => ({ head: undefined, at: 0, timeMs: -Infinity, isOver: false, done: () => undefined }))
  let failure: Error | undefined
  const running = readers.map(async (read, index) => {
    const own = heads[index]!
    try {
      await read((head) => {
        own.head = head
        own.at = 0
        changed.notify()
        return new Promise((resolve) => (own.done = resolve))
      })
    } catch (error) {
      failure ??= error instanceof Error ? error : new Error(String(error))
    }
    own.isOver = true
    changed.notify()
  })
  const merged = new RecordColumns(mergedRowsMax)
  const tags = new Float64Array(mergedRowsMax)
  const pass = async (): Promise<void> => {
    if (merged.count > 0) await push(merged, tags)
    merged.reset()
  }
  try {
    for (;;) {
      await changed.until(() => failure !== undefined || heads.every(({ head, isOver }) => head !== undefined || isOver))
      if (failure !== undefined) throw failure
      const oldest = oldestHead(heads)
      if (!oldest) break
      const { head } = oldest
      tags[merged.count] = head!.tags[oldest.at]!
      merged.copyRow(head!.records, oldest.at)
      if (merged.count === mergedRowsMax) await pass()
      if (++oldest.at < head!.records.count) continue
      oldest.head = undefined
      oldest.done()
    }
    await pass()
  } finally {
    // Readers that wait to be asked again end by their own signal; after a failure nobody asks.
    for (const { done } of heads) done()
    await Promise.all(running)
  }
}

function oldestHead<H extends { head: PartitionHead | undefined; at: number; timeMs: number }>(heads: readonly H[]): H | undefined {
  let oldest: H | undefined
  for (const each of heads) {
    if (!each.head) continue
    const timeMs = each.head.times[each.at]!
    if (!Number.isNaN(timeMs)) each.timeMs = timeMs
    if (!oldest || each.timeMs < oldest.timeMs) oldest = each
  }
  return oldest
}
