const stateWords = 624
const shiftWords = 397

/**
 * MT19937, 32-bit words. Source: Matsumoto and Nishimura, "Mersenne Twister" (1998), and their 2002 initialisation.
 * Two seedings: `seedWord` is init_genrand (numpy's legacy `seed(int)`), `seedArray` is init_by_array (CPython's `random.seed(int)`).
 */
export class MersenneTwister {
  readonly #state = new Int32Array(stateWords)
  #next = stateWords

  seedWord(seed: number): this {
    const state = this.#state
    state[0] = seed | 0
    for (let i = 1; i < stateWords; i++) {
      const previous = state[i - 1]!
      state[i] = (Math.imul(1812433253, previous ^ (previous >>> 30)) + i) | 0
    }
    this.#next = stateWords
    return this
  }

  seedArray(key: readonly number[]): this {
    this.seedWord(19650218)
    const state = this.#state
    let i = 1
    let j = 0
    for (let k = Math.max(stateWords, key.length); k > 0; k--) {
      const previous = state[i - 1]!
      state[i] = ((state[i]! ^ Math.imul(previous ^ (previous >>> 30), 1664525)) + key[j]! + j) | 0
      i++
      j++
      if (i >= stateWords) {
        state[0] = state[stateWords - 1]!
        i = 1
      }
      if (j >= key.length) j = 0
    }
    for (let k = stateWords - 1; k > 0; k--) {
      const previous = state[i - 1]!
      state[i] = ((state[i]! ^ Math.imul(previous ^ (previous >>> 30), 1566083941)) - i) | 0
      i++
      if (i >= stateWords) {
        state[0] = state[stateWords - 1]!
        i = 1
      }
    }
    state[0] = 0x80000000 | 0
    this.#next = stateWords
    return this
  }

  /** Uniform in 0 .. 2^32-1. */
  uint32(): number {
    if (this.#next === stateWords) this.#twist()
    let y = this.#state[this.#next++]!
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    y ^= y >>> 18
    return y >>> 0
  }

  /** Uniform in [0, 1) with 53 bits, from two words. */
  uniform(): number {
    const high = this.uint32() >>> 5
    const low = this.uint32() >>> 6
    return (high * 67108864 + low) / 9007199254740992
  }

  #twist(): void {
    const state = this.#state
    for (let i = 0; i < stateWords; i++) {
      const y = (state[i]! & 0x80000000) | (state[i + 1 === stateWords ? 0 : i + 1]! & 0x7fffffff)
      const far = i + shiftWords
      state[i] = state[far < stateWords ? far : far - stateWords]! ^ (y >>> 1) ^ (-(y & 1) & 0x9908b0df)
    }
    this.#next = 0
  }
}
