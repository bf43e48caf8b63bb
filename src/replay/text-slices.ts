import duckdb, { type Vector } from '@duckdb/node-bindings'
import { assert } from '../base/assert.js'

/** Texts of UTF-8 where they lie: by row the place of the first byte, and how many; -1 is null. */
export class TextSlices {
  readonly length: number
  readonly #bytes: Uint8Array
  readonly #at: Int32Array
  readonly #sizes: Int32Array

  constructor(bytes: Uint8Array, at: Int32Array, sizes: Int32Array) {
    assert(at.length === sizes.length, 'a text has a place and a size')
    this.length = at.length
    this.#bytes = bytes
    this.#at = at
    this.#sizes = sizes
  }

  /** Into a vector of VARCHAR, from its first row; a null becomes the empty text. `words`: room for four of each row. */
  copyTo(vector: Vector, from: number, count: number, words: Int32Array): void {
    const inline = new Uint8Array(words.buffer, words.byteOffset)
    words.fill(0, 0, count * wordsOfString)
    for (let i = 0; i < count; i++) {
      const size = this.#sizes[from + i]!
      if (size <= 0 || size > inlineBytesMax) continue
      words[i * wordsOfString] = size
      const at = this.#at[from + i]!
      const to = i * wordsOfString * 4 + 4
      for (let byte = 0; byte < size; byte++) inline[to + byte] = this.#bytes[at + byte]!
    }
    duckdb.copy_data_to_vector(vector, 0, words.buffer as ArrayBuffer, words.byteOffset, count * wordsOfString * 4)
    for (let i = 0; i < count; i++) {
      const size = this.#sizes[from + i]!
      if (size <= inlineBytesMax) continue
      const at = this.#at[from + i]!
      duckdb.vector_assign_string_element_len(vector, i, this.#bytes.subarray(at, at + size))
    }
  }
}

/** `duckdb_string_t` of DuckDB's C API: the length, then up to 12 bytes of text; of a longer one a pointer, which DuckDB sets. */
export const wordsOfString = 4
const inlineBytesMax = 12
