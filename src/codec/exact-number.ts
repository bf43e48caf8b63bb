/**
 * Numbers that must not be rounded: written as text, and scaled by powers of ten.
 */
import { decimalBytesMax, Fault } from './decode-fault.js'

/** 10^0 to 10^22: the powers of ten that a double holds exactly. */
export const powersOfTen = Float64Array.from({ length: 23 }, (_, i) => Number(`1e${i}`))

const safeMax = BigInt(Number.MAX_SAFE_INTEGER)

/** Longest text of a long: sign and 19 digits. */
export const longTextBytesMax = 20
/** Longest text of a decimal of `decimalBytesMax` bytes with a scale up to `decimalScaleMax`. */
export const decimalScaleMax = 100
export const decimalTextBytesMax = decimalScaleMax + Math.ceil(decimalBytesMax * 2.5) + 4

/** Writes a safe integer in decimal at `at` and returns its length. The caller has made room. */
export function writeIntegerText(bytes: Uint8Array, at: number, value: number): number {
  const start = at
  if (value < 0) {
    bytes[at++] = 0x2d
    value = -value
  }
  if (value > 0x3fffffff) {
    // Above 30 bits in parts of nine digits: 32-bit division is several times faster than that of doubles.
    const high = Math.floor(value / 1e9)
    if (high > 0x3fffffff) {
      const top = Math.floor(high / 1e9)
      at += writeSmall(bytes, at, top)
      at = writePadded(bytes, at, high - top * 1e9)
    } else at += writeSmall(bytes, at, high)
    return writePadded(bytes, at, value - high * 1e9) - start
  }
  return at + writeSmall(bytes, at, value) - start
}

function writeSmall(bytes: Uint8Array, at: number, value: number): number {
  let length = 1
  for (let rest = (value / 10) | 0; rest > 0; rest = (rest / 10) | 0) length++
  for (let i = length - 1; i >= 0; i--) {
    const rest = (value / 10) | 0
    bytes[at + i] = 0x30 + value - rest * 10
    value = rest
  }
  return length
}

function writePadded(bytes: Uint8Array, at: number, value: number): number {
  for (let i = 8; i >= 0; i--) {
    const rest = (value / 10) | 0
    bytes[at + i] = 0x30 + value - rest * 10
    value = rest
  }
  return at + 9
}

/** Writes ASCII text at `at` and returns its length. */
export function writeAscii(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i)
  return text.length
}

/** The exact value of a long from the groups of its varint: `low` bits 0-27, `mid` 28-55, `high` 56-63 of the zig-zag form. */
export function bigFromVarint(low: number, mid: number, high: number): bigint {
  const zigzag = (BigInt(high) << 56n) | (BigInt(mid) << 28n) | BigInt(low)
  return (zigzag >> 1n) ^ -(zigzag & 1n)
}

/** The unscaled value of an Avro decimal: two's complement, big-endian, at most `decimalBytesMax` bytes. */
export function bigFromBytes(bytes: Uint8Array, at: number, length: number): bigint {
  let value = 0n
  for (let i = 0; i < length; i++) value = (value << 8n) | BigInt(bytes[at + i]!)
  return length === 0 ? 0n : BigInt.asIntN(length * 8, value)
}

/** A result with the fault that prevents it; reused, so read it before the next call. */
class ExactResult {
  fault = 0
  /** A typed array, for a number that is kept in a field may cost an object at each store. */
  readonly #value = new Float64Array(1)

  get value(): number {
    return this.#value[0]!
  }

  set value(value: number) {
    this.#value[0] = value
  }
}

export const exact = new ExactResult()

/** Decimals of so many bytes are read without bigints. */
const smallDecimalBytes = 6

/** The decimal in bytes [at, at + length) times 10^shift as a safe integer: as `scaleBig`, quick for usual amounts. */
export function scaleDecimal(bytes: Uint8Array, at: number, length: number, shift: number): void {
  if (length === 0 || length > smallDecimalBytes || shift < -22 || shift > 22) return scaleBig(bigFromBytes(bytes, at, length), shift)
  let value = (bytes[at]! << 24) >> 24
  for (let i = 1; i < length; i++) value = value * 256 + bytes[at + i]!
  exact.fault = Fault.none
  const power = powersOfTen[shift < 0 ? -shift : shift]!
  const scaled = shift < 0 ? Math.trunc(value / power) : value * power
  exact.value = scaled + 0
  if (shift < 0 && scaled * power !== value) exact.fault = Fault.inexact
  else if (!Number.isSafeInteger(scaled)) exact.fault = Fault.integerUnsafe
}

/** unscaled * 10^shift as a safe integer: sets `exact.value`, or `exact.fault` to inexact or integerUnsafe. */
export function scaleBig(unscaled: bigint, shift: number): void {
  exact.value = 0
  exact.fault = Fault.none
  let value = unscaled
  if (shift > 0) value = unscaled * 10n ** BigInt(shift)
  if (shift < 0) {
    const divisor = 10n ** BigInt(-shift)
    if (unscaled % divisor !== 0n) {
      exact.fault = Fault.inexact
      return
    }
    value = unscaled / divisor
  }
  if (value > safeMax || value < -safeMax) exact.fault = Fault.integerUnsafe
  else exact.value = Number(value)
}

/**
 * value * 10^scale for a double that stands for a decimal: the integer n such that n / 10^scale is that very double.
 * `single`: the double was a float.
 */
export function scaleDouble(value: number, scale: number, single: boolean): void {
  const power = powersOfTen[scale]!
  const integer = Math.round(value * power)
  const back = integer / power
  exact.value = integer + 0
  exact.fault = Fault.none
  if (!Number.isSafeInteger(integer)) exact.fault = Fault.integerUnsafe
  else if ((single ? Math.fround(back) : back) !== value) exact.fault = Fault.inexact
}

/** 12345n with scale 2 is "123.45". */
export function decimalText(unscaled: bigint, scale: number): string {
  const negative = unscaled < 0n
  const digits = (negative ? -unscaled : unscaled).toString().padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  const text = scale === 0 ? whole : `${whole}.${digits.slice(digits.length - scale)}`
  return negative ? `-${text}` : text
}
