import type { AvroType, LogicalType } from './avro-schema.js'
import { decimalBytesMax, nestingDepthMax } from './decode-fault.js'
import { bigFromBytes, decimalText } from './exact-number.js'

/** Items of one array or map that are read; more are an error. A block of nulls may claim any count in two bytes. */
export const valueItemsMax = 1_000_000

/**
 * Reads whole Avro values as plain objects, for people: longs beyond 2^53 as decimal text, times in ISO 8601, decimals as
 * text, bytes in hex, unions without their wrapping. Throws an Error for a value that is not well-formed.
 */
export class AvroValueReader {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  /** The value of a type that fills all bytes. */
  readAll(type: AvroType): unknown {
    const value = this.#read(type, 0)
    if (this.#at !== this.#bytes.length) throw new Error(`${this.#bytes.length - this.#at} bytes follow the value`)
    return value
  }

  #read(type: AvroType, depth: number): unknown {
    if (depth > nestingDepthMax) throw new Error(`nested deeper than ${nestingDepthMax}`)
    switch (type.kind) {
      case 'null':
        return null
      case 'boolean':
        return this.#take(1)[0] === 1
      case 'int':
      case 'long':
        return presentLong(this.#long(), type.logical)
      case 'float':
        return shortestFloat(this.#take(4).readFloatLE())
      case 'double':
        return this.#take(8).readDoubleLE()
      case 'bytes':
        return presentBytes(this.#take(this.#count()), type.logical)
      case 'fixed':
        return presentBytes(this.#take(type.size), type.logical)
      case 'string':
        return this.#take(this.#count()).toString('utf8')
      case 'enum':
        return at(type.symbols, this.#count(), 'enum symbol')
      case 'union':
        return this.#read(at(type.branches, this.#count(), 'union branch'), depth + 1)
      case 'array': {
        const items: unknown[] = []
        this.#blocks(() => items.push(this.#read(type.items, depth + 1)))
        return items
      }
      case 'map': {
        const entries: [string, unknown][] = []
        this.#blocks(() => entries.push([this.#take(this.#count()).toString('utf8'), this.#read(type.items, depth + 1)]))
        return Object.fromEntries(entries)
      }
      case 'record':
        return Object.fromEntries(type.fields.map((field) => [field.name, this.#read(field.type, depth + 1)]))
    }
  }

  #blocks(item: () => void): void {
    let total = 0
    for (;;) {
      let count = Number(this.#long())
      if (count === 0) return
      if (count < 0) {
        count = -count
        this.#long()
      }
      total += count
      if (total > valueItemsMax) throw new Error(`more than ${valueItemsMax} items`)
      for (let i = 0; i < count; i++) item()
    }
  }

  #count(): number {
    const count = this.#long()
    if (count < 0n || count > 0x7fffffffn) throw new Error(`${count} is no length or index`)
    return Number(count)
  }

  #take(size: number): Buffer {
    if (size > this.#bytes.length - this.#at) throw new Error('the value ends too early')
    this.#at += size
    return this.#bytes.subarray(this.#at - size, this.#at)
  }

  #long(): bigint {
    let zigzag = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#take(1)[0]!
      zigzag |= BigInt(byte & 127) << shift
      if (byte < 128) return BigInt.asIntN(64, (zigzag >> 1n) ^ -(zigzag & 1n))
    }
    throw new Error('a varint of more than ten bytes')
  }
}

function at<T>(values: readonly T[], index: number, what: string): T {
  const value = values[index]
  if (value === undefined) throw new Error(`no ${what} ${index}`)
  return value
}

/** The exact number, or its decimal text where a number would round it. */
function exactLong(value: bigint): number | string {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value.toString()
}

function presentLong(value: bigint, logical: LogicalType | undefined): number | string {
  const units: Record<string, (value: bigint) => number> = {
    'timestamp-millis': (ms) => Number(ms),
    'timestamp-micros': (micros) => Number(micros / 1000n),
    'timestamp-nanos': (nanos) => Number(nanos / 1_000_000n),
    date: (days) => Number(days) * 86_400_000,
  }
  const toMs = units[logical?.name ?? '']
  if (!toMs) return exactLong(value)
  const time = new Date(toMs(value))
  if (Number.isNaN(time.getTime())) return exactLong(value)
  return logical?.name === 'date' ? time.toISOString().slice(0, 10) : time.toISOString()
}

function presentBytes(bytes: Buffer, logical: LogicalType | undefined): string {
  const hex = bytes.toString('hex')
  if (logical?.name === 'decimal' && bytes.length <= decimalBytesMax) return decimalText(bigFromBytes(bytes, 0, bytes.length), logical.scale)
  if (logical?.name === 'uuid' && bytes.length === 16) return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  return hex
}

/** The shortest decimal that is still the same float: 0.1 rather than 0.10000000149011612. */
function shortestFloat(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return value
}
