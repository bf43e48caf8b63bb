import { messageOf } from '../../base/errors.js'
import { RecordColumns } from '../../base/record-columns.js'
import { deadLetterHeaders, openedLetter, sealOf } from '../../consumer/dead-letter.js'
import type { ReadRecord } from '../../consumer/read-record.js'
import type { DecodedValue } from '../../codec/generic-decoder.js'
import type { SealKey } from '../../privacy/sealed-letter.js'
import type { RecordMask } from '../../topology/record-mask.js'

export interface Header {
  readonly name: string
  readonly value: string
}

/** A record with its value decoded: what the formats show. */
export interface TailRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
  /** null: none. Text where the bytes are UTF-8, else hex. */
  readonly key: string | null
  readonly headers: readonly Header[]
  readonly decoded: DecodedValue
  /** The value as it is on the topic. */
  readonly value: Uint8Array | null
  /** Something of it is hidden: of the value only what is decoded is shown. */
  readonly isMasked?: boolean
}

export type RecordKind = 'dead letter' | 'scored event' | 'alert' | 'lineage' | 'other'

export function toTailRecord(record: ReadRecord, decoded: DecodedValue): TailRecord {
  const headers = record.headers.map(({ name, value }) => ({ name, value: value === null ? '' : textOrHex(value) }))
  return {
    topic: record.topic,
    partition: record.partition,
    offset: record.offset,
    timestampMs: record.timestamp,
    key: record.key === null ? null : textOrHex(record.key),
    headers,
    decoded,
    value: record.value,
  }
}

/** As people see it. */
export function maskedRecord(record: TailRecord, mask: RecordMask): TailRecord {
  const masked = mask.record(record.topic, record)
  return masked === record ? record : { ...masked, isMasked: true }
}

/** A dead letter that is encrypted as the record that was refused, with the cause behind its headers; `problem`: why it cannot be opened. */
export function openedRecord(record: ReadRecord, keys: readonly SealKey[]): { readonly opened: ReadRecord; readonly problem?: string } {
  const columns = new RecordColumns(1)
  columns.append(0, record.partition, record.offset, record.timestamp, record.key, record.value)
  for (const { name, value } of record.headers) columns.appendHeader(name, value)
  if (sealOf(columns, 0) === undefined) return { opened: record }
  let opened: RecordColumns
  try {
    opened = openedLetter(columns, 0, keys)
  } catch (error) {
    return { opened: record, problem: messageOf(error) }
  }
  const key = opened.key(0)
  const causes = columns.headers(0).filter(({ name }) => (Object.values(deadLetterHeaders) as string[]).includes(name))
  const headers = [...opened.headers(0), ...causes]
  return { opened: { ...record, key: key && Buffer.from(key), value: opened.value(0) && Buffer.from(opened.value(0)!), headers } }
}

/** By what the record is made of, not by the name of its topic: that may be anything. */
export function kindOf({ headers, decoded }: TailRecord): RecordKind {
  if (headers.some(({ name }) => name === deadLetterHeaders.exception)) return 'dead letter'
  const { value } = decoded
  if (decoded.encoding !== 'avro' || decoded.problem !== undefined || typeof value !== 'object' || value === null) return 'other'
  if ('event_id' in value && 'decision' in value && 'lineage' in value) return 'scores' in value ? 'scored event' : 'alert'
  if ('task' in value && 'sequence' in value && 'inputs' in value) return 'lineage'
  return 'other'
}

function textOrHex(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return `0x${Buffer.from(bytes).toString('hex')}`
  }
}

/** The record as one line of JSON. Integers beyond 2^53 are decimal text, exactly. */
export function recordAsJson({ topic, partition, offset, timestampMs, key, headers, decoded }: TailRecord): string {
  const { encoding, schemaId, value, problem } = decoded
  return JSON.stringify({ topic, partition, offset, timestamp: new Date(timestampMs).toISOString(), key, headers, encoding, schemaId, value, problem })
}
