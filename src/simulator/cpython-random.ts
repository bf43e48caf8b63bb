import { assert } from '../base/assert.js'
import { MersenneTwister } from './mersenne-twister.js'

/** Entries that a small set takes beyond an empty list: below this CPython samples from a copied pool. */
const smallSetSize = 21

/** The draws of CPython 3's `random.Random(seed)` with an integer seed: `choice` and `sample`. */
export class CpythonRandom {
  readonly #twister = new MersenneTwister()

  constructor(seed: number) {
    this.seed(seed)
  }

  seed(seed: number): void {
    assert(Number.isSafeInteger(seed) && seed >= 0, 'a seed is a natural number')
    const high = Math.floor(seed / 0x100000000)
    this.#twister.seedArray(high === 0 ? [seed] : [seed >>> 0, high])
  }

  /** Uniform in 0 .. n-1: as many bits as n has, drawn again while too large. */
  below(n: number): number {
    assert(n > 0 && n <= 0xffffffff, 'a range has 1 to 2^32-1 values')
    const shift = Math.clz32(n)
    let value
    do value = this.#twister.uint32() >>> shift
    while (value >= n)
    return value
  }

  /** The index that `choice` takes from a sequence of n. */
  choiceIndex(n: number): number {
    return this.below(n)
  }

  /** The indices that `sample` takes, in its order: from a pool when n is small against k, otherwise by a set. */
  sampleIndices(n: number, k: number): number[] {
    assert(k >= 0 && k <= n, 'a sample takes at most what is there')
    let setSize = smallSetSize
    if (k > 5) {
      let table = 1
      while (table < k * 3) table *= 4
      setSize += table
    }
    const result: number[] = []
    if (n <= setSize) {
      const pool = Array.from({ length: n }, (_, i) => i)
      for (let i = 0; i < k; i++) {
        const j = this.below(n - i)
        result.push(pool[j]!)
        pool[j] = pool[n - i - 1]!
      }
      return result
    }
    const selected = new Set<number>()
    while (result.length < k) {
      const j = this.below(n)
      if (selected.has(j)) continue
      selected.add(j)
      result.push(j)
    }
    return result
  }
}
