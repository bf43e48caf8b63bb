import type { Arena } from '../base/arena.js'
import { assert } from '../base/assert.js'

/**
 * Avro's binary primitives straight into an arena. Nothing here checks for room: an encoder calls `arena.reserve` once
 * for each record with an upper bound (`longBytesMax` for an int or long, 4 and 8 for float and double).
 */
export const longBytesMax = 10

/**
 * A long from a safe integer in a column, zig-zag. Asserts that the value is one: a rounded long is never written. Out of its column: a
 * number that is handed to a function may be an object on the heap, for each record.
 */
export function writeLongAt(arena: Arena, values: Float64Array, index: number): void {
  const { bytes } = arena
  const value = values[index]!
  let at = arena.used
  if ((value | 0) === value) {
    let zigzag = ((value << 1) ^ (value >> 31)) >>> 0
    while (zigzag > 127) {
      bytes[at++] = (zigzag & 127) | 128
      zigzag >>>= 7
    }
    bytes[at++] = zigzag
    arena.used = at
    return
  }
  assert(Number.isSafeInteger(value), 'a long is written from a safe integer or a bigint')
  // In two halves: the zig-zag value has up to 54 bits, too many for bit operations and for a double.
  const magnitude = value < 0 ? -value - 1 : value
  const high = Math.floor(magnitude / 0x4000000)
  const low = (magnitude - high * 0x4000000) * 2 + (value < 0 ? 1 : 0)
  // Three groups of seven from the 27 low bits; the six that are left join the high ones.
  bytes[at++] = (low & 127) | 128
  bytes[at++] = ((low >>> 7) & 127) | 128
  bytes[at++] = ((low >>> 14) & 127) | 128
  let rest = (low >>> 21) + high * 64
  while (rest > 127) {
    const next = Math.floor(rest / 128)
    bytes[at++] = (rest - next * 128) | 128
    rest = next
  }
  bytes[at++] = rest
  arena.used = at
}

const single = new Float64Array(1)

/** The same of a number by itself. */
export function writeLong(arena: Arena, value: number): void {
  single[0] = value
  writeLongAt(arena, single, 0)
}

/** A long from any 64-bit signed integer. */
export function writeBigLong(arena: Arena, value: bigint): void {
  assert(BigInt.asIntN(64, value) === value, 'a long has 64 bits')
  let zigzag = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  let at = arena.used
  while (zigzag > 127n) {
    arena.bytes[at++] = Number(zigzag & 127n) | 128
    zigzag >>= 7n
  }
  arena.bytes[at++] = Number(zigzag)
  arena.used = at
}

export function writeFloat(arena: Arena, value: number): void {
  arena.view.setFloat32(arena.used, value, true)
  arena.used += 4
}

export function writeFloatAt(arena: Arena, values: Float32Array, index: number): void {
  arena.view.setFloat32(arena.used, values[index]!, true)
  arena.used += 4
}

export function writeDouble(arena: Arena, value: number): void {
  arena.view.setFloat64(arena.used, value, true)
  arena.used += 8
}

export function writeByte(arena: Arena, value: number): void {
  arena.bytes[arena.used++] = value
}

/** Bytes as they are: parts that were encoded before. */
export function writeRaw(arena: Arena, encoded: Uint8Array): void {
  const { bytes } = arena
  const { length } = encoded
  const at = arena.used
  // A call of `set` costs more than a loop over a few bytes.
  if (length <= 48) for (let i = 0; i < length; i++) bytes[at + i] = encoded[i]!
  else bytes.set(encoded, at)
  arena.used = at + length
}

/** So many bytes behind what `writePart` writes may be overwritten: the room to reserve beyond the parts' lengths. */
export const partOverrunBytes = 3

/** Bytes that were encoded once and are written often. Kept as words: a quarter of the stores that single bytes need. */
export class EncodedPart {
  readonly length: number
  /** Little-endian; the last one is filled up with zeros. */
  readonly words: Int32Array

  constructor(encoded: Uint8Array) {
    this.length = encoded.length
    const padded = new DataView(new ArrayBuffer(Math.ceil(encoded.length / 4) * 4))
    encoded.forEach((byte, i) => padded.setUint8(i, byte))
    this.words = Int32Array.from({ length: padded.byteLength / 4 }, (_, i) => padded.getInt32(i * 4, true))
  }
}

export function writePart(arena: Arena, part: EncodedPart): void {
  const { view } = arena
  const { words } = part
  const at = arena.used
  for (let i = 0; i < words.length; i++) view.setInt32(at + i * 4, words[i]!, true)
  arena.used = at + part.length
}

/** A string or bytes value, copied from another place (or an earlier one of the same arena). */
export function writeBytesFrom(arena: Arena, source: Uint8Array, from: number, length: number): void {
  writeLong(arena, length)
  const { bytes } = arena
  const at = arena.used
  if (length <= 48) for (let i = 0; i < length; i++) bytes[at + i] = source[from + i]!
  else bytes.set(source.subarray(from, from + length), at)
  arena.used = at + length
}

/** A string that was encoded once: length and UTF-8 bytes. */
export function encodeString(text: string): Uint8Array {
  const utf8 = Buffer.from(text)
  return Buffer.concat([encodeLong(utf8.length), utf8])
}

export function encodeLong(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n))
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128)
    rest >>= 7n
  }
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}
