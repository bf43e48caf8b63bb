import type { RecordColumns } from '../base/record-columns.js'

/** A record as an object with bytes of its own: for those who look at single records. What carries many stays with the columns. */
export interface ReadRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** ms since 1970; -1: none. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly { readonly name: string; readonly value: Buffer | null }[]
}

/** The row as a record of `topics[columns.topic[row]]`. */
export function readRecord(columns: RecordColumns, row: number, topics: readonly string[]): ReadRecord {
  const key = columns.key(row)
  const value = columns.value(row)
  return {
    topic: topics[columns.topic[row]!]!,
    partition: columns.partition[row]!,
    offset: columns.offset[row]!,
    timestamp: columns.timestamp[row]!,
    key: key && Buffer.from(key),
    value: value && Buffer.from(value),
    headers: columns.headers(row),
  }
}
