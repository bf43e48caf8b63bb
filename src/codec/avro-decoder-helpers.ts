import { bigFromBytes, bigFromVarint, decimalText, exact, scaleDecimal, scaleDouble, writeAscii, writeIntegerText } from './exact-number.js'
import { decimalBytesMax, Fault } from './decode-fault.js'
import { readDecimalText } from './decimal-text.js'
import type { FieldSpec } from './field-spec.js'
import { parseIsoTimeMs } from './iso-time.js'
import { isUtf8 } from './utf8.js'

const hexDigits = Buffer.from('0123456789abcdef')

/** What compiled decoders call where a line of code would not do. `value` holds a second result; it is read at once. */
export const decoderHelpers = {
  value: 0,
  isUtf8,
  isoTimeMs: parseIsoTimeMs,

  /**
   * Reads a varint of any length as a zig-zag number into `value` (inexact beyond 2^53, where no length or index lies).
   * Returns the position behind it, or minus a fault.
   */
  varint(bytes: Uint8Array, at: number, end: number): number {
    let zigzag = 0
    let weight = 1
    for (let i = 0; i < 10; i++) {
      if (at >= end) return -Fault.truncated
      const b = bytes[at++]!
      zigzag += (b & 127) * weight
      if (b < 128) {
        if (i === 9 && b > 1) return -Fault.malformed
        const half = Math.floor(zigzag / 2)
        decoderHelpers.value = zigzag - half * 2 === 1 ? -half - 1 : half
        return at
      }
      weight *= 128
    }
    return -Fault.malformed
  },

  /** Writes a long as decimal text, exactly; returns its length. */
  longText(bytes: Uint8Array, at: number, low: number, mid: number, high: number): number {
    if (high === 0 && mid < 0x4000000) {
      const magnitude = (low >>> 1) + mid * 0x8000000
      return writeIntegerText(bytes, at, (low & 1) === 1 ? -magnitude - 1 : magnitude)
    }
    return writeAscii(bytes, at, bigFromVarint(low, mid, high).toString())
  },

  /** The double nearest to a long: one rounding, not one for each of its parts. */
  longNumber(low: number, mid: number, high: number): number {
    return Number(bigFromVarint(low, mid, high))
  },

  /** Whole ms of a long that counts 1/divisor ms and does not fit a double. */
  longFloorDivide(low: number, mid: number, high: number, divisor: number): number {
    const big = bigFromVarint(low, mid, high)
    const by = BigInt(divisor)
    const quotient = big / by
    return Number(big < 0n && quotient * by !== big ? quotient - 1n : quotient)
  },

  /** value * 10^scale of a float or double, where it is exactly an integer. Returns a fault code. */
  scaleDouble(value: number, scale: number, single: boolean): number {
    scaleDouble(value, scale, single)
    decoderHelpers.value = exact.value
    return exact.fault
  },

  /** An Avro decimal times 10^shift as a safe integer into `value`. Returns a fault code. */
  decimalInteger(bytes: Uint8Array, at: number, length: number, shift: number): number {
    if (length > decimalBytesMax) return Fault.integerUnsafe
    scaleDecimal(bytes, at, length, shift)
    decoderHelpers.value = exact.value
    return exact.fault
  },

  /** An Avro decimal as the nearest double into `value`. Returns a fault code. */
  decimalNumber(bytes: Uint8Array, at: number, length: number, scale: number): number {
    if (length > decimalBytesMax) return Fault.malformed
    decoderHelpers.value = Number(decimalText(bigFromBytes(bytes, at, length), scale))
    return Fault.none
  },

  /** An Avro decimal as text at `to`; the length into `value`. Returns a fault code. */
  decimalTextAt(bytes: Uint8Array, at: number, length: number, scale: number, to: number): number {
    if (length > decimalBytesMax) return Fault.malformed
    decoderHelpers.value = writeAscii(bytes, to, decimalText(bigFromBytes(bytes, at, length), scale))
    return Fault.none
  },

  /** A number that is written as text, as a field's column value into `value`. Returns a fault code. */
  decimalTextValue(bytes: Uint8Array, at: number, end: number, field: FieldSpec): number {
    const fault = readDecimalText(bytes, at, end, field)
    decoderHelpers.value = exact.value
    return fault
  },

  /** Whether the n bytes at `at` are this text. */
  isText(bytes: Uint8Array, at: number, n: number, text: Uint8Array): boolean {
    if (n !== text.length) return false
    for (let i = 0; i < n; i++) if (bytes[at + i] !== text[i]) return false
    return true
  },

  /** Bytes as lower-case hex digits at `to`, with the hyphens of a UUID where wanted; returns the length. */
  hexText(bytes: Uint8Array, at: number, length: number, to: number, uuid: boolean): number {
    const start = to
    for (let i = 0; i < length; i++) {
      if (uuid && (i === 4 || i === 6 || i === 8 || i === 10)) bytes[to++] = 0x2d
      const b = bytes[at + i]!
      bytes[to++] = hexDigits[b >>> 4]!
      bytes[to++] = hexDigits[b & 15]!
    }
    return to - start
  },

  /** Copies a constant text to `to`; returns its length. */
  copyText(bytes: Uint8Array, text: Uint8Array, to: number): number {
    for (let i = 0; i < text.length; i++) bytes[to + i] = text[i]!
    return text.length
  },
}
