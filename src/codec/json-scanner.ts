import { Fault } from './decode-fault.js'
import { isUtf8 } from './utf8.js'

const quote = 0x22
const backslash = 0x5c
const zero = 0x30
const nine = 0x39

/** Significant digits that are gathered in `mantissa`; more set `long`. */
export const mantissaDigitsMax = 15

/**
 * JSON's tokens over bytes, without a string or object for any of them. A scan method stands at its token's first byte,
 * moves `at` behind it and returns 0 or a fault. Source: RFC 8259.
 */
export class JsonScanner {
  bytes: Uint8Array = new Uint8Array(0)
  at = 0
  end = 0

  /** Of the last string: its bytes between the quotes, and whether it has escapes. */
  textAt = 0
  textEnd = 0
  escaped = false

  /** Of the last number: mantissa * 10^exponent where it has at most `mantissaDigitsMax` digits, else `long`. */
  mantissa = NaN
  exponent = 0
  negative = false
  long = false

  open(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  /** The next byte that is not white space; -1 at the end. */
  peek(): number {
    const { bytes, end } = this
    let { at } = this
    while (at < end) {
      const b = bytes[at]!
      if (b > 0x20 || (b !== 0x20 && b !== 0x0a && b !== 0x0d && b !== 0x09)) {
        this.at = at
        return b
      }
      at++
    }
    this.at = at
    return -1
  }

  /** Moves behind a string that is just this name, without escapes; stays where it is when it is another. */
  skipName(name: Uint8Array): boolean {
    const { bytes } = this
    const { length } = name
    const start = this.at + 1
    if (start + length >= this.end || bytes[start + length] !== quote) return false
    for (let i = 0; i < length; i++) if (bytes[start + i] !== name[i]) return false
    this.at = start + length + 1
    return true
  }

  scanString(): number {
    const { bytes, end } = this
    let at = this.at + 1
    const start = at
    let all = 0
    this.escaped = false
    for (;;) {
      if (at >= end) return Fault.notJson
      const b = bytes[at]!
      if (b === quote) break
      if (b < 0x20) return Fault.notJson
      all |= b
      at++
      if (b !== backslash) continue
      this.escaped = true
      if (at >= end) return Fault.notJson
      const kind = bytes[at++]!
      if (kind === 0x75) {
        for (let i = 0; i < 4; i++) if (at + i >= end || hexValue(bytes[at + i]!) < 0) return Fault.notJson
        at += 4
      } else if (unescape(kind) < 0) return Fault.notJson
    }
    this.textAt = start
    this.textEnd = at
    this.at = at + 1
    return all > 127 && !isUtf8(bytes, start, at) ? Fault.badUtf8 : Fault.none
  }

  /** Writes the last string without its escapes at `to`; returns its length, or -1 for half a surrogate pair. */
  unescapeText(to: number): number {
    const { bytes } = this
    const start = to
    for (let at = this.textAt; at < this.textEnd; ) {
      const b = bytes[at++]!
      if (b !== backslash) {
        bytes[to++] = b
        continue
      }
      const kind = bytes[at++]!
      if (kind !== 0x75) {
        bytes[to++] = unescape(kind)
        continue
      }
      let point = this.#hex4(at)
      at += 4
      if (point >= 0xdc00 && point <= 0xdfff) return -1
      if (point >= 0xd800 && point <= 0xdbff) {
        const low = at + 6 <= this.textEnd && bytes[at] === backslash && bytes[at + 1] === 0x75 ? this.#hex4(at + 2) : 0
        if (low < 0xdc00 || low > 0xdfff) return -1
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00)
        at += 6
      }
      to = writeCodePoint(bytes, to, point)
    }
    return to - start
  }

  scanNumber(): number {
    const { bytes, end } = this
    let { at } = this
    this.negative = bytes[at] === 0x2d
    if (this.negative) at++
    if (at >= end || !isDigit(bytes[at]!)) return Fault.notJson
    let mantissa = 0
    let digits = 0
    let exponent = 0
    if (bytes[at] === zero) {
      at++
      if (at < end && isDigit(bytes[at]!)) return Fault.notJson
    } else {
      for (; at < end && isDigit(bytes[at]!); at++) {
        if (++digits <= mantissaDigitsMax) mantissa = mantissa * 10 + bytes[at]! - zero
      }
    }
    if (at < end && bytes[at] === 0x2e) {
      const first = ++at
      for (; at < end && isDigit(bytes[at]!); at++) {
        if (mantissa === 0 && digits === 0 && bytes[at] === zero) exponent--
        else if (++digits <= mantissaDigitsMax) {
          mantissa = mantissa * 10 + bytes[at]! - zero
          exponent--
        }
      }
      if (at === first) return Fault.notJson
    }
    if (at < end && (bytes[at]! | 0x20) === 0x65) {
      at++
      const sign = bytes[at]
      if (at < end && (sign === 0x2b || sign === 0x2d)) at++
      const first = at
      let written = 0
      for (; at < end && isDigit(bytes[at]!); at++) written = Math.min(written * 10 + bytes[at]! - zero, 1e9)
      if (at === first) return Fault.notJson
      exponent += sign === 0x2d ? -written : written
    }
    this.mantissa = mantissa
    this.exponent = exponent
    this.long = digits > mantissaDigitsMax
    this.textAt = this.at
    this.textEnd = at
    this.at = at
    return Fault.none
  }

  /** true, false or null; `textAt` is left at its first byte. */
  scanWord(): number {
    const { bytes, at, end } = this
    const first = bytes[at]!
    const size = first === 0x66 ? 5 : 4
    if (at + size > end) return Fault.notJson
    const is = (b: number, c: number, d: number): boolean => bytes[at + 1] === b && bytes[at + 2] === c && bytes[at + 3] === d
    const known =
      first === 0x74 ? is(0x72, 0x75, 0x65) : first === 0x6e ? is(0x75, 0x6c, 0x6c) : first === 0x66 && is(0x61, 0x6c, 0x73) && bytes[at + 4] === 0x65
    this.textAt = at
    this.at = at + size
    return known ? Fault.none : Fault.notJson
  }

  #hex4(at: number): number {
    const { bytes } = this
    return (hexValue(bytes[at]!) << 12) | (hexValue(bytes[at + 1]!) << 8) | (hexValue(bytes[at + 2]!) << 4) | hexValue(bytes[at + 3]!)
  }
}

function isDigit(b: number): boolean {
  return b >= zero && b <= nine
}

function hexValue(b: number): number {
  if (isDigit(b)) return b - zero
  const lower = b | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1
}

/** The byte that an escape of one letter stands for; -1 when there is no such escape. */
function unescape(kind: number): number {
  switch (kind) {
    case 0x22:
    case 0x5c:
    case 0x2f:
      return kind
    case 0x62:
      return 0x08
    case 0x66:
      return 0x0c
    case 0x6e:
      return 0x0a
    case 0x72:
      return 0x0d
    case 0x74:
      return 0x09
    default:
      return -1
  }
}

function writeCodePoint(bytes: Uint8Array, at: number, point: number): number {
  if (point < 0x80) {
    bytes[at++] = point
  } else if (point < 0x800) {
    bytes[at++] = 0xc0 | (point >> 6)
    bytes[at++] = 0x80 | (point & 0x3f)
  } else if (point < 0x10000) {
    bytes[at++] = 0xe0 | (point >> 12)
    bytes[at++] = 0x80 | ((point >> 6) & 0x3f)
    bytes[at++] = 0x80 | (point & 0x3f)
  } else {
    bytes[at++] = 0xf0 | (point >> 18)
    bytes[at++] = 0x80 | ((point >> 12) & 0x3f)
    bytes[at++] = 0x80 | ((point >> 6) & 0x3f)
    bytes[at++] = 0x80 | (point & 0x3f)
  }
  return at
}
