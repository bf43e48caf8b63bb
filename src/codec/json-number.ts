import { Fault } from './decode-fault.js'
import { exact, powersOfTen, scaleBig } from './exact-number.js'
import type { ScannedNumber } from './decimal-text.js'

/**
 * The scanner's number times 10^scale into `exact.value`. `exact.fault` says integerUnsafe, or inexact: then the value is
 * the next integer below.
 */
export function jsonInteger(scanner: ScannedNumber, scale: number): void {
  const shift = scanner.exponent + scale
  exact.fault = Fault.none
  if (!scanner.long && shift === 0) {
    exact.value = scanner.negative ? 0 - scanner.mantissa : scanner.mantissa
    return
  }
  if (!scanner.long && scanner.mantissa === 0) {
    exact.value = 0
    return
  }
  if (!scanner.long && shift > 0 && shift < 16) {
    const value = scanner.mantissa * powersOfTen[shift]!
    exact.value = scanner.negative ? -value : value
    if (value > Number.MAX_SAFE_INTEGER) exact.fault = Fault.integerUnsafe
    return
  }
  if (!scanner.long && shift < 0 && shift >= -16) {
    const power = powersOfTen[-shift]!
    const value = Math.floor(scanner.mantissa / power)
    if (value * power !== scanner.mantissa) exact.fault = Fault.inexact
    exact.value = scanner.negative ? 0 - value - (exact.fault === Fault.none ? 0 : 1) : value
    return
  }
  fromText(scanner, scale)
}

/** The scanner's number as the nearest double into `exact.value`; infinite when it is beyond all of them. */
export function jsonNumber(scanner: ScannedNumber): void {
  const { mantissa, exponent, negative } = scanner
  exact.fault = Fault.none
  // Both factors are exact, so the one operation rounds correctly. Source: Clinger 1990, "fast path".
  if (!scanner.long && exponent >= -22 && exponent <= 22) {
    const value = exponent < 0 ? mantissa / powersOfTen[-exponent]! : mantissa * powersOfTen[exponent]!
    exact.value = negative ? 0 - value : value
  } else exact.value = Number(textOf(scanner)) + 0
}

/** The scanner's number of units of 10^scale ms in whole ms into `exact.value`; what is finer is cut off (downwards). NaN beyond 2^53. */
export function jsonTimeMs(scanner: ScannedNumber, scale: number): void {
  jsonInteger(scanner, scale)
  if (exact.fault === Fault.integerUnsafe) exact.value = NaN
  exact.fault = Fault.none
}

/** The rare long way: numbers with many digits or far exponents. */
function fromText(scanner: ScannedNumber, scale: number): void {
  exact.value = 0
  const match = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(textOf(scanner))
  const fraction = match?.[2] ?? ''
  const digits = ((match?.[1] ?? '') + fraction).replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return
  const shift = Number(match?.[3] ?? 0) - fraction.length + scale + digits.length - significant.length
  // The value is significant * 10^shift, and significant does not end in 0: an integer only for shift >= 0.
  const wholeDigits = significant.length + shift
  if (wholeDigits > 17) exact.fault = Fault.integerUnsafe
  else if (shift >= 0) scaleBig(BigInt(scanner.negative ? `-${significant}` : significant), shift)
  else {
    const below = Number(wholeDigits > 0 ? significant.slice(0, wholeDigits) : 0)
    exact.value = scanner.negative ? -below - 1 : below
    exact.fault = below > Number.MAX_SAFE_INTEGER ? Fault.integerUnsafe : Fault.inexact
  }
}

function textOf(scanner: ScannedNumber): string {
  const { bytes, textAt, textEnd } = scanner
  return Buffer.from(bytes.buffer, bytes.byteOffset + textAt, textEnd - textAt).toString('latin1')
}
