import { crc32 } from 'node:zlib'
import type { Arena } from '../base/arena.js'
import { assert } from '../base/assert.js'
import { HarrierError } from '../base/errors.js'
import { wordViews } from '../base/word-views.js'
import type { EntityStore } from '../entity/entity-store.js'
import type { SequenceMemory } from '../inference/sequence-memory.js'
import { exportBytesMax, exportNothing, exportSlot, importSlot } from '../inference/slot-sections.js'

// The value of a changelog record, little-endian:
//   u8 format, u8 flags (1 = deleted), u16 zero, u32 crc32 of all that follows
//   f64 asOf: sequence of the batch that the slot reflects
//   u32 words, u32 zero, words * f64 (EntityStore.exportWords), then the sequence memory (slot-sections.ts)
const format = 1
const deletedFlag = 1
const headBytes = 8
const bodyAt = headBytes + 16

export interface SlotState {
  readonly store: EntityStore
  readonly memory: SequenceMemory
}

/** Appends the record's value to the arena, which has been aligned, and returns its length. The slot is in no frame in flight. `isBlank`: no row of the entity is in its sequence memory. */
export function appendSlotRecord(arena: Arena, { store, memory }: SlotState, slot: number, asOf: number, isBlank = false): number {
  const words = store.exportLength(slot)
  arena.reserve(bodyAt + words * 8 + exportBytesMax(memory))
  const at = arena.used
  assert(at % 8 === 0, 'a record of words is aligned')
  writeHead(arena, 0, asOf, words)
  store.writeWords(slot, wordViews(arena.bytes.buffer).doubles, (at + bodyAt) / 8)
  const memoryAt = at + bodyAt + words * 8
  arena.used = isBlank ? exportNothing(arena.bytes, memoryAt) : exportSlot(memory, slot, arena.bytes, memoryAt)
  return seal(arena, at)
}

/** The record of an entity that is gone; it keeps `asOf`, so that a restore does not fold older batches into it. */
export function appendDeletion(arena: Arena, asOf: number): number {
  arena.reserve(bodyAt)
  const at = arena.used
  writeHead(arena, deletedFlag, asOf, 0)
  arena.used = at + bodyAt
  return seal(arena, at)
}

/** What a record says about its entity. */
export interface SlotRecordHead {
  readonly asOf: number
  readonly deleted: boolean
}

/** Reads a record into a slot. `where` names it in errors: RESTORE_IMPOSSIBLE (corrupt), LAYOUT_CHANGED. */
export function readSlotRecord(value: Uint8Array, { store, memory }: SlotState, slot: number, where: () => string): SlotRecordHead {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  if (value.length < bodyAt || view.getUint32(4, true) !== crc32(value.subarray(headBytes))) {
    throw new HarrierError('RESTORE_IMPOSSIBLE', `the changelog record at ${where()} is corrupt (its checksum does not fit)`, {
      remedy: 'restore the topic from a replica or a copy; or delete the state topic and rebuild the state by folding the input again',
    })
  }
  if (value[0] !== format) throw new HarrierError('LAYOUT_CHANGED', `the changelog record at ${where()} has format ${value[0]}, this version reads ${format}`)
  const head = { asOf: view.getFloat64(headBytes, true), deleted: (value[1]! & deletedFlag) !== 0 }
  const count = view.getUint32(headBytes + 8, true)
  if (bodyAt + count * 8 > value.length) throw new HarrierError('RESTORE_IMPOSSIBLE', `the changelog record at ${where()} ends too early`)
  let wordsAt = (value.byteOffset + bodyAt) / 8
  let words = wordViews(value.buffer).doubles
  if (!Number.isInteger(wordsAt)) {
    words = new Float64Array(Uint8Array.from(value.subarray(bodyAt, bodyAt + count * 8)).buffer)
    wordsAt = 0
  }
  if (!store.importWords(slot, words, head.asOf, wordsAt, count)) throw new HarrierError('LAYOUT_CHANGED', `the changelog record at ${where()} has other windows than the topology`)
  memory.ensureSlots(store.slots.made)
  if (head.deleted) memory.resetSlot(slot)
  else importSlot(memory, slot, value, bodyAt + count * 8)
  return head
}

function writeHead(arena: Arena, flags: number, asOf: number, words: number): void {
  const { view, used: at } = arena
  view.setUint32(at, format | (flags << 8), true)
  view.setFloat64(at + headBytes, asOf, true)
  view.setUint32(at + headBytes + 8, words, true)
  view.setUint32(at + headBytes + 12, 0, true)
}

function seal(arena: Arena, at: number): number {
  arena.view.setUint32(at + 4, crc32(arena.bytes.subarray(at + headBytes, arena.used)), true)
  return arena.used - at
}
