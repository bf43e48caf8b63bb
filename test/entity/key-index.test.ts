import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hashKey, KeyIndex } from '../../src/entity/key-index.js'
import { SlotTable } from '../../src/entity/slot-table.js'

const entities = 200_000

/** Counts the buckets that are placed, each of which asks for the hash of its slot. */
class CountingSlots extends SlotTable {
  asked = 0
  override hashOf(slot: number): number {
    this.asked++
    return super.hashOf(slot)
  }
}

test('growth of slabs and index is spread: an insertion moves at most 16 buckets and copies no slot', () => {
  const slots = new CountingSlots({ keyBytesMax: 8, coreWords: 4 })
  const index = new KeyIndex(slots)
  const key = new Uint8Array(8)
  const view = new DataView(key.buffer)
  let most = 0
  let growths = 0
  let bytes = index.bytes
  const first = slots.coreOf(1)
  for (let i = 0; i < entities; i++) {
    view.setUint32(0, i)
    const hash = hashKey(key, 0, 8)
    const slot = slots.allocate()
    slots.setKey(slot, key, 0, 8, hash)
    const before = slots.asked
    index.add(slot)
    most = Math.max(most, slots.asked - before)
    if (index.bytes > bytes) growths++
    bytes = index.bytes
  }
  assert.ok(growths >= 3, `${growths} growths`)
  assert.ok(most > 1 && most <= 17, `an insertion placed ${most} buckets`)
  assert.equal(slots.coreOf(1), first, 'the first slab is where it was')
  assert.equal(index.size, entities)
  // In the middle of growth nothing is lost: every key is found.
  for (let i = 0; i < entities; i += 97) {
    view.setUint32(0, i)
    assert.equal(index.find(key, 0, 8, hashKey(key, 0, 8)), i + 1)
  }
})
