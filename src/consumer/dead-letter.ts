import { RecordColumns } from '../base/record-columns.js'
import { openLetter, sealLetter, sealVersion, type SealKey } from '../privacy/sealed-letter.js'

/** Header names of Kafka Streams (KIP-1034), so that its tools read these dead letters too. */
export const deadLetterHeaders = {
  exception: '__streams.errors.exception',
  message: '__streams.errors.message',
  stacktrace: '__streams.errors.stacktrace',
  topic: '__streams.errors.topic',
  partition: '__streams.errors.partition',
  offset: '__streams.errors.offset',
} as const

/** Header of a dead letter that is encrypted: the version of its key. */
export const encryptedHeader = 'harrier-encrypted'
/** Headers that stay readable on one that is encrypted: they say whose it is and carry no data. They are sealed, too. */
const openHeaders: readonly string[] = ['harrier-request', 'harrier-redriven', 'traceparent', 'tracestate']

/** Bounds of what is told about the cause; the original bytes are never cut. */
export const deadLetterMessageCharsMax = 1000
export const deadLetterStackCharsMax = 4000

export interface DeadLetterCause {
  /** What kind of error: a code of the catalogue or the name of an exception. */
  readonly exception: string
  readonly message: string
  readonly stacktrace?: string
  /** The message without any value of the record, where that differs. */
  readonly bare?: string | undefined
}

export interface DeadLetterTarget {
  /** Index of the dead-letter topic among the outputs. */
  readonly topicIndex: number
  /** Outputs go to the partition of their input unless told otherwise. */
  readonly partition?: number
}

/**
 * Appends the record with its original key, value, timestamp and headers, and its cause as headers. With `seal` all but its timestamp is
 * encrypted in the value, and the cause tells no value. Returns the row.
 */
export function appendDeadLetter(
  out: RecordColumns,
  target: DeadLetterTarget,
  record: { columns: RecordColumns; row: number; topic: string },
  cause: DeadLetterCause,
  seal?: SealKey,
): number {
  const { columns, row, topic } = record
  const partition = columns.partition[row]!
  const offset = columns.offset[row]!
  const sealed = seal && sealLetter(seal, { topic, partition, offset }, { key: columns.key(row), value: columns.value(row), headers: packedHeaders(columns, row) })
  const appended = out.append(target.topicIndex, target.partition ?? partition, offset, columns.timestamp[row]!, sealed ? null : columns.key(row), sealed ?? columns.value(row))
  if (seal) {
    for (const { name, value } of columns.headers(row)) if (openHeaders.includes(name)) out.appendHeader(name, value)
    out.appendHeader(encryptedHeader, String(seal.version))
  } else out.copyHeaders(columns, row)
  const message = seal ? (cause.bare ?? cause.message) : cause.message
  out.appendHeader(deadLetterHeaders.exception, cause.exception)
  out.appendHeader(deadLetterHeaders.message, message.slice(0, deadLetterMessageCharsMax))
  out.appendHeader(deadLetterHeaders.stacktrace, (cause.stacktrace ?? '').slice(0, deadLetterStackCharsMax))
  out.appendHeader(deadLetterHeaders.topic, topic)
  out.appendHeader(deadLetterHeaders.partition, String(partition))
  out.appendHeader(deadLetterHeaders.offset, String(offset))
  return appended
}

function packedHeaders({ arena, headersAt, headersBytes }: RecordColumns, row: number): Uint8Array {
  return arena.bytes.subarray(headersAt[row]!, headersAt[row]! + headersBytes[row]!)
}

/** The version of the key that a dead letter is encrypted under; undefined: it is not. */
export function sealOf(columns: RecordColumns, row: number): number | undefined {
  return columns.headers(row).some(({ name }) => name === encryptedHeader) ? sealVersion(columns.value(row)) : undefined
}

/** A dead letter as the record that was refused, to the byte: one that is encrypted is opened. Errors: PRIVACY_KEY_MISSING, RECORD_UNDECODABLE. */
export function openedLetter(columns: RecordColumns, row: number, keys: readonly SealKey[]): RecordColumns {
  if (sealOf(columns, row) === undefined) return columns
  const said = (name: string): string => columns.headers(row).find((header) => header.name === name)?.value?.toString() ?? ''
  const place = { topic: said(deadLetterHeaders.topic), partition: Number(said(deadLetterHeaders.partition)), offset: Number(said(deadLetterHeaders.offset)) }
  const { key, value, headers } = openLetter(keys, place, columns.value(row)!)
  const opened = new RecordColumns(1)
  opened.append(0, columns.partition[row]!, columns.offset[row]!, columns.timestamp[row]!, key, value)
  opened.headersAt[0] = opened.arena.append(headers)
  opened.headersBytes[0] = headers.length
  return opened
}
