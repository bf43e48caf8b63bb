import { eventTimeMsMax, eventTimeMsMin, Fault } from './decode-fault.js'
import { exact } from './exact-number.js'
import { isTime, type FieldSpec } from './field-spec.js'
import { jsonInteger, jsonNumber, jsonTimeMs } from './json-number.js'

/** A number as digits in bytes: what `json-number.ts` turns into column values. */
export interface ScannedNumber {
  readonly bytes: Uint8Array
  /** The number is the text [textAt, textEnd). */
  readonly textAt: number
  readonly textEnd: number
  readonly negative: boolean
  /** The number is mantissa * 10^exponent, unless `long`: then only its text has all digits. */
  readonly mantissa: number
  readonly exponent: number
  readonly long: boolean
}

const digitsMax = 15
const noBytes: Uint8Array = new Uint8Array(0)

/**
 * Numbers that a contract writes as text: `129.90`, `-5`, `+3`, `000012990`. Digits, and at most one point between digits;
 * no exponent, no separators of thousands, no blanks: those have no one meaning.
 */
export class DecimalText implements ScannedNumber {
  bytes = noBytes
  textAt = 0
  textEnd = 0
  negative = false
  mantissa = 0
  exponent = 0
  long = false

  /** Reads bytes [at, end). Returns `Fault.none` or `Fault.notNumber`. */
  scan(bytes: Uint8Array, at: number, end: number): number {
    this.bytes = bytes
    this.negative = bytes[at] === 0x2d
    // A plus stands for nothing, and `Number` and BigInt read no number that begins with it.
    this.textAt = bytes[at] === 0x2b ? at + 1 : at
    this.textEnd = end
    if (at < end && (bytes[at] === 0x2d || bytes[at] === 0x2b)) at++
    let mantissa = 0
    let digits = 0
    let fraction = -1
    let last = 0
    for (const first = at; at < end; at++) {
      const b = bytes[at]!
      last = b
      if (b === 0x2e) {
        if (fraction >= 0 || at === first) return Fault.notNumber
        fraction = 0
        continue
      }
      if (b < 0x30 || b > 0x39) return Fault.notNumber
      if (digits > 0 || b !== 0x30) digits++
      if (digits <= digitsMax) mantissa = mantissa * 10 + b - 0x30
      if (fraction >= 0) fraction++
    }
    if (last === 0 || last === 0x2e) return Fault.notNumber
    this.mantissa = mantissa
    this.exponent = fraction > 0 ? -fraction : 0
    this.long = digits > digitsMax
    return Fault.none
  }
}

const reused = new DecimalText()

/** Powers of ten from a written number to the column's: the scale of integers, ms of a time unit. */
export function exponentOf({ type, scale }: FieldSpec): number {
  return type === 'timestamp-micros' ? -3 : type === 'timestamp-seconds' ? 3 : (scale ?? 0)
}

/** The text [at, end) as a field's column value into `exact.value`. Returns a fault code. */
export function readDecimalText(bytes: Uint8Array, at: number, end: number, field: FieldSpec): number {
  const fault = reused.scan(bytes, at, end)
  if (fault !== Fault.none) return fault
  if (field.type === 'number') {
    jsonNumber(reused)
    return Number.isFinite(exact.value) ? Fault.none : Fault.notFinite
  }
  if (!isTime(field)) {
    jsonInteger(reused, exponentOf(field))
    return exact.fault
  }
  jsonTimeMs(reused, exponentOf(field))
  return exact.value >= eventTimeMsMin && exact.value <= eventTimeMsMax ? Fault.none : Fault.timeOutOfRange
}
