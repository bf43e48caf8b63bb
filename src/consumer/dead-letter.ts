import type { RecordColumns } from '../base/record-columns.js'

/** Header names of Kafka Streams (KIP-1034), so that its tools read these dead letters too. */
export const deadLetterHeaders = {
  exception: '__streams.errors.exception',
  message: '__streams.errors.message',
  stacktrace: '__streams.errors.stacktrace',
  topic: '__streams.errors.topic',
  partition: '__streams.errors.partition',
  offset: '__streams.errors.offset',
} as const

/** Bounds of what is told about the cause; the original bytes are never cut. */
export const deadLetterMessageCharsMax = 1000
export const deadLetterStackCharsMax = 4000

export interface DeadLetterCause {
  /** What kind of error: a code of the catalogue or the name of an exception. */
  readonly exception: string
  readonly message: string
  readonly stacktrace?: string
}

export interface DeadLetterTarget {
  /** Index of the dead-letter topic among the outputs. */
  readonly topicIndex: number
  /** Outputs go to the partition of their input unless told otherwise. */
  readonly partition?: number
}

/** Appends the record with its original key, value, timestamp and headers, and its cause as headers. Returns the row. */
export function appendDeadLetter(
  out: RecordColumns,
  target: DeadLetterTarget,
  record: { columns: RecordColumns; row: number; topic: string },
  cause: DeadLetterCause,
): number {
  const { columns, row, topic } = record
  const partition = columns.partition[row]!
  const offset = columns.offset[row]!
  const appended = out.append(target.topicIndex, target.partition ?? partition, offset, columns.timestamp[row]!, columns.key(row), columns.value(row))
  out.copyHeaders(columns, row)
  out.appendHeader(deadLetterHeaders.exception, cause.exception)
  out.appendHeader(deadLetterHeaders.message, cause.message.slice(0, deadLetterMessageCharsMax))
  out.appendHeader(deadLetterHeaders.stacktrace, (cause.stacktrace ?? '').slice(0, deadLetterStackCharsMax))
  out.appendHeader(deadLetterHeaders.topic, topic)
  out.appendHeader(deadLetterHeaders.partition, String(partition))
  out.appendHeader(deadLetterHeaders.offset, String(offset))
  return appended
}
