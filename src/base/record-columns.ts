import { Arena } from './arena.js'
import { assert } from './assert.js'

/** Timestamp of a record that has none. */
export const noTimestamp = -1

/** Partition of a record on its way out that goes by its key: `RecordProducer` puts the number in its place. */
export const partitionByKey = -1

/**
 * Kafka records as columns: the seam between the engine and its consumer and producer (docs/architecture.md,
 * "Columns, not objects"). Between poll and produce no record is an object. The same class carries records in
 * (`topic` = index of the input) and out (`topic` = index of the sink).
 *
 * Lengths of -1 mean null. Headers are packed in the arena by `appendHeader`.
 */
export class RecordColumns {
  recordsMax: number
  readonly arena: Arena
  count = 0
  topic: Uint8Array
  partition: Int32Array
  /** Kafka offsets; float64 holds them exactly up to 2^53. Unused on the way out. */
  offset: Float64Array
  /** Record timestamp, ms since 1970; `noTimestamp`: none. */
  timestamp: Float64Array
  keyAt: Int32Array
  keyBytes: Int32Array
  valueAt: Int32Array
  valueBytes: Int32Array
  headersAt: Int32Array
  /** 0 = no headers. */
  headersBytes: Int32Array

  constructor(recordsMax: number, arena = new Arena()) {
    this.recordsMax = recordsMax
    this.arena = arena
    this.topic = new Uint8Array(recordsMax)
    this.partition = new Int32Array(recordsMax)
    this.offset = new Float64Array(recordsMax)
    this.timestamp = new Float64Array(recordsMax)
    this.keyAt = new Int32Array(recordsMax)
    this.keyBytes = new Int32Array(recordsMax)
    this.valueAt = new Int32Array(recordsMax)
    this.valueBytes = new Int32Array(recordsMax)
    this.headersAt = new Int32Array(recordsMax)
    this.headersBytes = new Int32Array(recordsMax)
  }

  reset(): void {
    this.count = 0
    this.arena.reset()
  }

  /** Makes room for `rows` more, at least twice as much as before: arrays that were taken before are then of no use. */
  makeRoom(rows: number): void {
    if (this.count + rows <= this.recordsMax) return
    this.recordsMax = Math.max(this.count + rows, this.recordsMax * 2)
    const grown = <A extends Uint8Array | Int32Array | Float64Array>(array: A): A => {
      const larger = new (array.constructor as new (length: number) => A)(this.recordsMax)
      larger.set(array)
      return larger
    }
    this.topic = grown(this.topic)
    this.partition = grown(this.partition)
    this.offset = grown(this.offset)
    this.timestamp = grown(this.timestamp)
    this.keyAt = grown(this.keyAt)
    this.keyBytes = grown(this.keyBytes)
    this.valueAt = grown(this.valueAt)
    this.valueBytes = grown(this.valueBytes)
    this.headersAt = grown(this.headersAt)
    this.headersBytes = grown(this.headersBytes)
  }

  /** Adds a row with no headers whose key and value are copied into the arena. Returns the row. */
  append(topic: number, partition: number, offset: number, timestamp: number, key: Uint8Array | null, value: Uint8Array | null): number {
    const row = this.begin(topic, partition, offset, timestamp)
    if (key) this.setKey(row, this.arena.append(key), key.length)
    if (value) this.setValue(row, this.arena.append(value), value.length)
    return row
  }

  /** Adds a row with null key, null value and no headers; an encoder then writes into the arena and calls the setters. */
  begin(topic: number, partition: number, offset: number, timestamp: number): number {
    assert(this.count < this.recordsMax, 'record columns are not over-filled')
    const row = this.count++
    this.topic[row] = topic
    this.partition[row] = partition
    this.offset[row] = offset
    this.timestamp[row] = timestamp
    this.keyBytes[row] = -1
    this.valueBytes[row] = -1
    this.headersAt[row] = this.arena.used
    this.headersBytes[row] = 0
    return row
  }

  setKey(row: number, at: number, bytes: number): void {
    this.keyAt[row] = at
    this.keyBytes[row] = bytes
  }

  /** Copies bytes [from, from + length) into the arena as the key of a row. */
  copyKey(row: number, bytes: Uint8Array, from: number, length: number): void {
    const { arena } = this
    arena.reserve(length)
    for (let i = 0; i < length; i++) arena.bytes[arena.used + i] = bytes[from + i]!
    this.setKey(row, arena.used, length)
    arena.used += length
  }

  setValue(row: number, at: number, bytes: number): void {
    this.valueAt[row] = at
    this.valueBytes[row] = bytes
  }

  /** Appends one header to the newest row. Nothing else may be written to the arena between two headers of a row. */
  appendHeader(name: string, value: Uint8Array | string | null): void {
    const row = this.count - 1
    const nameBytes = Buffer.from(name)
    const valueBytes = typeof value === 'string' ? Buffer.from(value) : value
    const { arena } = this
    arena.reserve(6 + nameBytes.length + (valueBytes?.length ?? 0))
    if (this.headersBytes[row] === 0) this.headersAt[row] = arena.used
    const start = arena.used
    arena.view.setUint16(arena.used, nameBytes.length)
    arena.view.setInt32(arena.used + 2, valueBytes ? valueBytes.length : -1)
    arena.used += 6
    arena.append(nameBytes)
    if (valueBytes) arena.append(valueBytes)
    this.headersBytes[row]! += arena.used - start
  }

  /** Copies the packed headers of a row of other columns to the newest row of these, before any `appendHeader`. */
  copyHeaders(from: RecordColumns, fromRow: number): void {
    const bytes = from.headersBytes[fromRow]!
    if (bytes === 0) return
    const at = from.headersAt[fromRow]!
    const row = this.count - 1
    this.arena.reserve(bytes)
    this.headersAt[row] = this.arena.used
    this.arena.bytes.set(from.arena.bytes.subarray(at, at + bytes), this.arena.used)
    this.arena.used += bytes
    this.headersBytes[row] = bytes
  }

  /** Appends a copy of a row of other columns, headers included. Returns the row. */
  copyRow(from: RecordColumns, row: number): number {
    const copied = this.append(from.topic[row]!, from.partition[row]!, from.offset[row]!, from.timestamp[row]!, from.key(row), from.value(row))
    this.copyHeaders(from, row)
    return copied
  }

  /** Puts a row in the place of another, whose bytes stay unused in the arena. */
  moveRow(row: number, to: number): void {
    if (row === to) return
    this.topic[to] = this.topic[row]!
    this.partition[to] = this.partition[row]!
    this.offset[to] = this.offset[row]!
    this.timestamp[to] = this.timestamp[row]!
    this.keyAt[to] = this.keyAt[row]!
    this.keyBytes[to] = this.keyBytes[row]!
    this.valueAt[to] = this.valueAt[row]!
    this.valueBytes[to] = this.valueBytes[row]!
    this.headersAt[to] = this.headersAt[row]!
    this.headersBytes[to] = this.headersBytes[row]!
  }

  /** A view of the value of a row's header; null: it has none; undefined: there is no such header. Makes nothing for other headers. */
  header(row: number, name: Uint8Array): Uint8Array | null | undefined {
    const { bytes, view } = this.arena
    let at = this.headersAt[row]!
    const end = at + this.headersBytes[row]!
    while (at < end) {
      const nameBytes = view.getUint16(at)
      const valueBytes = view.getInt32(at + 2)
      const valueAt = at + 6 + nameBytes
      if (nameBytes === name.length && sameBytes(bytes, at + 6, name)) return valueBytes < 0 ? null : bytes.subarray(valueAt, valueAt + valueBytes)
      at = valueAt + Math.max(0, valueBytes)
    }
    return undefined
  }

  /** The headers of a row, as copies. Not for the hot path. */
  headers(row: number): { name: string; value: Buffer | null }[] {
    const headers: { name: string; value: Buffer | null }[] = []
    const { bytes, view } = this.arena
    let at = this.headersAt[row]!
    const end = at + this.headersBytes[row]!
    while (at < end) {
      const nameBytes = view.getUint16(at)
      const valueBytes = view.getInt32(at + 2)
      at += 6
      const name = Buffer.from(bytes.subarray(at, at + nameBytes)).toString()
      at += nameBytes
      headers.push({ name, value: valueBytes < 0 ? null : Buffer.from(bytes.subarray(at, at + valueBytes)) })
      at += Math.max(0, valueBytes)
    }
    return headers
  }

  /** A view of the key; valid until the arena grows or is reset. */
  key(row: number): Uint8Array | null {
    const bytes = this.keyBytes[row]!
    return bytes < 0 ? null : this.arena.bytes.subarray(this.keyAt[row]!, this.keyAt[row]! + bytes)
  }

  /** A view of the value; valid until the arena grows or is reset. */
  value(row: number): Uint8Array | null {
    const bytes = this.valueBytes[row]!
    return bytes < 0 ? null : this.arena.bytes.subarray(this.valueAt[row]!, this.valueAt[row]! + bytes)
  }
}

function sameBytes(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false
  return true
}
