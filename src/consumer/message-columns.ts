import type { RecordColumns } from '../base/record-columns.js'

/** A record as node-rdkafka makes it: one object and up to two Buffers each, the cost that caps this adapter. */
export interface RdkafkaMessage {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: readonly Record<string, Buffer>[]
}

/** Values begin at a multiple of this, so that state is read from them in words. */
const valueAlignment = 8

/**
 * Copies a record into a new row: one memcpy of the key and one of the value.
 * node-rdkafka gives a null header value as an empty one; it cannot be told apart.
 */
export function appendMessage(into: RecordColumns, topicIndex: number, message: RdkafkaMessage): void {
  const { key, value, headers } = message
  const { arena } = into
  const keyBytes = key === null ? -1 : key.length
  const valueBytes = value === null ? -1 : value.length
  if (keyBytes + valueBytes > 0) arena.reserve(keyBytes + valueBytes + 2 + valueAlignment)
  const row = into.begin(topicIndex, message.partition, message.offset, message.timestamp)
  if (keyBytes >= 0) {
    arena.bytes.set(key!, arena.used)
    into.setKey(row, arena.used, keyBytes)
    arena.used += keyBytes
  }
  if (valueBytes >= 0) {
    arena.align()
    arena.bytes.set(value!, arena.used)
    into.setValue(row, arena.used, valueBytes)
    arena.used += valueBytes
  }
  if (headers === undefined) return
  for (const header of headers) {
    for (const name in header) into.appendHeader(name, header[name]!)
  }
}
