import { assert } from '../base/assert.js'
import { MersenneTwister } from './mersenne-twister.js'

/** numpy takes another algorithm from this rate on. */
const poissonRateMax = 10

/**
 * The draws of numpy's `RandomState(seed)`, whose stream numpy has frozen: the same numbers in the same order.
 * Source: numpy's documentation of the legacy generator, and its behaviour (checked number by number in the tests).
 */
export class LegacyRandom {
  readonly #twister = new MersenneTwister()
  #spareNormal = 0
  #hasSpareNormal = false

  constructor(seed: number) {
    this.seed(seed)
  }

  seed(seed: number): void {
    assert(Number.isInteger(seed) && seed >= 0 && seed <= 0xffffffff, 'a legacy seed has 32 bits')
    this.#twister.seedWord(seed)
    this.#hasSpareNormal = false
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.#twister.uniform()
  }

  /** Polar method (Marsaglia): each accepted pair gives two normals, the second is kept for the next call. */
  normal(mean: number, deviation: number): number {
    if (this.#hasSpareNormal) {
      this.#hasSpareNormal = false
      return mean + deviation * this.#spareNormal
    }
    let x1, x2, squared: number
    do {
      x1 = 2 * this.#twister.uniform() - 1
      x2 = 2 * this.#twister.uniform() - 1
      squared = x1 * x1 + x2 * x2
    } while (squared >= 1 || squared === 0)
    const factor = Math.sqrt((-2 * Math.log(squared)) / squared)
    this.#spareNormal = factor * x1
    this.#hasSpareNormal = true
    return mean + deviation * (factor * x2)
  }

  /** By multiplying uniforms (Knuth). Rates below 10 only. */
  poisson(rate: number): number {
    assert(rate >= 0 && rate < poissonRateMax, 'the multiplication method serves rates below 10')
    if (rate === 0) return 0
    const limit = Math.exp(-rate)
    let count = 0
    for (let product = this.#twister.uniform(); product > limit; product *= this.#twister.uniform()) count++
    return count
  }

  /** The integers 0 .. n-1, shuffled. */
  permutation(n: number): Int32Array {
    const values = Int32Array.from({ length: n }, (_, i) => i)
    for (let i = n - 1; i > 0; i--) {
      const j = this.#upTo(i)
      const kept = values[i]!
      values[i] = values[j]!
      values[j] = kept
    }
    return values
  }

  /** `count` distinct integers of 0 .. n-1, as `choice(n, count, replace=False)` draws them. */
  choice(n: number, count: number): Int32Array {
    assert(count <= n, 'a choice without replacement takes at most what is there')
    return this.permutation(n).subarray(0, count)
  }

  /** Uniform in 0 .. max, by masking and rejecting. */
  #upTo(max: number): number {
    const mask = max === 0 ? 0 : 0xffffffff >>> Math.clz32(max)
    let value
    do value = (this.#twister.uint32() & mask) >>> 0
    while (value > max)
    return value
  }
}
