/**
 * Whether bytes [at, end) are UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Source: Unicode 16, table 3-7.
 */
export function isUtf8(bytes: Uint8Array, at: number, end: number): boolean {
  while (at < end) {
    const b = bytes[at]!
    if (b < 0x80) {
      at++
      continue
    }
    const more = b >= 0xc2 && b <= 0xdf ? 1 : b >= 0xe0 && b <= 0xef ? 2 : b >= 0xf0 && b <= 0xf4 ? 3 : 0
    if (more === 0 || at + more >= end) return false
    const second = bytes[at + 1]!
    const low = b === 0xe0 ? 0xa0 : b === 0xf0 ? 0x90 : 0x80
    const high = b === 0xed ? 0x9f : b === 0xf4 ? 0x8f : 0xbf
    if (second < low || second > high) return false
    for (let i = 2; i <= more; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return false
    at += more + 1
  }
  return true
}
