import { setImmediate as nextTurn } from 'node:timers/promises'
import { HarrierError, messageOf } from '../base/errors.js'
import type { DayRange, TransactionChunk, TransactionSource } from './transaction-source.js'

/** A file that takes transactions. */
export interface TransactionWriter {
  /** Whether more may be written: a pipe's reader may have gone. */
  readonly hasReader: boolean
  /** Takes rows [from, to) of a chunk. */
  write(chunk: TransactionChunk, from: number, to: number): Promise<void>
  /** Completes the file with what was written so far. */
  close(): Promise<void>
}

export const transactionColumns = ['tx_id', 'seconds', 'customer_id', 'terminal_id', 'amount_cents', 'is_fraud', 'scenario'] as const

export interface WriteOptions {
  readonly range: DayRange
  readonly eventsMax?: number
  readonly signal?: AbortSignal
  readonly onRows?: (rows: number) => void
}

export interface WrittenCounts {
  readonly rows: number
  readonly frauds: number
}

/** Writes a range of days to a file and completes it, also when `signal` aborts half way. */
export async function writeTransactions(source: TransactionSource, writer: TransactionWriter, options: WriteOptions): Promise<WrittenCounts> {
  const eventsMax = options.eventsMax ?? Infinity
  let rows = 0
  let frauds = 0
  try {
    for (const chunk of source.chunks(options.range)) {
      if (options.signal?.aborted || rows >= eventsMax || !writer.hasReader) break
      const count = Math.min(chunk.count, eventsMax - rows)
      if (count > 0) await writer.write(chunk, 0, count)
      for (let row = 0; row < count; row++) frauds += chunk.isFraud[row]!
      rows += count
      options.onRows?.(rows)
      await nextTurn()
    }
  } finally {
    await writer.close()
  }
  return { rows, frauds }
}

export function fileRefused(file: string, cause: unknown): HarrierError {
  const remedy = 'give --out a file in a folder that is there, with room'
  return new HarrierError('CONFIG_INVALID', `${file} cannot be written: ${messageOf(cause)}`, { cause, remedy })
}
