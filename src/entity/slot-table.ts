import { assert } from '../base/assert.js'
import { IntStack } from './growable.js'

/** Slots in a chunk: growth allocates one chunk and copies nothing. */
export const slotsPerChunkLog2 = 12
const slotsPerChunk = 1 << slotsPerChunkLog2
const slotMask = slotsPerChunk - 1

/**
 * The fixed part of every entity's state in one stage of this process: key, hash and `coreWords` float64 words.
 * A slot is a number; slot 0 is never given to an entity (it stands in for events that leave no state).
 */
export class SlotTable {
  readonly keyBytesMax: number
  readonly coreWords: number
  readonly #keyStride: number
  readonly #core: Float64Array[] = []
  readonly #keys: Uint8Array[] = []
  readonly #hashes: Uint32Array[] = []
  readonly #free = new IntStack()
  #made = 0

  constructor(options: { keyBytesMax: number; coreWords: number }) {
    assert(options.keyBytesMax > 0 && options.keyBytesMax < 256, 'a key length fits one byte')
    this.keyBytesMax = options.keyBytesMax
    this.coreWords = options.coreWords
    this.#keyStride = options.keyBytesMax + 1
    this.allocate() // slot 0
  }

  /** A slot with zeroed words. */
  allocate(): number {
    if (this.#free.length > 0) {
      const slot = this.#free.pop()
      const word = this.wordOf(slot)
      this.coreOf(slot).fill(0, word, word + this.coreWords)
      return slot
    }
    const slot = this.#made++
    if ((slot & slotMask) === 0) {
      this.#core.push(new Float64Array(slotsPerChunk * this.coreWords))
      this.#keys.push(new Uint8Array(slotsPerChunk * this.#keyStride))
      this.#hashes.push(new Uint32Array(slotsPerChunk))
    }
    return slot
  }

  release(slot: number): void {
    this.#free.push(slot)
  }

  /** The chunk with the words of a slot; they start at `wordOf(slot)`. */
  coreOf(slot: number): Float64Array {
    return this.#core[slot >>> slotsPerChunkLog2]!
  }

  wordOf(slot: number): number {
    return (slot & slotMask) * this.coreWords
  }

  setKey(slot: number, bytes: Uint8Array, at: number, length: number, hash: number): void {
    assert(length <= this.keyBytesMax, 'a key fits its slot')
    const keys = this.#keys[slot >>> slotsPerChunkLog2]!
    const to = (slot & slotMask) * this.#keyStride
    keys[to] = length
    for (let i = 0; i < length; i++) keys[to + 1 + i] = bytes[at + i]!
    this.#hashes[slot >>> slotsPerChunkLog2]![slot & slotMask] = hash
  }

  hashOf(slot: number): number {
    return this.#hashes[slot >>> slotsPerChunkLog2]![slot & slotMask]!
  }

  keyEquals(slot: number, hash: number, bytes: Uint8Array, at: number, length: number): boolean {
    if (this.hashOf(slot) !== hash) return false
    const keys = this.#keys[slot >>> slotsPerChunkLog2]!
    const from = (slot & slotMask) * this.#keyStride
    if (keys[from] !== length) return false
    for (let i = 0; i < length; i++) if (keys[from + 1 + i] !== bytes[at + i]) return false
    return true
  }

  /** A view of the key bytes of a slot. */
  keyOf(slot: number): Uint8Array {
    const keys = this.#keys[slot >>> slotsPerChunkLog2]!
    const from = (slot & slotMask) * this.#keyStride
    return keys.subarray(from + 1, from + 1 + keys[from]!)
  }

  /** Slots ever made (the size that parallel arrays need). */
  get made(): number {
    return this.#made
  }

  get used(): number {
    return this.#made - this.#free.length - 1
  }

  /** Bytes of one slot, computed. */
  get bytesPerSlot(): number {
    return this.coreWords * 8 + this.#keyStride + 4
  }
}
