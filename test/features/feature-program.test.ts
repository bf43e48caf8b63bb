import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Prng } from '../../src/base/prng.js'
import { EntityStore } from '../../src/entity/entity-store.js'
import { FeatureProgram, neededFields, windowNeeds } from '../../src/features/feature-program.js'
import { featureSchema, type FeatureKind, type FeatureSpec } from '../../src/features/feature-spec.js'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const graceMs = 2 * hourMs

interface Event {
  readonly timeMs: number
  readonly amount: number
  readonly tip: number
}

const parse = (...specs: object[]): FeatureSpec[] => specs.map((spec) => featureSchema.parse(spec))

/** Every kind of the vocabulary at least once, windows of several lengths, two summed fields. */
const vocabulary = parse(
  { name: 'value', kind: 'value', field: 'amount', scale: 0.01 },
  { name: 'log1p', kind: 'log1p', field: 'tip', scale: 0.5 },
  { name: 'sin', kind: 'hourSin' },
  { name: 'cos', kind: 'hourCos' },
  { name: 'weekend', kind: 'weekend' },
  { name: 'night', kind: 'night' },
  { name: 'count1h', kind: 'count', window: '1h' },
  { name: 'count3d', kind: 'count', window: '3d' },
  { name: 'sum', kind: 'sum', field: 'tip', window: '3d' },
  { name: 'mean', kind: 'mean', field: 'amount', window: '1h', scale: 0.01 },
  { name: 'ratio', kind: 'ratio', field: 'amount', window: '3d' },
  { name: 'since', kind: 'timeSince', unit: '1m' },
  { name: 'category', kind: 'category', field: 'tip', values: [3, 1, 7] },
  { name: 'logSince', kind: 'timeSince', unit: '1s', log1p: true },
)

/** The definition of each kind, from the entity's whole history: another implementation than the one under test. */
const definitions: { [K in FeatureKind]: (spec: Extract<FeatureSpec, { kind: K }>, event: Event, history: readonly Event[]) => number } = {
  value: (spec, event) => event[spec.field as 'amount'] * spec.scale,
  log1p: (spec, event) => Math.log1p(event[spec.field as 'amount'] * spec.scale),
  hourSin: (_, event) => Math.sin((2 * Math.PI * new Date(event.timeMs).getUTCHours()) / 24),
  hourCos: (_, event) => Math.cos((2 * Math.PI * new Date(event.timeMs).getUTCHours()) / 24),
  weekend: (_, event) => ([0, 6].includes(new Date(event.timeMs).getUTCDay()) ? 1 : 0),
  night: (_, event) => (new Date(event.timeMs).getUTCHours() <= 6 ? 1 : 0),
  count: (spec, event, history) => windowOf(event, history, spec.window).length,
  sum: (spec, event, history) => total(windowOf(event, history, spec.window), spec.field) * spec.scale,
  mean: (spec, event, history) => (total(windowOf(event, history, spec.window), spec.field) / windowOf(event, history, spec.window).length) * spec.scale,
  ratio: (spec, event, history) => {
    const window = windowOf(event, history, spec.window)
    const sum = total(window, spec.field)
    return sum === 0 ? 1 : (event[spec.field as 'amount'] * window.length) / sum
  },
  category: (spec, event) => spec.values.indexOf(event[spec.field as 'tip']) + 1,
  timeSince: (spec, event, history) => {
    const older = history.filter((each) => each !== event && each.timeMs <= event.timeMs).map(({ timeMs }) => timeMs)
    const since = older.length === 0 ? 0 : (event.timeMs - Math.max(...older)) / spec.unit
    return spec.log1p ? Math.log1p(since) : since
  },
}

/** Events with time in (t - w, t], this one included. */
function windowOf({ timeMs }: Event, history: readonly Event[], windowMs: number): Event[] {
  return history.filter((each) => each.timeMs > timeMs - windowMs && each.timeMs <= timeMs)
}

function total(events: readonly Event[], field: string): number {
  return events.reduce((sum, event) => sum + event[field as 'amount'], 0)
}

class Bench {
  readonly program: FeatureProgram
  readonly #store: EntityStore
  readonly #slot: number
  readonly #fields: string[]
  #streamTimeMs = 0

  constructor(specs: readonly FeatureSpec[]) {
    const { windowsMs, summedFields } = windowNeeds(specs)
    this.#store = new EntityStore({ keyBytesMax: 8, windowsMs, valueCount: summedFields.length, graceMs, ttlMs: 1e15, windowEntriesMax: 4096 })
    this.program = new FeatureProgram(specs, this.#store.log)
    this.#slot = this.#store.slots.allocate()
    this.#fields = neededFields(specs)
  }

  row(event: Event): Float32Array {
    this.#streamTimeMs = Math.max(this.#streamTimeMs, event.timeMs)
    this.#fields.forEach((field, index) => {
      this.program.values[index] = event[field as 'amount']
    })
    this.#store.fold(this.#slot, event.timeMs, this.program.summed, this.#streamTimeMs, null)
    const row = new Float32Array(this.program.names.length)
    this.program.writeRow(event.timeMs, row, 0)
    return row
  }
}

describe('features', () => {
  it('every kind equals its definition over the whole history, out-of-order events included, to the last float32 bit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const prng = new Prng(seed)
        const bench = new Bench(vocabulary)
        const history: Event[] = []
        const gapMaxMs = [1000, 10 * 60_000, 6 * hourMs, 4 * dayMs][prng.below(4)]!
        let now = 1_700_000_000_000
        for (let i = 0; i < 80; i++) {
          now += prng.below(gapMaxMs)
          const event = { timeMs: now - (prng.below(4) === 0 ? prng.below(graceMs + 1) : 0), amount: prng.below(50_000), tip: prng.below(2) * prng.below(300) }
          history.push(event)
          const row = bench.row(event)
          vocabulary.forEach((spec, index) => {
            const expected = Math.fround((definitions[spec.kind] as (...all: unknown[]) => number)(spec, event, history))
            assert.equal(row[index], expected, `event ${i}: ${spec.name} is ${row[index]}, by definition ${expected}`)
          })
        }
      }),
      { numRuns: 60 },
    )
  })

  it('the week begins on Monday and night ends before seven, in UTC', () => {
    const bench = new Bench(vocabulary)
    const at = (iso: string): { weekend: number; night: number } => {
      const row = bench.row({ timeMs: Date.parse(iso), amount: 1, tip: 0 })
      const named = (name: string): number => row[bench.program.names.indexOf(name)]!
      return { weekend: named('weekend'), night: named('night') }
    }
    assert.deepEqual(at('2024-01-05T23:59:59.999Z'), { weekend: 0, night: 0 })
    assert.deepEqual(at('2024-01-06T00:00:00.000Z'), { weekend: 1, night: 1 })
    assert.deepEqual(at('2024-01-07T06:59:59.999Z'), { weekend: 1, night: 1 })
    assert.deepEqual(at('2024-01-07T23:59:59.999Z'), { weekend: 1, night: 0 })
    assert.deepEqual(at('2024-01-08T07:00:00.000Z'), { weekend: 0, night: 0 })
  })

  it('a window is open at its old end and closed at its new one', () => {
    const bench = new Bench(parse({ name: 'n', kind: 'count', window: '1h' }))
    const count = (timeMs: number): number => bench.row({ timeMs, amount: 0, tip: 0 })[0]!
    assert.equal(count(10 * hourMs), 1)
    assert.equal(count(11 * hourMs - 1), 2)
    assert.equal(count(11 * hourMs), 2)
  })

  it('what the store keeps follows from the features: each window once, each summed field once', () => {
    assert.deepEqual(windowNeeds(vocabulary), { windowsMs: [hourMs, 3 * dayMs], summedFields: ['tip', 'amount'] })
    assert.deepEqual(neededFields(vocabulary), ['tip', 'amount'])
    assert.deepEqual(windowNeeds(parse({ name: 'a', kind: 'night' })), { windowsMs: [], summedFields: [] })
  })
})
