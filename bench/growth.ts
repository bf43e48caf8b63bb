import { systemClock } from '../src/base/clock.js'
import { EntityStore } from '../src/entity/entity-store.js'
import { hashKey, KeyIndex } from '../src/entity/key-index.js'
import { SequenceMemory } from '../src/inference/sequence-memory.js'
import { round } from './meter.js'

const partitions = 4
const dayMs = 86_400_000
const values = new Float64Array([100])

export interface GrowthResult {
  readonly entities: number
  /** The longest that one new entity took: index, slab and sequence memory grow within it. */
  readonly insertMsMax: number
  readonly insertMicrosMean: number
  /** The longest release of a task, and of how many entities. */
  readonly releaseMsMax: number
  readonly releasedEntities: number
}

/** Pauses of growth and release: entities with windows, a ring of 32 rows and a hidden state come one by one, then each task is given back. */
export function benchGrowth(entities: number): GrowthResult {
  const store = new EntityStore({ keyBytesMax: 32, windowsMs: [dayMs, 7 * dayMs, 30 * dayMs], valueCount: 1, graceMs: 3_600_000, ttlMs: 60 * dayMs, windowEntriesMax: 4096 })
  const memory = new SequenceMemory({ features: 14, window: 32, hidden: [{ identity: '00', floats: 64 }], chunkSlots: 4096 })
  const indexes = Array.from({ length: partitions }, () => new KeyIndex(store.slots))
  let insertMsMax = 0
  const startMs = systemClock.monotonicMs()
  for (let entity = 0; entity < entities; entity++) {
    const beforeMs = systemClock.monotonicMs()
    const key = Buffer.from(String(entity))
    const slot = store.slots.allocate()
    store.slots.setKey(slot, key, 0, key.length, hashKey(key, 0, key.length))
    store.setOwner(slot, entity % partitions)
    indexes[entity % partitions]!.add(slot)
    store.fold(slot, entity, values, entity, null)
    memory.ensureSlots(store.slots.made)
    insertMsMax = Math.max(insertMsMax, systemClock.monotonicMs() - beforeMs)
  }
  const insertMs = systemClock.monotonicMs() - startMs
  let releaseMsMax = 0
  for (const index of indexes) {
    const beforeMs = systemClock.monotonicMs()
    index.forEach((slot) => store.release(slot))
    releaseMsMax = Math.max(releaseMsMax, systemClock.monotonicMs() - beforeMs)
  }
  return {
    entities,
    insertMsMax: round(insertMsMax, 1),
    insertMicrosMean: round((insertMs * 1000) / entities, 2),
    releaseMsMax: round(releaseMsMax, 1),
    releasedEntities: Math.ceil(entities / partitions),
  }
}
