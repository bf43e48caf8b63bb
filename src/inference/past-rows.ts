import { NO_UPDATE, RESET, type Frame } from './frame.js'
import { recodeRow, type Recodes } from './recodes.js'
import { gatherRing, ringPlace, type FeatureMap } from './ring.js'
import { SequenceMemory } from './sequence-memory.js'
import { touchesMemory, undoRing } from './undo.js'

/** The rows of an entity before one of its events, as the models saw them. */
export interface PastRows {
  readonly count: number
  /** [count, F] as the stage has them. */
  readonly plain: Int32Array
  /** [count, F] as the model takes them. */
  readonly bits: Int32Array
  /** Event times, ms since 1970, oldest first. */
  readonly times: Float64Array
}

const scratchSlot = 0

/**
 * Finds the ring as a row of a frame found it, after the whole frame has been taken into the memory: the rings's before-images are in the
 * frame, and are taken back on a copy of the slot. The memory itself stays as it is.
 */
export class PastReader {
  readonly #memory: SequenceMemory
  readonly #copy: SequenceMemory

  constructor(memory: SequenceMemory) {
    this.#memory = memory
    this.#copy = new SequenceMemory({ ...memory.layout, hidden: [], chunkSlots: 1 })
    this.#copy.ensureSlots(1)
  }

  /** At most `countMax` rows before `row`, the newest. `features`, `map`, `recodes`: those of the model. */
  read(frame: Frame, row: number, countMax: number, features: number, map: FeatureMap, recodes: Recodes): PastRows {
    const memory = this.#memory
    const copy = this.#copy
    const { window } = memory.layout
    const slot = frame.slot[row]!
    const flags = frame.flags[row]!
    const words = copy.ringWords[0]!
    const at = (slot & memory.mask) * memory.ringStride
    words.set(memory.ringWords[slot >>> memory.shift]!.subarray(at, at + memory.ringStride))
    for (let later = frame.count - 1; later >= row; later--) {
      if (frame.slot[later] === slot && touchesMemory(frame.flags[later]!)) undoRing(copy, scratchSlot, frame, later)
    }
    const ringCount = (flags & RESET) !== 0 ? 0 : words[0]!
    const head = words[1]!
    const before = (flags & NO_UPDATE) !== 0 ? ringCount : ringPlace(copy, scratchSlot, ringCount, head, frame.eventTime[row]!)
    const count = Math.min(before, countMax)
    const plain = new Int32Array(count * features)
    gatherRing(copy, scratchSlot, head, before - count, before, plain, 0, features, map)
    const bits = plain.slice()
    if (recodes !== null) for (let i = 0; i < count; i++) recodeRow(bits, i * features, recodes)
    const times = Float64Array.from({ length: count }, (_, i) => copy.ringTimes[0]![1 + ((head + before - count + i) % window)]!)
    return { count, plain, bits, times }
  }
}
