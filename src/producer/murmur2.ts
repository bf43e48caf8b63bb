/**
 * The partition that Kafka's own default partitioner gives a key: murmur2 of its bytes, made positive, modulo the partitions.
 * Source: Apache Kafka, org.apache.kafka.common.utils.Utils.murmur2.
 */
export function partitionOf(bytes: Uint8Array, at: number, length: number, partitions: number): number {
  return (murmur2(bytes, at, length) & 0x7fffffff) % partitions
}

const seed = 0x9747b28c
const m = 0x5bd1e995

/** The 32-bit hash of bytes [at, at + length), signed. */
export function murmur2(bytes: Uint8Array, at: number, length: number): number {
  let hash = seed ^ length
  const whole = length & ~3
  for (let i = at; i < at + whole; i += 4) {
    let k = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    k = Math.imul(k, m)
    k ^= k >>> 24
    k = Math.imul(k, m)
    hash = Math.imul(hash, m) ^ k
  }
  const rest = at + whole
  const left = length & 3
  if (left === 3) hash ^= bytes[rest + 2]! << 16
  if (left >= 2) hash ^= bytes[rest + 1]! << 8
  if (left >= 1) hash = Math.imul(hash ^ bytes[rest]!, m)
  hash = Math.imul(hash ^ (hash >>> 13), m)
  return hash ^ (hash >>> 15)
}
