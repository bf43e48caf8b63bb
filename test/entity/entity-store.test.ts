import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Prng } from '../../src/base/prng.js'
import { EntityStore } from '../../src/entity/entity-store.js'
import { UndoLog } from '../../src/entity/undo-log.js'

const hourMs = 3_600_000
const windowsMs = [2 * hourMs, 14 * hourMs, 60 * hourMs]
const graceMs = 3 * hourMs

interface Event {
  readonly timeMs: number
  readonly amount: number
}

function foldAt(store: EntityStore, slot: number, timeMs: number, values: Float64Array, streamTimeMs: number, undo: UndoLog | null): boolean {
  store.log.moment.set([timeMs, streamTimeMs])
  return store.fold(slot, values, undo)
}

function makeStore(options: { ttlMs?: number; windowEntriesMax?: number } = {}): EntityStore {
  return new EntityStore({
    keyBytesMax: 8,
    windowsMs,
    valueCount: 1,
    graceMs,
    ttlMs: options.ttlMs ?? 1e15,
    windowEntriesMax: options.windowEntriesMax ?? 4096,
  })
}

/** Count and sum over (t - w, t] of all events that came before, by definition. */
function naive(before: readonly Event[], event: Event): { counts: number[]; sums: number[]; previousTimeMs: number } {
  const known = [...before, event]
  const inWindow = (w: number): Event[] => known.filter((e) => e.timeMs > event.timeMs - w && e.timeMs <= event.timeMs)
  const older = before.filter((e) => e.timeMs <= event.timeMs).map((e) => e.timeMs)
  return {
    counts: windowsMs.map((w) => inWindow(w).length),
    sums: windowsMs.map((w) => inWindow(w).reduce((sum, e) => sum + e.amount, 0)),
    previousTimeMs: older.length > 0 ? Math.max(...older) : -1,
  }
}

/** Gaps from zero to days, steps back within and beyond grace. */
function randomEvents(seed: number, count: number): Event[] {
  const prng = new Prng(seed)
  const gapMaxMs = [1, hourMs / 10, hourMs, 30 * hourMs][prng.below(4)]!
  const jitterMs = [0, 1, hourMs, 4 * hourMs][prng.below(4)]!
  let timeMs = 1e12
  return Array.from({ length: count }, () => {
    timeMs += prng.below(gapMaxMs + 1)
    return { timeMs: timeMs - prng.below(jitterMs + 1), amount: prng.below(100_000) }
  })
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 })

test('windows equal a naive recomputation, out-of-order and late events included', () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 1, max: 300 }), (seed, count) => {
      const store = makeStore()
      const slot = store.slots.allocate()
      const seen: Event[] = []
      let streamTimeMs = 0
      for (const event of randomEvents(seed, count)) {
        streamTimeMs = Math.max(streamTimeMs, event.timeMs)
        const late = event.timeMs + graceMs < streamTimeMs
        const values = Float64Array.of(event.amount)
        if (late) store.peek(slot, event.timeMs, values, streamTimeMs)
        else foldAt(store, slot, event.timeMs, values, streamTimeMs, null)
        const expected = naive(seen, event)
        if (!late) {
          assert.deepEqual([...store.log.counts], expected.counts)
          assert.deepEqual([...store.log.sums], expected.sums)
          assert.equal(store.log.previousTimeMs, expected.previousTimeMs)
          seen.push(event)
        }
      }
    }),
    { numRuns: 300 },
  )
})

test('a rollback of any batch restores the exact words of every entity, and the blocks', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const prng = new Prng(seed)
      const store = makeStore({ ttlMs: 70 * hourMs, windowEntriesMax: 32 })
      const twin = makeStore({ ttlMs: 70 * hourMs, windowEntriesMax: 32 })
      const slots = Array.from({ length: 4 }, () => [store.slots.allocate(), twin.slots.allocate()] as const)
      const undo = new UndoLog()
      let streamTimeMs = 0
      const events = randomEvents(seed, 300)
      for (let at = 0; at < events.length; ) {
        const batch = events.slice(at, at + 1 + prng.below(40)).map((event) => ({ event, slot: slots[prng.below(4)]! }))
        const aborts = prng.below(3) === 0
        const before = streamTimeMs
        for (const { event, slot } of batch) {
          streamTimeMs = Math.max(streamTimeMs, event.timeMs)
          if (event.timeMs + graceMs < streamTimeMs) continue
          foldAt(store, slot[0], event.timeMs, Float64Array.of(event.amount), streamTimeMs, undo)
          if (!aborts) foldAt(twin, slot[1], event.timeMs, Float64Array.of(event.amount), streamTimeMs, null)
        }
        if (aborts) {
          store.rollback(undo)
          streamTimeMs = before
        } else {
          store.commit(undo)
          at += batch.length
        }
        for (const [slot, twinSlot] of slots) assert.deepEqual(store.exportWords(slot), twin.exportWords(twinSlot))
      }
    }),
    { numRuns: 200 },
  )
})

test('an entity past its ttl starts anew', () => {
  const store = makeStore({ ttlMs: 100 * hourMs })
  const slot = store.slots.allocate()
  const values = Float64Array.of(5)
  assert.equal(foldAt(store, slot, 0, values, 0, null), true)
  assert.equal(foldAt(store, slot, 100 * hourMs, values, 100 * hourMs, null), false)
  assert.equal(foldAt(store, slot, 201 * hourMs, values, 201 * hourMs, null), true)
  assert.equal(store.log.previousTimeMs, -1)
  assert.deepEqual([...store.log.counts], [1, 1, 1])
})

test('a log at its cap is tiled: memory is bounded and a count is too high by less than one tile', () => {
  const store = makeStore({ windowEntriesMax: 1024 })
  const slot = store.slots.allocate()
  const stepMs = 5000
  const eventsPerTile = store.log.tileMs / stepMs
  for (let i = 0; i < 200_000; i++) {
    const timeMs = 1e12 + i * stepMs
    foldAt(store, slot, timeMs, Float64Array.of(3), timeMs, null)
    for (const [w, windowMs] of windowsMs.entries()) {
      const excess = store.log.counts[w]! - Math.min(i + 1, windowMs / stepMs)
      assert.ok(excess >= 0 && excess <= eventsPerTile, `event ${i}: window ${w} is off by ${excess}`)
      assert.equal(store.log.sums[w], store.log.counts[w]! * 3)
    }
  }
  assert.ok(store.log.tiledMerges > 10)
  assert.ok(store.log.bytes <= 8 * 2 ** 20)
})

test('abandoned slots are given back one by one as new ones are wanted, with nothing left in them', () => {
  const store = makeStore()
  const abandoned = Array.from({ length: 100 }, (_, i) => {
    const slot = store.allocate()
    store.setOwner(slot, 3)
    foldAt(store, slot, 1e12 + i, Float64Array.of(i), 1e12, null)
    return slot
  })
  const { made } = store.slots
  const { bytes } = store
  store.abandon(abandoned)
  const again = Array.from({ length: 100 }, () => {
    const slot = store.allocate()
    assert.ok(store.isEmpty(slot) && store.owner(slot) === -1)
    foldAt(store, slot, 1e12, Float64Array.of(1), 1e12, null)
    return slot
  })
  assert.deepEqual([...again].sort((a, b) => a - b), abandoned)
  assert.equal(store.slots.made, made)
  assert.equal(store.bytes, bytes)
})
