import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Prng } from '../../src/base/prng.js'
import { EntityStore } from '../../src/entity/entity-store.js'
import { hashId } from '../../src/entity/id-hash.js'
import { UndoLog } from '../../src/entity/undo-log.js'
import { FeatureProgram, neededFields, storeNeeds, windowNeeds } from '../../src/features/feature-program.js'
import { featureSchema, type FeatureKind, type FeatureSpec } from '../../src/features/feature-spec.js'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const graceMs = 2 * hourMs

interface Event {
  readonly timeMs: number
  readonly amount: number
  readonly tip: number
  readonly id?: number
  /** What it turned out to be, as far as it is known. */
  isFraud?: boolean
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
  { name: 'delayedCount', kind: 'count', window: '1d', delay: '7h' },
  { name: 'delayedSum', kind: 'sum', field: 'tip', window: '1d', delay: '7h' },
  { name: 'delayedMean', kind: 'mean', field: 'amount', window: '5d', delay: '2d', scale: 0.01 },
  { name: 'delayedRatio', kind: 'ratio', field: 'amount', window: '5d', delay: '2d' },
  { name: 'std', kind: 'std', field: 'amount', window: '3d', scale: 0.01 },
  { name: 'min', kind: 'min', field: 'amount', window: '1d', delay: '1h' },
  { name: 'max', kind: 'max', field: 'tip', window: '3d' },
  { name: 'distinct', kind: 'distinctCount', field: 'tip', window: '3d' },
  { name: 'lastCount', kind: 'count', window: '1d', last: 4, log1p: true },
  { name: 'lastRatio', kind: 'ratio', field: 'amount', window: '5d', last: 3 },
  { name: 'delayedLastSum', kind: 'sum', field: 'tip', window: '1d', delay: '7h', last: 2 },
  { name: 'frauds', kind: 'labelCount', window: '5d', delay: '1d' },
  { name: 'smallFrauds', kind: 'labelCount', window: '5d', where: { field: 'amount', below: 20_000 } },
  { name: 'risk', kind: 'labelRate', window: '5d', delay: '1d' },
  { name: 'sinceFraud', kind: 'timeSinceLabel', memory: '9d', unit: '1d', cap: 8 },
  { name: 'sinceGenuine', kind: 'timeSinceLabel', label: 'genuine', memory: '9d', unit: '1h', cap: 100, log1p: true },
  { name: 'run', kind: 'labelRun', memory: '9d' },
  { name: 'runAge', kind: 'labelRunAge', memory: '9d' },
  { name: 'smallRun', kind: 'labelRun', memory: '9d', where: { field: 'amount', below: 20_000 } },
)

/** The definition of each kind, from the entity's whole history: another implementation than the one under test. */
const definitions: { [K in FeatureKind]: (spec: Extract<FeatureSpec, { kind: K }>, event: Event, history: readonly Event[]) => number } = {
  value: (spec, event) => event[spec.field as 'amount'] * spec.scale,
  log1p: (spec, event) => Math.log1p(event[spec.field as 'amount'] * spec.scale),
  hourSin: (_, event) => Math.sin((2 * Math.PI * new Date(event.timeMs).getUTCHours()) / 24),
  hourCos: (_, event) => Math.cos((2 * Math.PI * new Date(event.timeMs).getUTCHours()) / 24),
  weekend: (_, event) => ([0, 6].includes(new Date(event.timeMs).getUTCDay()) ? 1 : 0),
  night: (_, event) => (new Date(event.timeMs).getUTCHours() <= 6 ? 1 : 0),
  count: (spec, event, history) => {
    const { length } = windowOf(event, history, spec.window, spec.delay, lastOf(spec))
    return spec.log1p ? Math.log1p(length) : length
  },
  sum: (spec, event, history) => total(windowOf(event, history, spec.window, spec.delay, lastOf(spec)), spec.field) * spec.scale,
  mean: (spec, event, history) => {
    const window = windowOf(event, history, spec.window, spec.delay, lastOf(spec))
    return window.length === 0 ? 0 : (total(window, spec.field) / window.length) * spec.scale
  },
  std: (spec, event, history) => {
    const values = valuesOf(windowOf(event, history, spec.window, spec.delay, lastOf(spec)), spec.field)
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    return values.length === 0 ? 0 : Math.sqrt(values.reduce((sum, value) => sum + (value - mean) * (value - mean), 0) / values.length) * spec.scale
  },
  min: (spec, event, history) => least(valuesOf(windowOf(event, history, spec.window, spec.delay, lastOf(spec)), spec.field), 1) * spec.scale,
  max: (spec, event, history) => least(valuesOf(windowOf(event, history, spec.window, spec.delay, lastOf(spec)), spec.field), -1) * spec.scale,
  distinctCount: (spec, event, history) => new Set(valuesOf(windowOf(event, history, spec.window, spec.delay, lastOf(spec)), spec.field)).size,
  labelCount: (spec, event, history) => windowOf(event, history, spec.window, spec.delay, lastOf(spec)).filter(({ isFraud, amount }) => isFraud === true && amount < (spec.where?.below ?? Infinity)).length,
  labelRate: (spec, event, history) => {
    const window = windowOf(event, history, spec.window, spec.delay, lastOf(spec))
    return window.length === 0 ? 0 : window.filter(({ isFraud }) => isFraud === true).length / window.length
  },
  timeSinceLabel: (spec, event, history) => {
    const times = windowOf(event, history, spec.memory).filter(({ isFraud }) => isFraud === (spec.label === 'fraud')).map(({ timeMs }) => timeMs)
    const since = Math.min(spec.cap, (event.timeMs - Math.max(...times)) / spec.unit)
    return spec.log1p ? Math.log1p(since) : since
  },
  labelRun: (spec, event, history) => runOf(event, history, spec).length,
  labelRunAge: (spec, event, history) => {
    const run = runOf(event, history, spec)
    return run.length === 0 ? spec.cap : Math.min(spec.cap, (event.timeMs - run[0]!.timeMs) / spec.unit)
  },
  ratio: (spec, event, history) => {
    const window = windowOf(event, history, spec.window, spec.delay, lastOf(spec))
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

/** The last events with time in (t - d - w, t - d], in the order of their times; of equal ones the first comes first. */
function windowOf({ timeMs }: Event, history: readonly Event[], windowMs: number, delayMs = 0, last = Infinity): Event[] {
  const inside = history.filter((each) => each.timeMs > timeMs - delayMs - windowMs && each.timeMs <= timeMs - delayMs)
  return inside.sort((a, b) => a.timeMs - b.timeMs).slice(-last)
}

function lastOf(spec: object): number | undefined {
  return (spec as { last?: number }).last
}

function valuesOf(events: readonly Event[], field: string): number[] {
  return events.map((event) => event[field as 'amount'])
}

function least(values: readonly number[], sign: number): number {
  return values.length === 0 ? 0 : values.reduce((least, value) => (value * sign < least * sign ? value : least))
}

function runOf(event: Event, history: readonly Event[], spec: { memory: number; where?: { below?: number | undefined } | undefined }): Event[] {
  const known = windowOf(event, history, spec.memory).filter(({ isFraud }) => isFraud !== undefined)
  const genuine = known.findLastIndex(({ isFraud }) => isFraud === false)
  return known.slice(genuine + 1).filter(({ amount }) => amount < (spec.where?.below ?? Infinity))
}

function total(events: readonly Event[], field: string): number {
  return events.reduce((sum, event) => sum + event[field as 'amount'], 0)
}

class Bench {
  readonly program: FeatureProgram
  readonly #store: EntityStore
  readonly #fields: string[]
  readonly #undo = new UndoLog()
  #slot: number
  #streamTimeMs = 0

  constructor(specs: readonly FeatureSpec[], windowEntriesMax = 4096) {
    this.#store = new EntityStore({ keyBytesMax: 8, ...storeNeeds(specs), graceMs, ttlMs: 1e15, windowEntriesMax })
    this.program = new FeatureProgram(specs, this.#store.log)
    this.#slot = this.#store.slots.allocate()
    this.#fields = neededFields(specs)
  }

  row(event: Event): Float32Array {
    this.#fold(event, null)
    return this.#written(event)
  }

  get logEntries(): number {
    return this.#store.exportWords(this.#slot)[2]!
  }

  /** The row of a late event, which leaves everything as it is. */
  lateRow(event: Event): Float32Array {
    this.#fill(event)
    this.#store.peek(this.#slot, event.timeMs, this.program.entry, this.#streamTimeMs)
    return this.#written(event)
  }

  label(id: number, isFraud: boolean): string {
    return this.#store.label(this.#slot, idHash(id), isFraud, null)
  }

  /** An event and a label that are rolled back. */
  tryOut(event: Event, labelled: number): void {
    const before = this.#store.exportWords(this.#slot)
    const streamTimeMs = this.#streamTimeMs
    this.#store.label(this.#slot, idHash(labelled), true, this.#undo)
    this.#fold(event, this.#undo)
    this.#store.label(this.#slot, idHash(event.id!), true, this.#undo)
    this.#store.label(this.#slot, idHash(event.id!), false, this.#undo)
    this.#store.rollback(this.#undo)
    this.#streamTimeMs = streamTimeMs
    assert.deepEqual(this.#store.exportWords(this.#slot), before, 'a rollback leaves no trace')
  }

  /** The entity goes through its changelog record into another slot. */
  move(): void {
    const words = this.#store.exportWords(this.#slot)
    this.#store.release(this.#slot)
    this.#slot = this.#store.slots.allocate()
    assert.ok(this.#store.importWords(this.#slot, words, 0))
  }

  #fold(event: Event, undo: UndoLog | null): void {
    this.#streamTimeMs = Math.max(this.#streamTimeMs, event.timeMs)
    this.#fill(event)
    this.#store.log.moment.set([event.timeMs, this.#streamTimeMs])
    this.#store.fold(this.#slot, this.program.entry, undo)
  }

  #fill(event: Event): void {
    this.#fields.forEach((field, index) => {
      this.program.values[index] = event[field as 'amount']
    })
    const id = Buffer.from(String(event.id))
    this.program.takeEntry(id, 0, id.length)
  }

  #written(event: Event): Float32Array {
    const row = new Float32Array(this.program.names.length)
    this.#store.log.moment[0] = event.timeMs
    this.program.writeRow(row, 0)
    return row
  }
}

function idHash(id: number): number {
  const bytes = Buffer.from(String(id))
  return hashId(bytes, 0, bytes.length)
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
        const check = (row: Float32Array, event: Event, of: readonly Event[]): void =>
          vocabulary.forEach((spec, index) => {
            const expected = Math.fround((definitions[spec.kind] as (...all: unknown[]) => number)(spec, event, of))
            assert.ok(Object.is(row[index]! + 0, expected + 0), `event ${event.id}: ${spec.name} is ${row[index]}, by definition ${expected}`)
          })
        for (let i = 0; i < 80; i++) {
          now += prng.below(gapMaxMs)
          const draw = (backMs: number): Event => ({ id: i, timeMs: now - backMs, amount: prng.below(50_000), tip: prng.below(2) * prng.below(300) })
          if (i > 0 && prng.below(5) === 0) bench.tryOut(draw(prng.below(2) * prng.below(graceMs)), prng.below(i))
          if (prng.below(12) === 0) bench.move()
          if (history.length > 0 && prng.below(3) === 0) {
            const labelled = history[prng.below(history.length)]!
            const isFraud = prng.below(2) === 0
            const outcome = bench.label(labelled.id!, isFraud)
            // What has left the log is older than every window: it is unknown, and in no feature.
            if (outcome !== 'unknown') {
              assert.equal(outcome, labelled.isFraud === undefined ? 'applied' : labelled.isFraud === isFraud ? 'repeated' : 'conflict')
              labelled.isFraud = isFraud
            } else assert.ok(labelled.timeMs <= now - 9 * dayMs)
          }
          if (prng.below(10) === 0) {
            const late = draw(graceMs + 1)
            check(bench.lateRow(late), late, [...history, late])
            continue
          }
          const event = draw(prng.below(4) === 0 ? prng.below(graceMs + 1) : 0)
          history.push(event)
          check(bench.row(event), event, history)
        }
      }),
      { numRuns: 60 },
    )
  })

  it('features of the last events equal their definition, and the log holds no more than they and the grace period need', () => {
    const last = 5
    const specs = parse(
      { name: 'count', kind: 'count', window: '90d', last },
      { name: 'mean', kind: 'mean', field: 'amount', window: '90d', last: 3 },
      { name: 'ratio', kind: 'ratio', field: 'amount', window: '90d', last },
      { name: 'most', kind: 'max', field: 'tip', window: '1d', last },
      { name: 'since', kind: 'timeSince' },
    )
    assert.equal(storeNeeds(specs).historyEntries, last)
    assert.equal(storeNeeds([...specs, ...parse({ name: 'all', kind: 'count', window: '1d' })]).historyEntries, undefined)
    assert.equal(storeNeeds([...specs, ...parse({ name: 'moved', kind: 'count', window: '1d', delay: '1d', last })]).historyEntries, undefined)
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const prng = new Prng(seed)
        const bench = new Bench(specs)
        const history: Event[] = []
        const gapMaxMs = [1000, 30 * 60_000, 6 * hourMs][prng.below(3)]!
        let now = 1_700_000_000_000
        for (let id = 0; id < 60; id++) {
          now += prng.below(gapMaxMs)
          const event = { id, timeMs: now - (prng.below(3) === 0 ? prng.below(graceMs + 1) : 0), amount: prng.below(50_000), tip: prng.below(300) }
          history.push(event)
          const row = bench.row(event)
          specs.forEach((spec, index) => {
            const expected = Math.fround((definitions[spec.kind] as (...all: unknown[]) => number)(spec, event, history))
            assert.ok(Object.is(row[index], expected), `event ${id}: ${spec.name} is ${row[index]}, by definition ${expected}`)
          })
          if (prng.below(8) === 0) bench.move()
        }
        // The log was last cleared up when its newest event came.
        const newestMs = history.reduce((newest, { timeMs }) => Math.max(newest, timeMs), 0)
        const recent = history.filter(({ timeMs }) => timeMs >= newestMs - graceMs).length
        assert.ok(bench.logEntries <= last + recent, `${bench.logEntries} entries of ${history.length}`)
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
    assert.deepEqual(windowNeeds(vocabulary), { windowsMs: [hourMs, 3 * dayMs], summedFields: ['tip', 'amount'], historyMs: 9 * dayMs, labels: true })
    assert.deepEqual(neededFields(vocabulary), ['tip', 'amount'])
    assert.deepEqual(windowNeeds(parse({ name: 'a', kind: 'night' })), { windowsMs: [], summedFields: [] })
  })
})
