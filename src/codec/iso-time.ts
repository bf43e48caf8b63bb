/** Days from 1970-01-01 to a date of the Gregorian calendar. Source: H. Hinnant, "chrono-compatible low-level date algorithms". */
export function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146097 + dayOfEra - 719468
}

/**
 * Ms since 1970 of `YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|+HHMM|-HH:MM)` in bytes [at, end); a space may stand for the T.
 * Finer fractions are cut to ms. NaN when it is anything else: a time without a zone names no moment, unless the contract
 * says the zone: `zoneDefault` minutes east of UTC; a date alone is then its first moment.
 */
export function parseIsoTimeMs(bytes: Uint8Array, at: number, end: number, zoneDefault = NaN): number {
  if (end - at === 10) return dateMs(bytes, at) - zoneDefault * 60_000
  if (end - at < 19) return NaN
  const year = digits(bytes, at, 4)
  const month = digits(bytes, at + 5, 2)
  const day = digits(bytes, at + 8, 2)
  const hour = digits(bytes, at + 11, 2)
  const minute = digits(bytes, at + 14, 2)
  const second = digits(bytes, at + 17, 2)
  const separator = bytes[at + 10]!
  if (bytes[at + 4] !== 0x2d || bytes[at + 7] !== 0x2d || bytes[at + 13] !== 0x3a || bytes[at + 16] !== 0x3a) return NaN
  if (separator !== 0x54 && separator !== 0x74 && separator !== 0x20) return NaN
  if (!(month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month))) return NaN
  if (!(hour <= 23 && minute <= 59 && second <= 59)) return NaN
  at += 19
  let fractionMs = 0
  if (bytes[at] === 0x2e || bytes[at] === 0x2c) {
    let weight = 100
    const first = ++at
    for (; at < end && isDigit(bytes[at]!); at++) {
      fractionMs += (bytes[at]! - 0x30) * Math.floor(weight)
      weight = weight >= 10 ? weight / 10 : 0
    }
    if (at === first) return NaN
  }
  const offsetMinutes = at === end ? zoneDefault : zoneMinutes(bytes, at, end)
  const dayMs = daysFromCivil(year, month, day) * 86_400_000
  return dayMs + hour * 3_600_000 + minute * 60_000 + second * 1000 + fractionMs - offsetMinutes * 60_000
}

function dateMs(bytes: Uint8Array, at: number): number {
  const year = digits(bytes, at, 4)
  const month = digits(bytes, at + 5, 2)
  const day = digits(bytes, at + 8, 2)
  if (bytes[at + 4] !== 0x2d || bytes[at + 7] !== 0x2d || !(month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month))) return NaN
  return daysFromCivil(year, month, day) * 86_400_000
}

function zoneMinutes(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return NaN
  const sign = bytes[at]!
  if (sign === 0x5a || sign === 0x7a) return at + 1 === end ? 0 : NaN
  if (sign !== 0x2b && sign !== 0x2d) return NaN
  const colon = end - at === 6 && bytes[at + 3] === 0x3a ? 1 : 0
  if (end - at !== 5 + colon) return NaN
  const hours = digits(bytes, at + 1, 2)
  const minutes = digits(bytes, at + 3 + colon, 2)
  if (!(hours <= 23 && minutes <= 59)) return NaN
  return (sign === 0x2d ? -1 : 1) * (hours * 60 + minutes)
}

function digits(bytes: Uint8Array, at: number, count: number): number {
  let value = 0
  for (let i = 0; i < count; i++) {
    const b = bytes[at + i]!
    if (!isDigit(b)) return NaN
    value = value * 10 + b - 0x30
  }
  return value
}

function isDigit(b: number): boolean {
  return b >= 0x30 && b <= 0x39
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}
