import { hashKey } from '../entity/key-index.js'

/**
 * The values of a category feature. The first has index 1; index 0 is everything else, and what pads a window. Texts are found
 * by their bytes: no string is made for an event.
 */
export class Vocabulary {
  readonly #numbers: ReadonlyMap<number, number>
  readonly #texts: readonly Buffer[]
  readonly #table: Int32Array
  readonly #mask: number

  constructor(values: readonly (string | number)[]) {
    this.#numbers = new Map(values.flatMap((value, at) => (typeof value === 'number' ? [[value, at + 1] as const] : [])))
    this.#texts = values.map((value) => Buffer.from(String(value)))
    const size = 1 << (33 - Math.clz32(values.length))
    this.#mask = size - 1
    this.#table = new Int32Array(size)
    this.#texts.forEach((text, at) => {
      let cell = hashKey(text, 0, text.length) & this.#mask
      while (this.#table[cell] !== 0) cell = (cell + 1) & this.#mask
      this.#table[cell] = at + 1
    })
  }

  /** The index of a number; 0 for NaN, which stands for null. */
  ofNumber(value: number): number {
    return this.#numbers.get(value) ?? 0
  }

  /** The index of the UTF-8 text at bytes [at, at + length); 0 for length -1, which stands for null. */
  ofText(bytes: Uint8Array, at: number, length: number): number {
    if (length < 0) return 0
    for (let cell = hashKey(bytes, at, length) & this.#mask; ; cell = (cell + 1) & this.#mask) {
      const index = this.#table[cell]!
      if (index === 0) return 0
      const text = this.#texts[index - 1]!
      if (text.length !== length) continue
      let same = 0
      while (same < length && text[same] === bytes[at + same]) same++
      if (same === length) return index
    }
  }
}
