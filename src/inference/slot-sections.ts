import { endianness } from 'node:os'
import { assert } from '../base/assert.js'
import { HarrierError } from '../base/errors.js'
import { wordViews } from '../base/word-views.js'
import { copyWords } from './ring.js'
import { HIDDEN_HEAD, HIDDEN_MARKED, type SequenceLayout, type SequenceMemory } from './sequence-memory.js'

// A slot's sequence memory as bytes, for the changelog. Little-endian:
//   u16 format, u16 hidden sections, u32 rows
//   rows * (f64 event time), rows * (F * f32), oldest row first
//   each hidden section: 8 bytes of the model's identity, u32 floats, i32 epoch, then the floats
// A hidden state that is marked for warming, or of another epoch than its model's, is left out: what is not there is warmed
// from the ring. So a model that was added finds nothing and warms, and the section of a model or a release that is not
// in force is passed over.

const FORMAT = 1
const HEAD_BYTES = 8
const HIDDEN_HEAD_BYTES = 16
const IDENTITY_BYTES = 8

/** Most bytes that `exportSlot` writes. */
export function exportBytesMax({ layout }: SequenceMemory): number {
  const ring = layout.window * (8 + layout.features * 4)
  return HEAD_BYTES + ring + layout.hidden.reduce((sum, { floats }) => sum + HIDDEN_HEAD_BYTES + floats * 4, 0)
}

/** Writes a sequence memory that holds nothing, whatever lies in the slot; returns the position after it. */
export function exportNothing(into: Uint8Array, at: number): number {
  into.fill(0, at, at + HEAD_BYTES)
  into[at] = FORMAT
  return at + HEAD_BYTES
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
  view.setUint16(at, FORMAT, true)
  view.setUint32(at + 4, count, true)
  // The ring is two runs: from its head to the end of its memory, and on from the beginning.
  const first = Math.min(count, window - head)
  const timesAt = ringAt + 2
  const rowsAt = ringAt + memory.ringRowsAt
  let writeAt = at + HEAD_BYTES
  writeAt = copyOut(words, timesAt + head * 2, first * 2, into, writeAt)
  writeAt = copyOut(words, timesAt, (count - first) * 2, into, writeAt)
  writeAt = copyOut(words, rowsAt + head * features, first * features, into, writeAt)
  writeAt = copyOut(words, rowsAt, (count - first) * features, into, writeAt)
  let sections = 0
  memory.hidden.forEach((slab, index) => {
    const hiddenWords = slab.words[chunk]!
    const hiddenAt = local * slab.stride
    if (hiddenWords[hiddenAt] !== memory.layout.hidden[index]!.epoch || (hiddenWords[hiddenAt + 1]! & HIDDEN_MARKED) !== 0) return
    sections++
    into.set(identityBytes(memory, index), writeAt)
    view.setUint32(writeAt + IDENTITY_BYTES, slab.floats, true)
    view.setInt32(writeAt + IDENTITY_BYTES + 4, hiddenWords[hiddenAt]!, true)
    writeAt = copyOut(hiddenWords, hiddenAt + HIDDEN_HEAD, slab.floats, into, writeAt + HIDDEN_HEAD_BYTES)
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
  readAt = copyIn(from, readAt, words, ringAt + 2, count * 2)
  readAt = copyIn(from, readAt, words, ringAt + memory.ringRowsAt, features * count)
  for (let section = 0; section < sections; section++) {
    need(readAt + HIDDEN_HEAD_BYTES)
    const identityAt = readAt
    const floats = view.getUint32(readAt + IDENTITY_BYTES, true)
    const epoch = view.getInt32(readAt + IDENTITY_BYTES + 4, true)
    readAt += HIDDEN_HEAD_BYTES
    need(readAt + floats * 4)
    const index = memory.layout.hidden.findIndex((hidden, each) => hidden.floats === floats && hidden.epoch === epoch && hasIdentity(from, identityAt, identityBytes(memory, each)))
    if (index >= 0) {
      const slab = memory.hidden[index]!
      const hiddenWords = slab.words[chunk]!
      const hiddenAt = local * slab.stride
      hiddenWords[hiddenAt] = epoch
      hiddenWords[hiddenAt + 1] = 0
      copyIn(from, readAt, hiddenWords, hiddenAt + HIDDEN_HEAD, floats)
    }
    readAt += floats * 4
  }
  return readAt
}

// A million entities are read in a restore and thousands a second are written: words are copied in runs, which is a tenth of
// the cost of a DataView for each. Where a record is not aligned the runs go over a buffer that is.
assert(endianness() === 'LE', 'words are copied as they lie in memory, and records are little-endian')
let scratch = new Int32Array(4096)
let scratchBytes = new Uint8Array(scratch.buffer)

function reserveScratch(count: number): void {
  if (count <= scratch.length) return
  scratch = new Int32Array(count * 2)
  scratchBytes = new Uint8Array(scratch.buffer)
}

/** Copies words into bytes at `to`; returns the position after them. */
function copyOut(words: Int32Array, at: number, count: number, into: Uint8Array, to: number): number {
  if (count === 0) return to
  const wordAt = (into.byteOffset + to) / 4
  if (Number.isInteger(wordAt)) {
    copyWords(wordViews(into.buffer).words, wordAt, words, at, count)
    return to + count * 4
  }
  reserveScratch(count)
  scratch.set(words.subarray(at, at + count))
  into.set(scratchBytes.subarray(0, count * 4), to)
  return to + count * 4
}

/** Copies bytes at `at` into words; returns the position after them. */
function copyIn(from: Uint8Array, at: number, words: Int32Array, to: number, count: number): number {
  if (count === 0) return at
  const wordAt = (from.byteOffset + at) / 4
  if (Number.isInteger(wordAt)) {
    copyWords(words, to, wordViews(from.buffer).words, wordAt, count)
    return at + count * 4
  }
  reserveScratch(count)
  scratchBytes.set(new Uint8Array(from.buffer, from.byteOffset + at, count * 4))
  words.set(scratch.subarray(0, count), to)
  return at + count * 4
}

/** By layout: a memory has another one when other models take over. */
const identities = new WeakMap<SequenceLayout, readonly Uint8Array[]>()

function identityBytes({ layout }: SequenceMemory, index: number): Uint8Array {
  let known = identities.get(layout)
  if (!known) {
    known = layout.hidden.map(({ identity }) => Buffer.from(identity.slice(0, IDENTITY_BYTES * 2), 'hex'))
    identities.set(layout, known)
  }
  return known[index]!
}

function hasIdentity(from: Uint8Array, at: number, identity: Uint8Array): boolean {
  for (let i = 0; i < IDENTITY_BYTES; i++) if (from[at + i] !== identity[i]) return false
  return true
}
