import { assert } from '../base/assert.js'
import { IntStack } from './growable.js'

/** Words (float64) in a chunk of blocks: 1 MiB. Growth allocates one chunk, copies nothing. */
const chunkWords = 1 << 17
/** Entries of the smallest block; class c holds `blockEntriesMin << c`. */
export const blockEntriesMin = 8

/**
 * Memory for what grows with an entity: blocks of float64 words in size classes that double. A block is
 * (class, handle); handles of freed blocks are used again.
 */
export class BlockPool {
  readonly #strideWords: number
  readonly #chunks: Float64Array[][] = []
  readonly #free: IntStack[] = []
  readonly #made: number[] = []
  /** Bytes of all chunks. */
  bytes = 0

  constructor(strideWords: number) {
    this.#strideWords = strideWords
  }

  entriesOf(sizeClass: number): number {
    return blockEntriesMin << sizeClass
  }

  allocate(sizeClass: number): number {
    while (this.#chunks.length <= sizeClass) {
      this.#chunks.push([])
      this.#free.push(new IntStack())
      this.#made.push(0)
    }
    const free = this.#free[sizeClass]!
    if (free.length > 0) return free.pop()
    const handle = this.#made[sizeClass]!++
    const perChunk = this.#blocksPerChunk(sizeClass)
    if (handle % perChunk === 0) {
      const words = perChunk * this.entriesOf(sizeClass) * this.#strideWords
      this.#chunks[sizeClass]!.push(new Float64Array(words))
      this.bytes += words * 8
    }
    return handle
  }

  release(sizeClass: number, handle: number): void {
    this.#free[sizeClass]!.push(handle)
  }

  /** The chunk that holds a block; the block starts at word `wordOf(...)`. */
  chunkOf(sizeClass: number, handle: number): Float64Array {
    const chunk = this.#chunks[sizeClass]?.[Math.floor(handle / this.#blocksPerChunk(sizeClass))]
    assert(chunk, 'a block handle names a block')
    return chunk
  }

  wordOf(sizeClass: number, handle: number): number {
    return (handle % this.#blocksPerChunk(sizeClass)) * this.entriesOf(sizeClass) * this.#strideWords
  }

  /** Blocks in use, over all classes. */
  get used(): number {
    return this.#made.reduce((sum, made, sizeClass) => sum + made - this.#free[sizeClass]!.length, 0)
  }

  #blocksPerChunk(sizeClass: number): number {
    return Math.max(1, Math.floor(chunkWords / (this.entriesOf(sizeClass) * this.#strideWords)))
  }
}
