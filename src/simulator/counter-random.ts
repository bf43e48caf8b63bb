const words = 4
const parity = 0x1bd11bda

/**
 * Threefry-4x32-20: 128 random bits from a key and a counter, no state carried on. Source: Salmon, Moraes, Dror and Shaw,
 * "Parallel random numbers: as easy as 1, 2, 3" (2011). Writes four words to `out`.
 */
export function threefry(out: Uint32Array, key: Int32Array, c0: number, c1: number, c2: number, c3: number): void {
  const k0 = key[0]!
  const k1 = key[1]!
  const k2 = key[2]!
  const k3 = key[3]!
  const schedule = [k0, k1, k2, k3, parity ^ k0 ^ k1 ^ k2 ^ k3]
  let a = (c0 + k0) | 0
  let b = (c1 + k1) | 0
  let c = (c2 + k2) | 0
  let d = (c3 + k3) | 0
  for (let group = 1; group <= 5; group++) {
    if ((group & 1) === 1) {
      a = (a + b) | 0; b = ((b << 10) | (b >>> 22)) ^ a; c = (c + d) | 0; d = ((d << 26) | (d >>> 6)) ^ c
      a = (a + d) | 0; d = ((d << 11) | (d >>> 21)) ^ a; c = (c + b) | 0; b = ((b << 21) | (b >>> 11)) ^ c
      a = (a + b) | 0; b = ((b << 13) | (b >>> 19)) ^ a; c = (c + d) | 0; d = ((d << 27) | (d >>> 5)) ^ c
      a = (a + d) | 0; d = ((d << 23) | (d >>> 9)) ^ a; c = (c + b) | 0; b = ((b << 5) | (b >>> 27)) ^ c
    } else {
      a = (a + b) | 0; b = ((b << 6) | (b >>> 26)) ^ a; c = (c + d) | 0; d = ((d << 20) | (d >>> 12)) ^ c
      a = (a + d) | 0; d = ((d << 17) | (d >>> 15)) ^ a; c = (c + b) | 0; b = ((b << 11) | (b >>> 21)) ^ c
      a = (a + b) | 0; b = ((b << 25) | (b >>> 7)) ^ a; c = (c + d) | 0; d = ((d << 10) | (d >>> 22)) ^ c
      a = (a + d) | 0; d = ((d << 18) | (d >>> 14)) ^ a; c = (c + b) | 0; b = ((b << 20) | (b >>> 12)) ^ c
    }
    a = (a + schedule[group % 5]!) | 0
    b = (b + schedule[(group + 1) % 5]!) | 0
    c = (c + schedule[(group + 2) % 5]!) | 0
    d = (d + schedule[(group + 3) % 5]! + group) | 0
  }
  out[0] = a
  out[1] = b
  out[2] = c
  out[3] = d
}

/** Streams of random numbers that are found by name: (seed, purpose, a, b) always gives the same stream, at once. */
export class CounterRandom {
  readonly #key: Int32Array
  readonly #block = new Uint32Array(words)
  #used = words
  #a = 0
  #b = 0
  #blocks = 0

  /** `purpose` keeps streams apart that have the same numbers a and b. */
  constructor(seed: number, purpose: number) {
    this.#key = Int32Array.of(seed | 0, purpose, 0, 0)
  }

  start(a: number, b: number): this {
    this.#a = a
    this.#b = b
    this.#blocks = 0
    this.#used = words
    return this
  }

  uint32(): number {
    if (this.#used === words) {
      threefry(this.#block, this.#key, this.#a, this.#b, this.#blocks++, 0)
      this.#used = 0
    }
    return this.#block[this.#used++]!
  }

  /** Uniform in (0, 1), 32 bits: never 0, never 1. */
  uniform(): number {
    return (this.uint32() + 0.5) / 4294967296
  }

  /** Uniform integer in [0, n), from 53 bits. */
  below(n: number): number {
    const high = this.uint32() >>> 5
    return Math.floor(((high * 67108864 + (this.uint32() >>> 6)) / 9007199254740992) * n)
  }

  /** By multiplying uniforms (Knuth): for small rates. */
  poisson(rate: number): number {
    const limit = Math.exp(-rate)
    let count = 0
    for (let product = this.uniform(); product > limit; product *= this.uniform()) count++
    return count
  }

  /** `count` distinct integers of [0, n). */
  distinct(n: number, count: number): number[] {
    const drawn = new Set<number>()
    while (drawn.size < count) drawn.add(this.below(n))
    return [...drawn]
  }
}
