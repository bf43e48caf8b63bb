import { assert } from '../base/assert.js'

const minimumLength = 1024

/** A stack of int32 that keeps its memory. */
export class IntStack {
  #values = new Int32Array(minimumLength)
  length = 0

  push(value: number): void {
    if (this.length === this.#values.length) {
      const grown = new Int32Array(this.#values.length * 2)
      grown.set(this.#values)
      this.#values = grown
    }
    this.#values[this.length++] = value
  }

  pop(): number {
    assert(this.length > 0, 'a stack is not popped below its bottom')
    return this.#values[--this.length]!
  }

  at(index: number): number {
    return this.#values[index]!
  }

  clear(): void {
    this.length = 0
  }
}

/** Rows of float64 words, appended and read back in reverse; keeps its memory. */
export class WordLog {
  #words = new Float64Array(minimumLength)
  #used = 0

  get used(): number {
    return this.#used
  }

  append(source: Float64Array, at: number, words: number): void {
    if (this.#used + words > this.#words.length) {
      const grown = new Float64Array(Math.max(this.#words.length * 2, this.#used + words))
      grown.set(this.#words)
      this.#words = grown
    }
    const target = this.#words
    let to = this.#used
    for (let from = at; from < at + words; from++) target[to++] = source[from]!
    this.#used = to
  }

  /** Takes the newest `words` words off and copies them to `target` at `at`. */
  takeInto(target: Float64Array, at: number, words: number): void {
    assert(this.#used >= words, 'a word log is not read below its bottom')
    this.#used -= words
    for (let i = 0; i < words; i++) target[at + i] = this.#words[this.#used + i]!
  }

  clear(): void {
    this.#used = 0
  }
}

/** FIFO of numbers in a ring that doubles; both ends can be dropped. Slots are int32, sequences and offsets float64. */
export class NumberQueue {
  readonly #make: (length: number) => Int32Array | Float64Array
  #ring: Int32Array | Float64Array
  #head = 0
  length = 0

  constructor(kind: 'int32' | 'float64') {
    this.#make = kind === 'int32' ? (length) => new Int32Array(length) : (length) => new Float64Array(length)
    this.#ring = this.#make(minimumLength)
  }

  push(value: number): void {
    if (this.length === this.#ring.length) {
      const grown = this.#make(this.#ring.length * 2)
      for (let i = 0; i < this.length; i++) grown[i] = this.at(i)
      this.#ring = grown
      this.#head = 0
    }
    this.#ring[(this.#head + this.length++) & (this.#ring.length - 1)] = value
  }

  /** The i-th oldest. */
  at(i: number): number {
    return this.#ring[(this.#head + i) & (this.#ring.length - 1)]!
  }

  shift(): number {
    assert(this.length > 0, 'an empty queue is not shifted')
    const value = this.at(0)
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.length--
    return value
  }

  unshift(value: number): void {
    if (this.length === this.#ring.length) {
      this.push(value)
      this.length--
    }
    this.#head = (this.#head - 1) & (this.#ring.length - 1)
    this.#ring[this.#head] = value
    this.length++
  }

  /** Drops the newest. */
  pop(): number {
    assert(this.length > 0, 'an empty queue is not popped')
    return this.at(--this.length)
  }
}
