import { Prng } from '../base/prng.js'
import { RecordColumns } from '../base/record-columns.js'
import { prefixBytes, schemaPrefix } from '../codec/registry-prefix.js'
import { CounterSource } from '../simulator/counter-source.js'
import { AvroRecordEncoder } from '../simulator/record-encoder.js'

export interface SoakRecord {
  readonly partition: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** What its scored event is named; null where the record must become a dead letter. */
  readonly id: string | null
}

export interface SoakInputOptions {
  readonly events: number
  readonly partitions: number
  /** Few, so that each is hot. */
  readonly cards: number
  readonly seed: number
  /** Of schemas/transaction.avsc. */
  readonly schemaId: number
}

/** Day 0 of the events. */
const epochMs = Date.UTC(2018, 3, 1)
/** Each tenth record comes some places too late: most of these within the grace period, some behind it. */
const displacedShare = 0.1
const displacedPlacesMax = 12
/** And each fiftieth far too late. */
const lateShare = 0.02
const latePlaces = 300
const malformedShare = 0.01
/** A third of the payments are of three cards. */
const hotShare = 0.33
const hotCards = 3
const unknownSchemaId = 1_987_654
const simulatedDaysMax = 20_000

/** The records of a soak in the order of their production: the same for the same options, whatever happens later. */
export function soakRecords(options: SoakInputOptions): SoakRecord[] {
  const { events, partitions, cards, seed, schemaId } = options
  const random = new Prng(seed)
  const source = new CounterSource({ customers: cards, terminals: 200, radius: 30, days: simulatedDaysMax, seed })
  const encoder = new AvroRecordEncoder({ epochMs, labelDelayMs: 0 }, { transaction: schemaId, label: schemaId })
  const encoded = new RecordColumns(1)
  const placed: { place: number; record: SoakRecord }[] = []
  for (const chunk of source.chunks({ fromDay: 0, toDay: simulatedDaysMax })) {
    for (let row = 0; row < chunk.count && placed.length < events; row++) {
      if (random.uniform() < hotShare) chunk.customer[row] = random.below(Math.min(hotCards, cards))
      const customer = chunk.customer[row]!
      const malformed = random.uniform() < malformedShare ? random.below(malformations.length) : -1
      encoded.reset()
      encoder.transaction(chunk, row, encoded, 0, 0)
      const good: SoakRecord = { partition: customer % partitions, key: Buffer.from(encoded.key(0)!), value: Buffer.from(encoded.value(0)!), id: String(chunk.firstId + row) }
      const index = placed.length
      const luck = random.uniform()
      const delay = luck < lateShare ? latePlaces : luck < lateShare + displacedShare ? 1 + random.below(displacedPlacesMax) : 0
      placed.push({ place: index + delay, record: malformed < 0 ? good : { ...good, id: null, ...malformations[malformed]!(good.value!) } })
    }
    if (placed.length === events) break
  }
  // The sort is stable: what was not displaced keeps its order.
  placed.sort((a, b) => a.place - b.place)
  return placed.map(({ record }) => record)
}

const malformations: readonly ((value: Buffer) => { value: Buffer | null } | { key: null })[] = [
  () => ({ value: null }),
  () => ({ key: null }),
  (value) => ({ value: value.subarray(0, value.length - 6) }),
  (value) => ({ value: Buffer.concat([Buffer.from([7]), value.subarray(1)]) }),
  (value) => ({ value: Buffer.concat([schemaPrefix(unknownSchemaId), value.subarray(prefixBytes)]) }),
  () => ({ value: Buffer.from('{"transaction_id": 1, ') }),
]
