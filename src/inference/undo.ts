import { NO_UPDATE, RESET, type Frame } from './frame.js'
import { copyWords, ringRemove } from './ring.js'
import { HIDDEN_HEAD, type SequenceMemory } from './sequence-memory.js'

/** Does this row change the memory of its entity? */
export function touchesMemory(flags: number): boolean {
  return (flags & NO_UPDATE) === 0 || (flags & RESET) !== 0
}

/**
 * Restores the sequence memory to what it was before the frame, to the bit: rows in reverse order. With a worker's number
 * only the rows of its slots. A second call changes nothing.
 */
export function undoFrame(memory: SequenceMemory, frame: Frame, worker = 0, workers = 1): void {
  const { taken, hidden } = frame.undo
  // Other models may have taken over since: it is their states that the frame has changed.
  const slabs = frame.slabs ?? memory.hidden
  for (let row = frame.count - 1; row >= 0; row--) {
    const slot = frame.slot[row]!
    if (taken[row] === 0 || slot % workers !== worker) continue
    taken[row] = 0
    if (!touchesMemory(frame.flags[row]!)) continue
    const chunk = slot >>> memory.shift
    const local = slot & memory.mask
    undoRing(memory, slot, frame, row)
    for (let index = 0; index < hidden.length; index++) {
      const columns = hidden[index]!
      if (columns.saved[row] === 0) continue
      const slab = slabs[index]!
      const hiddenWords = slab.words[chunk]!
      const hiddenAt = local * slab.stride
      hiddenWords[hiddenAt] = columns.meta[row * 2]!
      hiddenWords[hiddenAt + 1] = columns.meta[row * 2 + 1]!
      copyWords(hiddenWords, hiddenAt + HIDDEN_HEAD, columns.bits, row * columns.floats, columns.floats)
    }
  }
}

/** Takes one row back out of the ring of a slot, which is as the row left it: the slot's own, or a copy of it. */
export function undoRing(memory: SequenceMemory, slot: number, frame: Frame, row: number): void {
  const { ringCount, ringHead, place, overwrittenTime, overwrittenBits } = frame.undo
  const { features } = memory.layout
  if (place[row]! >= 0) {
    // a reset emptied the ring before this row was put
    const reset = (frame.flags[row]! & RESET) !== 0
    const count = reset ? 0 : ringCount[row]!
    const head = reset ? 0 : ringHead[row]!
    ringRemove(memory, slot, count, head, place[row]!, overwrittenTime[row]!, overwrittenBits, row * features)
  }
  const words = memory.ringWords[slot >>> memory.shift]!
  const at = (slot & memory.mask) * memory.ringStride
  words[at] = ringCount[row]!
  words[at + 1] = ringHead[row]!
}

/**
 * A model failed for this frame: its hidden states are not to be trusted, so every slot that the frame touched is warmed
 * before its next use. A replay with `skip` does the same, and so comes to the same state. With a worker's number only its slots.
 */
export function markFailed(memory: SequenceMemory, frame: Frame, hiddenIndex: number, worker = 0, workers = 1): void {
  for (let row = 0; row < frame.count; row++) {
    const slot = frame.slot[row]!
    if (slot % workers === worker && touchesMemory(frame.flags[row]!)) memory.markHiddenOf(hiddenIndex, slot)
  }
}
