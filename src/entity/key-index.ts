import { assert } from '../base/assert.js'
import type { SlotTable } from './slot-table.js'

const initialBuckets = 1024
/** Old buckets moved for each insertion while the table grows: an insertion never pauses for a whole rehash. */
const movedPerInsert = 8
const empty = 0
const removed = -1

/** 32-bit FNV-1a with a final avalanche. */
export function hashKey(bytes: Uint8Array, at: number, length: number): number {
  let hash = 0x811c9dc5
  for (let i = at; i < at + length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  return hash >>> 0
}

/**
 * From key bytes to slot: open addressing with linear probing over slots of a `SlotTable`, which holds keys and
 * hashes. No string and no object is made for a key. Growth is incremental: two tables live side by side until the
 * old one is empty.
 */
export class KeyIndex {
  readonly #slots: SlotTable
  #table = new Int32Array(initialBuckets)
  #filled = 0 // live and removed buckets of #table
  #old: Int32Array | undefined
  #oldAt = 0
  /** Entities in the index. */
  size = 0

  constructor(slots: SlotTable) {
    this.#slots = slots
  }

  /** The slot of a key, or -1. */
  find(bytes: Uint8Array, at: number, length: number, hash: number): number {
    const slot = this.#probe(this.#table, bytes, at, length, hash)
    return slot < 0 && this.#old ? this.#probe(this.#old, bytes, at, length, hash) : slot
  }

  /** Adds a slot whose key and hash are already in the slot table. */
  add(slot: number): void {
    if (this.#old) this.#move(movedPerInsert)
    else if ((this.#filled + 1) * 2 > this.#table.length) this.#grow()
    this.#place(slot)
    this.size++
  }

  remove(slot: number): void {
    const hash = this.#slots.hashOf(slot)
    const found = this.#erase(this.#table, slot, hash) || (this.#old !== undefined && this.#erase(this.#old, slot, hash))
    assert(found, 'a removed slot was in the index')
    this.size--
  }

  /** Its slots, in no order that means anything. The index must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (const table of this.#old ? [this.#table, this.#old] : [this.#table]) {
      for (const bucket of table) if (bucket > 0) yield bucket - 1
    }
  }

  /**
   * Appends the slots of one segment, whose keys' hashes are `segment` modulo `segments`, in the order of hashes and keys: neither
   * where slots lie nor how the table has grown shows in it. Costs a probe for each bucket of the segment. Powers of two only.
   */
  collect(segment: number, segments: number, into: number[]): void {
    const from = into.length
    for (const table of this.#old ? [this.#table, this.#old] : [this.#table]) {
      const mask = table.length - 1
      for (let home = segment & mask; home < table.length; home += segments) {
        for (let i = home; table[i] !== empty; i = (i + 1) & mask) {
          const slot = table[i]! - 1
          if (slot < 0) continue
          const hash = this.#slots.hashOf(slot)
          if ((hash & mask) === home && (hash & (segments - 1)) === segment) into.push(slot)
        }
      }
    }
    if (into.length - from < 2) return
    const sorted = into.splice(from).sort((a, b) => this.#slots.hashOf(a) - this.#slots.hashOf(b) || Buffer.compare(this.#slots.keyOf(a), this.#slots.keyOf(b)))
    for (const slot of sorted) into.push(slot)
  }

  get bytes(): number {
    return this.#table.byteLength + (this.#old?.byteLength ?? 0)
  }

  #probe(table: Int32Array, bytes: Uint8Array, at: number, length: number, hash: number): number {
    const mask = table.length - 1
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const bucket = table[i]!
      if (bucket === empty) return -1
      if (bucket > 0 && this.#slots.keyEquals(bucket - 1, hash, bytes, at, length)) return bucket - 1
    }
  }

  #place(slot: number): void {
    const table = this.#table
    const mask = table.length - 1
    let i = this.#slots.hashOf(slot) & mask
    while (table[i]! > 0) i = (i + 1) & mask
    if (table[i] === empty) this.#filled++
    table[i] = slot + 1
  }

  #erase(table: Int32Array, slot: number, hash: number): boolean {
    const mask = table.length - 1
    for (let i = hash & mask; table[i] !== empty; i = (i + 1) & mask) {
      if (table[i] === slot + 1) {
        table[i] = removed
        return true
      }
    }
    return false
  }

  #grow(): void {
    this.#old = this.#table
    this.#oldAt = 0
    // Many removals: the same size again sweeps them out.
    this.#table = new Int32Array(this.size * 4 > this.#old.length ? this.#old.length * 4 : this.#old.length)
    this.#filled = 0
    this.#move(movedPerInsert)
  }

  #move(buckets: number): void {
    const old = this.#old!
    const end = Math.min(old.length, this.#oldAt + buckets)
    for (; this.#oldAt < end; this.#oldAt++) {
      const bucket = old[this.#oldAt]!
      if (bucket > 0) {
        old[this.#oldAt] = removed // keeps the probe chains of what is still to move
        this.#place(bucket - 1)
      }
    }
    if (this.#oldAt === old.length) this.#old = undefined
  }
}
