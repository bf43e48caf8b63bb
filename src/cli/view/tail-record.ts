import { deadLetterHeaders } from '../../consumer/dead-letter.js'
import type { RdkafkaMessage } from '../../consumer/rdkafka-client.js'
import type { DecodedValue } from '../../codec/generic-decoder.js'

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
}

export type RecordKind = 'dead letter' | 'scored event' | 'alert' | 'lineage' | 'other'

export function toTailRecord(message: RdkafkaMessage, decoded: DecodedValue): TailRecord {
  const headers = (message.headers ?? []).flatMap((header) => Object.entries(header).map(([name, value]) => ({ name, value: textOrHex(value) })))
  return {
    topic: message.topic,
    partition: message.partition,
    offset: message.offset,
    timestampMs: message.timestamp,
    key: message.key === null ? null : textOrHex(message.key),
    headers,
    decoded,
    value: message.value,
  }
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
