import { assert } from '../base/assert.js'

/** One recurrent model's place in the memory. A stored hidden state belongs to a file and a release of it. */
export interface HiddenLayout {
  /** The sha256 of its file. */
  readonly identity: string
  /** States of another epoch are warmed from the ring. */
  readonly epoch: number
  /** Floats of all its states together. */
  readonly floats: number
}

export interface SequenceLayout {
  /** F: floats of a feature row. */
  readonly features: number
  /** W: rows that the ring keeps; 0 = no ring. */
  readonly window: number
  readonly hidden: readonly HiddenLayout[]
  /** Slots of a chunk; a power of two. */
  readonly chunkSlots: number
}

/** One chunk's shared memory: what a worker is sent. */
export interface SequenceChunk {
  readonly ring: SharedArrayBuffer
  readonly hidden: readonly SharedArrayBuffer[]
}

export interface SequenceMemorySection {
  readonly name: string
  readonly bytes: number
}

/** Words before a hidden state's floats: epoch and flags. */
export const HIDDEN_HEAD = 2

/** Set in a hidden state's flags: it must be warmed from the ring before its next use. */
export const HIDDEN_MARKED = 1

/** Default slots of a chunk: about 8 MB for a ring of 32 rows of 14 features. */
export const chunkSlotsDefault = 4096

/** A hidden slab's views, by chunk: for each slot `stride` words [epoch, flags, floats...]. */
export class HiddenSlab {
  readonly floats: number
  readonly stride: number
  readonly words: Int32Array[] = []

  constructor(floats: number) {
    this.floats = floats
    this.stride = HIDDEN_HEAD + floats
  }
}

/**
 * What inference remembers of each entity: a ring of its last W feature rows with their event times, in event-time
 * order, and for each recurrent model a hidden state.
 *
 * Owns: the slabs, in SharedArrayBuffer chunks that never move. The main thread grows it; workers attach chunks by message.
 * 1. A slot belongs to one worker at a time (slot % workers), so no two threads write the same slot.
 * 2. Rows are copied as 32-bit integers: undo and export are exact to the bit, whatever the floats hold.
 * 3. While the ring is not full its head is 0.
 */
export class SequenceMemory {
  layout: SequenceLayout
  readonly chunks: SequenceChunk[] = []
  readonly shift: number
  readonly mask: number
  /** By chunk, for each slot `ringStride` words [count, head, W event times, W * F floats], so that a slot lies in one or two pages. */
  readonly ringWords: Int32Array[] = []
  /** The same memory as float64: a slot's event times begin at its word / 2 + 1. */
  readonly ringTimes: Float64Array[] = []
  readonly ringStride: number
  /** Where the rows of a slot begin, after its first word. */
  readonly ringRowsAt: number
  hidden: readonly HiddenSlab[]

  constructor(layout: SequenceLayout) {
    const { chunkSlots } = layout
    assert(chunkSlots > 0 && (chunkSlots & (chunkSlots - 1)) === 0, 'a chunk has a power of two of slots')
    this.layout = layout
    this.ringRowsAt = 2 + 2 * layout.window
    this.ringStride = ringSlotBytes(layout) / 4
    this.shift = 31 - Math.clz32(chunkSlots)
    this.mask = chunkSlots - 1
    this.hidden = layout.hidden.map((hidden) => new HiddenSlab(hidden.floats))
  }

  get slotCapacity(): number {
    return this.chunks.length << this.shift
  }

  /** Makes room for slots below `slots`. Nothing is copied. */
  ensureSlots(slots: number): void {
    while (this.slotCapacity < slots) {
      const { chunkSlots, hidden } = this.layout
      const chunk = {
        ring: new SharedArrayBuffer(chunkSlots * ringSlotBytes(this.layout)),
        hidden: hidden.map(({ floats }) => new SharedArrayBuffer(chunkSlots * hiddenSlotBytes(floats))),
      }
      this.attach(chunk)
    }
  }

  /** Adds a chunk that another thread allocated. Chunks come in order. */
  attach(chunk: SequenceChunk): void {
    this.chunks.push(chunk)
    this.ringWords.push(new Int32Array(chunk.ring))
    this.ringTimes.push(new Float64Array(chunk.ring))
    this.hidden.forEach((slab, index) => slab.words.push(new Int32Array(chunk.hidden[index]!)))
  }

  /** Rows in the ring of a slot. */
  ringCount(slot: number): number {
    return this.ringWords[slot >>> this.shift]![(slot & this.mask) * this.ringStride]!
  }

  /** Empties a slot for another entity. What `RESET` does inside a frame, outside of one; it cannot be undone. */
  resetSlot(slot: number): void {
    const at = (slot & this.mask) * this.ringStride
    this.ringWords[slot >>> this.shift]!.fill(0, at, at + 2)
    this.markHidden(slot)
  }

  /**
   * Other recurrent models: `hidden[i]` keeps the states of slab `from[i]`, or begins without any where that is -1: of
   * epoch 0, which none has. Slabs that are left out live on with the frames that have changed them.
   */
  relayout(hidden: readonly HiddenLayout[], from: readonly number[]): void {
    const before = this.hidden
    const { chunkSlots } = this.layout
    this.layout = { ...this.layout, hidden }
    this.hidden = hidden.map(({ floats }, index) => before[from[index]!] ?? new HiddenSlab(floats))
    this.chunks.forEach((chunk, at) => {
      const buffers = hidden.map(({ floats }, index) => chunk.hidden[from[index]!] ?? new SharedArrayBuffer(chunkSlots * hiddenSlotBytes(floats)))
      this.chunks[at] = { ring: chunk.ring, hidden: buffers }
      this.hidden.forEach((slab, index) => {
        if (from[index]! < 0) slab.words.push(new Int32Array(buffers[index]!))
      })
    })
  }

  /** Marks every hidden state of a slot for warming. */
  markHidden(slot: number): void {
    for (let index = 0; index < this.hidden.length; index++) this.markHiddenOf(index, slot)
  }

  markHiddenOf(index: number, slot: number): void {
    const slab = this.hidden[index]!
    slab.words[slot >>> this.shift]![(slot & this.mask) * slab.stride + 1]! |= HIDDEN_MARKED
  }

  /** Bytes of one slot, by section. */
  get bytesPerSlot(): readonly SequenceMemorySection[] {
    const { hidden } = this.layout
    return [
      { name: 'ring', bytes: ringSlotBytes(this.layout) },
      ...hidden.map(({ identity, floats }) => ({ name: `hidden ${identity.slice(0, 12)}`, bytes: hiddenSlotBytes(floats) })),
    ]
  }

  /** Bytes of all chunks. */
  get bytes(): number {
    return this.bytesPerSlot.reduce((sum, section) => sum + section.bytes, 0) * this.slotCapacity
  }
}

function ringSlotBytes({ window, features }: SequenceLayout): number {
  // [count, head], event times, rows; rounded so that the next slot's event times stay aligned
  return Math.ceil((8 + window * 8 + window * features * 4) / 8) * 8
}

function hiddenSlotBytes(floats: number): number {
  return (HIDDEN_HEAD + floats) * 4
}
