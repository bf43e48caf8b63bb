import { prefixBytes } from '../../codec/registry-prefix.js'

/**
 * The transaction's number from the first field of a value, without decoding the rest: these run for each event beside
 * the engine on the same cores. -1 for bytes that hold no such number.
 */

/** Scored events and alerts begin with `event_id`, a string of decimal digits. */
export function idOfOutput(value: Uint8Array | null): number {
  if (!value || value.length <= prefixBytes || value[0] !== 0) return -1
  // Numbers of at most 16 digits: the length is one byte.
  const digits = value[prefixBytes]! >>> 1
  const end = prefixBytes + 1 + digits
  if (digits === 0 || digits > 16 || end > value.length) return -1
  let id = 0
  for (let at = prefixBytes + 1; at < end; at++) {
    const digit = value[at]! - 48
    if (digit < 0 || digit > 9) return -1
    id = id * 10 + digit
  }
  return id
}

/** Transactions, which dead letters carry unchanged, begin with `transaction_id`, a long. */
export function idOfTransaction(value: Uint8Array | null): number {
  if (!value || value.length <= prefixBytes || value[0] !== 0) return -1
  let zigzag = 0
  let scale = 1
  for (let at = prefixBytes; at < Math.min(value.length, prefixBytes + 8); at++) {
    zigzag += (value[at]! & 0x7f) * scale
    if (value[at]! < 0x80) return zigzag % 2 === 0 ? zigzag / 2 : -1
    scale *= 128
  }
  return -1
}
