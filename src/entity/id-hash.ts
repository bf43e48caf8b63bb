/**
 * A 53-bit hash of bytes [at, at + length), exact in a float64. Two of an entity's 4,096 events share one with a probability
 * of about 1e-9.
 */
export function hashId(bytes: Uint8Array, at: number, length: number): number {
  let low = 0x811c9dc5
  let high = 0x9747b28c
  for (let i = at; i < at + length; i++) {
    low = Math.imul(low ^ bytes[i]!, 0x01000193)
    high = Math.imul(high ^ bytes[i]!, 0x5bd1e995)
  }
  return (mixed(high) & 0x1fffff) * 0x1_0000_0000 + mixed(low)
}

function mixed(hash: number): number {
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
