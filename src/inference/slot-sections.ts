import { HarrierError } from '../base/errors.js'
import { HIDDEN_HEAD, HIDDEN_MARKED, type SequenceMemory } from './sequence-memory.js'

// A slot's sequence memory as bytes, for the changelog. Little-endian:
//   u16 format, u16 hidden sections, u32 rows
//   rows * (f64 event time), rows * (F * f32), oldest row first
//   each hidden section: 8 bytes of the model's identity, u32 floats, i32 epoch, then the floats
// A hidden state that is marked for warming is left out: what is not there is warmed from the ring. So a model that was
// added finds nothing and warms, and the section of a model that was dropped is passed over.

const FORMAT = 1
const HEAD_BYTES = 8
const HIDDEN_HEAD_BYTES = 16
const IDENTITY_BYTES = 8

/** Most bytes that `exportSlot` writes. */
export function exportBytesMax({ layout }: SequenceMemory): number {
  const ring = layout.window * (8 + layout.features * 4)
  return HEAD_BYTES + ring + layout.hidden.reduce((sum, { floats }) => sum + HIDDEN_HEAD_BYTES + floats * 4, 0)
}

/** Writes a slot's ring and hidden states at `at`; returns the position after them. Not while a frame with this slot is in flight. */
export function exportSlot(memory: SequenceMemory, slot: number, into: Uint8Array, at: number): number {
  const { window, features } = memory.layout
  const chunk = slot >>> memory.shift
  const local = slot & memory.mask
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength)
  const words = memory.ringWords[chunk]!
  const ringAt = local * memory.ringStride
  const count = words[ringAt]!
  const head = words[ringAt + 1]!
  const times = memory.ringTimes[chunk]!
  view.setUint16(at, FORMAT, true)
  view.setUint32(at + 4, count, true)
  let writeAt = at + HEAD_BYTES
  for (let row = 0; row < count; row++, writeAt += 8) view.setFloat64(writeAt, times[ringAt / 2 + 1 + ((head + row) % window)]!, true)
  for (let row = 0; row < count; row++) {
    const readAt = ringAt + memory.ringRowsAt + ((head + row) % window) * features
    for (let i = 0; i < features; i++, writeAt += 4) view.setInt32(writeAt, words[readAt + i]!, true)
  }
  let sections = 0
  memory.hidden.forEach((slab, index) => {
    const hiddenWords = slab.words[chunk]!
    const hiddenAt = local * slab.stride
    if ((hiddenWords[hiddenAt + 1]! & HIDDEN_MARKED) !== 0) return
    sections++
    into.set(identityBytes(memory, index), writeAt)
    view.setUint32(writeAt + IDENTITY_BYTES, slab.floats, true)
    view.setInt32(writeAt + IDENTITY_BYTES + 4, hiddenWords[hiddenAt]!, true)
    writeAt += HIDDEN_HEAD_BYTES
    for (let i = 0; i < slab.floats; i++, writeAt += 4) view.setInt32(writeAt, hiddenWords[hiddenAt + HIDDEN_HEAD + i]!, true)
  })
  view.setUint16(at + 2, sections, true)
  return writeAt
}

/** Reads what `exportSlot` wrote into a slot; returns the position after it. Errors: RESTORE_IMPOSSIBLE when it does not fit. */
export function importSlot(memory: SequenceMemory, slot: number, from: Uint8Array, at: number): number {
  const { window, features } = memory.layout
  const view = new DataView(from.buffer, from.byteOffset, from.byteLength)
  const need = (end: number): void => {
    if (end > from.byteLength) throw new HarrierError('RESTORE_IMPOSSIBLE', 'a stored sequence memory ends too early')
  }
  need(at + HEAD_BYTES)
  const sections = view.getUint16(at + 2, true)
  const count = view.getUint32(at + 4, true)
  const format = view.getUint16(at, true)
  if (format !== FORMAT) throw new HarrierError('RESTORE_IMPOSSIBLE', `a stored sequence memory has format ${format}, this version reads ${FORMAT}`)
  if (count > window) throw new HarrierError('LAYOUT_CHANGED', `a stored ring has ${count} rows, this topology keeps ${window}`)
  const chunk = slot >>> memory.shift
  const local = slot & memory.mask
  memory.resetSlot(slot)
  const words = memory.ringWords[chunk]!
  const ringAt = local * memory.ringStride
  words[ringAt] = count
  let readAt = at + HEAD_BYTES
  need(readAt + count * (8 + features * 4))
  for (let row = 0; row < count; row++, readAt += 8) memory.ringTimes[chunk]![ringAt / 2 + 1 + row] = view.getFloat64(readAt, true)
  for (let i = 0; i < features * count; i++, readAt += 4) words[ringAt + memory.ringRowsAt + i] = view.getInt32(readAt, true)
  for (let section = 0; section < sections; section++) {
    need(readAt + HIDDEN_HEAD_BYTES)
    const identity = Buffer.from(from.subarray(readAt, readAt + IDENTITY_BYTES))
    const floats = view.getUint32(readAt + IDENTITY_BYTES, true)
    const epoch = view.getInt32(readAt + IDENTITY_BYTES + 4, true)
    readAt += HIDDEN_HEAD_BYTES
    need(readAt + floats * 4)
    const index = memory.hidden.findIndex((slab, each) => slab.floats === floats && identity.equals(identityBytes(memory, each)))
    if (index >= 0) {
      const slab = memory.hidden[index]!
      const hiddenWords = slab.words[chunk]!
      const hiddenAt = local * slab.stride
      hiddenWords[hiddenAt] = epoch
      hiddenWords[hiddenAt + 1] = 0
      for (let i = 0; i < floats; i++) hiddenWords[hiddenAt + HIDDEN_HEAD + i] = view.getInt32(readAt + i * 4, true)
    }
    readAt += floats * 4
  }
  return readAt
}

function identityBytes(memory: SequenceMemory, index: number): Buffer {
  return Buffer.from(memory.layout.hidden[index]!.identity.slice(0, IDENTITY_BYTES * 2), 'hex')
}
