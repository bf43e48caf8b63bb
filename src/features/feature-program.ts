import { assert } from '../base/assert.js'
import { hashId } from '../entity/id-hash.js'
import type { WindowLog } from '../entity/window-log.js'
import type { WindowLogOptions } from '../entity/window-log-options.js'
import type { FeatureKind, FeatureSpec } from './feature-spec.js'
import type { Condition } from '../entity/history.js'
import { conditionOf, LabelRunScan, WindowScan } from './history-scan.js'
import { Vocabulary } from './vocabulary.js'

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** What a feature may read: the event's fields, its time, and the entity's windows at that time. */
interface Inputs {
  readonly log: WindowLog
  /** Numeric fields of the event, as integers in minor units where the source says so. */
  readonly values: Float64Array
  /** Indexes of text categories. */
  readonly codes: Float64Array
  timeMs: number
}

/** Writes its value to `rows[at]`. It returns nothing: a number that a function returns may be an object on the heap, for each event. */
type Feature = (inputs: Inputs, rows: Float32Array, at: number) => void

interface Wiring {
  /** Index of a field in `values`, and of one that is summed or kept among the values of a log entry. */
  value(field: string): number
  /** Index of a window in `counts`. */
  window(lengthMs: number): number
  /** Index into `sums`. */
  sum(field: string, lengthMs: number): number
  /** A look back over a window, shared by all that look over the same one. */
  scan(spec: Windowed): WindowScan
  condition(where: Where): Condition | undefined
  runs(memoryMs: number, where: Where): LabelRunScan
  /** Index into `codes` of a category of a text field; undefined when the field is a number. */
  text(field: string, values: readonly (string | number)[]): number | undefined
}

type Windowed = { readonly window: number; readonly delay?: number | undefined; readonly last?: number | undefined }

type Where = { readonly field: string; readonly below?: number | undefined; readonly from?: number | undefined } | undefined

type Maker<K extends FeatureKind> = (spec: Extract<FeatureSpec, { kind: K }>, wiring: Wiring) => Feature

/** Sine and cosine of the 24 whole hours: 24 values, the same bits on every call. */
const hourSin = Float64Array.from({ length: 24 }, (_, hour) => Math.sin((2 * Math.PI * hour) / 24))
const hourCos = Float64Array.from({ length: 24 }, (_, hour) => Math.cos((2 * Math.PI * hour) / 24))
/** Hour of day in UTC, 0 to 23. */
const hourOf = (timeMs: number): number => Math.floor(timeMs / hourMs) % 24
/** Day of week, Monday 0 to Sunday 6; 1970-01-01 was a Thursday. */
const weekdayOf = (timeMs: number): number => (Math.floor(timeMs / dayMs) + 3) % 7

/** t is the event's time; W(w) the entity's events with time in (t - w, t], this one included. */
const makers: { [K in FeatureKind]: Maker<K> } = {
  /** field * scale */
  value: (spec, wiring) => {
    const v = wiring.value(spec.field)
    return (inputs, rows, at) => void (rows[at] = inputs.values[v]! * spec.scale)
  },
  /** ln(1 + field * scale) */
  log1p: (spec, wiring) => {
    const v = wiring.value(spec.field)
    return (inputs, rows, at) => void (rows[at] = Math.log1p(inputs.values[v]! * spec.scale))
  },
  /** sin(2 pi h / 24), h the whole UTC hour of t */
  hourSin: () => (inputs, rows, at) => void (rows[at] = hourSin[hourOf(inputs.timeMs)]!),
  /** cos(2 pi h / 24) */
  hourCos: () => (inputs, rows, at) => void (rows[at] = hourCos[hourOf(inputs.timeMs)]!),
  /** 1 on Saturday and Sunday (UTC), else 0 */
  weekend: () => (inputs, rows, at) => void (rows[at] = weekdayOf(inputs.timeMs) >= 5 ? 1 : 0),
  /** 1 from 00:00 to 06:59 (UTC), else 0 */
  night: () => (inputs, rows, at) => void (rows[at] = hourOf(inputs.timeMs) <= 6 ? 1 : 0),
  /** |W|; with log1p: ln(1 + that) */
  count: (spec, wiring) => {
    const log1p = spec.log1p === true
    if (isScanned(spec)) {
      const scan = wiring.scan(spec)
      return (_inputs, rows, at) => void (rows[at] = log1p ? Math.log1p(scan.count) : scan.count)
    }
    const w = wiring.window(spec.window)
    return (inputs, rows, at) => void (rows[at] = log1p ? Math.log1p(inputs.log.counts[w]!) : inputs.log.counts[w]!)
  },
  /** sum of field over W, * scale */
  sum: (spec, wiring) => {
    if (isScanned(spec)) {
      const total = wiring.scan(spec).sum(wiring.value(spec.field))
      return (_inputs, rows, at) => void (rows[at] = total.value * spec.scale)
    }
    const s = wiring.sum(spec.field, spec.window)
    return (inputs, rows, at) => void (rows[at] = inputs.log.sums[s]! * spec.scale)
  },
  /** sum of field over W / |W|, * scale; 0 where W is empty */
  mean: (spec, wiring) => {
    if (isScanned(spec)) {
      const scan = wiring.scan(spec)
      const total = scan.sum(wiring.value(spec.field))
      return (_inputs, rows, at) => void (rows[at] = scan.count === 0 ? 0 : (total.value / scan.count) * spec.scale)
    }
    const w = wiring.window(spec.window)
    const s = wiring.sum(spec.field, spec.window)
    // At a moment that is no event's a window may be empty.
    return ({ log: { counts, sums } }, rows, at) => void (rows[at] = counts[w] === 0 ? 0 : (sums[s]! / counts[w]!) * spec.scale)
  },
  /** field / mean of field over W; 1 where the mean is 0 or W is empty */
  ratio: (spec, wiring) => {
    const v = wiring.value(spec.field)
    if (isScanned(spec)) {
      const scan = wiring.scan(spec)
      const total = scan.sum(wiring.value(spec.field))
      return (inputs, rows, at) => void (rows[at] = total.value === 0 ? 1 : (inputs.values[v]! * scan.count) / total.value)
    }
    const w = wiring.window(spec.window)
    const s = wiring.sum(spec.field, spec.window)
    return (inputs, rows, at) => {
      const sum = inputs.log.sums[s]!
      rows[at] = sum === 0 ? 1 : (inputs.values[v]! * inputs.log.counts[w]!) / sum
    }
  },
  /** sqrt(sum (x - mean)^2 / |W|) of field over W, in the order of event times, * scale; 0 where W is empty */
  std: (spec, wiring) => {
    const scan = wiring.scan(spec)
    const squares = scan.squares(wiring.value(spec.field))
    return (_inputs, rows, at) => void (rows[at] = scan.count === 0 ? 0 : Math.sqrt(squares.value / scan.count) * spec.scale)
  },
  /** smallest field over W, * scale; 0 where W is empty */
  min: (spec, wiring) => {
    const scan = wiring.scan(spec)
    const least = scan.least(wiring.value(spec.field))
    return (_inputs, rows, at) => void (rows[at] = scan.count === 0 ? 0 : least.value * spec.scale)
  },
  /** largest field over W, * scale; 0 where W is empty */
  max: (spec, wiring) => {
    const scan = wiring.scan(spec)
    const most = scan.most(wiring.value(spec.field))
    return (_inputs, rows, at) => void (rows[at] = scan.count === 0 ? 0 : most.value * spec.scale)
  },
  /** |{ field(e) : e in W }|; texts by their 53-bit hash */
  distinctCount: (spec, wiring) => {
    const distinct = wiring.scan(spec).distinct(wiring.value(spec.field))
    return (_inputs, rows, at) => void (rows[at] = distinct.value)
  },
  /** |{ e in W : known to be fraud }| */
  labelCount: (spec, wiring) => {
    const frauds = wiring.scan(spec).frauds(wiring.condition(spec.where))
    return (_inputs, rows, at) => void (rows[at] = frauds.value)
  },
  /** |{ e in W : known to be fraud }| / |W|; 0 where W is empty */
  labelRate: (spec, wiring) => {
    const scan = wiring.scan(spec)
    const frauds = scan.frauds(wiring.condition(spec.where))
    return (_inputs, rows, at) => void (rows[at] = scan.count === 0 ? 0 : frauds.value / scan.count)
  },
  /** min(cap, (t - time of the youngest event known to be `label`) / unit); cap where there is none; with log1p: ln(1 + that) */
  timeSinceLabel: (spec, wiring) => {
    const runs = wiring.runs(spec.memory, spec.where)
    const ofFraud = spec.label === 'fraud'
    const { unit, cap, log1p } = spec
    return (inputs, rows, at) => {
      const age = Math.min(cap, (inputs.timeMs - (ofFraud ? runs.youngestFraudMs : runs.youngestGenuineMs)) / unit)
      rows[at] = log1p ? Math.log1p(age) : age
    }
  },
  /** number of events known to be fraud after the youngest known to be genuine */
  labelRun: (spec, wiring) => {
    const runs = wiring.runs(spec.memory, spec.where)
    return (_inputs, rows, at) => void (rows[at] = runs.length)
  },
  /** min(cap, (t - time of the oldest event of that run) / unit); cap where there is no run; with log1p: ln(1 + that) */
  labelRunAge: (spec, wiring) => {
    const runs = wiring.runs(spec.memory, spec.where)
    const { unit, cap, log1p } = spec
    return (inputs, rows, at) => {
      const age = Math.min(cap, (inputs.timeMs - runs.firstMs) / unit)
      rows[at] = log1p ? Math.log1p(age) : age
    }
  },
  /** 1 + place of the field's value in `values`; 0 when it is not there */
  category: (spec, wiring) => {
    const code = wiring.text(spec.field, spec.values)
    if (code !== undefined) return (inputs, rows, at) => void (rows[at] = inputs.codes[code]!)
    const v = wiring.value(spec.field)
    const vocabulary = new Vocabulary(spec.values)
    return (inputs, rows, at) => void (rows[at] = vocabulary.ofNumber(inputs.values[v]!))
  },
  /** (t - time of the entity's previous event) / unit, 0 for the first; with log1p: ln(1 + that) */
  timeSince: ({ unit, log1p }) => (inputs, rows, at) => {
    const before = inputs.log.previousTimeMs
    const since = before < 0 ? 0 : Math.max(0, inputs.timeMs - before) / unit
    rows[at] = log1p ? Math.log1p(since) : since
  },
}

/** What the entity store must keep so that the features can be computed. What is not needed is absent. */
export interface WindowNeeds {
  readonly windowsMs: readonly number[]
  /** Fields whose sums are kept, in the order of the values of a log entry. */
  readonly summedFields: readonly string[]
  /** Fields of which a log entry keeps the value, behind the summed ones. */
  readonly keptFields?: readonly string[]
  /** How far back features look, ms. */
  readonly historyMs?: number
  /** How many events back, where that bounds all of them. */
  readonly historyEntries?: number
  /** Entries know what their events turned out to be. */
  readonly labels?: boolean
}

const labelKinds: ReadonlySet<FeatureKind> = new Set(['labelCount', 'labelRate', 'timeSinceLabel', 'labelRun', 'labelRunAge'])
/** Kinds whose windows are kept as running counts and sums, where these are of all events up to now. */
const runningKinds: ReadonlySet<FeatureKind> = new Set(['count', 'sum', 'mean', 'ratio'])

/** Its window is looked through for each event: it is moved back, or of the newest events only. */
function isScanned({ delay, last }: Windowed): boolean {
  return delay !== undefined || last !== undefined
}

function isRunning(spec: FeatureSpec): boolean {
  return 'window' in spec && runningKinds.has(spec.kind) && !isScanned(spec)
}

/** Its windows keep running sums, which are exact for integers only. */
export function sumsExactly(spec: FeatureSpec): boolean {
  return 'field' in spec && isRunning(spec)
}

const eventKinds: ReadonlySet<FeatureKind> = new Set(['value', 'log1p', 'ratio', 'category'])

/** It looks at the event itself, and so has no value at a moment that is no event's. */
export function needsEvent({ kind }: FeatureSpec): boolean {
  return eventKinds.has(kind)
}

export function usesLabels(specs: readonly FeatureSpec[]): boolean {
  return specs.some(({ kind }) => labelKinds.has(kind))
}

/** How far back in event time a feature looks, ms. */
export function reachOf(spec: FeatureSpec): number {
  if ('memory' in spec) return spec.memory
  return 'window' in spec ? spec.window + (spec.delay ?? 0) : 0
}

export function windowNeeds(specs: readonly FeatureSpec[]): WindowNeeds {
  const windows = new Set<number>()
  const summed = new Set<string>()
  const kept = new Set<string>()
  let historyMs = 0
  let entries = 0
  for (const spec of specs) {
    if (!('window' in spec) && !('memory' in spec)) continue
    const isByCount = 'last' in spec && spec.last !== undefined && spec.delay === undefined
    entries = Math.max(entries, isByCount ? spec.last! : Infinity)
    if ('window' in spec && isRunning(spec)) {
      windows.add(spec.window)
      if ('field' in spec) summed.add(spec.field)
      continue
    }
    historyMs = Math.max(historyMs, reachOf(spec))
    if ('field' in spec) kept.add(spec.field)
    if ('where' in spec && spec.where) kept.add(spec.where.field)
  }
  const keptFields = [...kept].filter((field) => !summed.has(field))
  return {
    windowsMs: [...windows].sort((a, b) => a - b),
    summedFields: [...summed],
    ...(keptFields.length > 0 ? { keptFields } : {}),
    ...(historyMs > 0 ? { historyMs } : {}),
    ...(entries > 0 && entries < Infinity ? { historyEntries: entries } : {}),
    ...(usesLabels(specs) ? { labels: true } : {}),
  }
}

/** Fields that the features read, in the order of `FeatureProgram.values`: summed ones, kept ones, others. */
export function neededFields(specs: readonly FeatureSpec[]): string[] {
  const { summedFields, keptFields = [] } = windowNeeds(specs)
  const fields = new Set([...summedFields, ...keptFields])
  for (const spec of specs) if ('field' in spec) fields.add(spec.field)
  return [...fields]
}

/** The options of an `EntityStore` that follow from the features. */
export function storeNeeds(specs: readonly FeatureSpec[]): Omit<WindowLogOptions, 'graceMs' | 'windowEntriesMax'> {
  const { windowsMs, summedFields, keptFields = [], labels = false, historyMs = 0, historyEntries } = windowNeeds(specs)
  return { windowsMs, valueCount: summedFields.length, keptCount: keptFields.length + (labels ? 1 : 0), labels, historyMs, historyEntries }
}

/** Turns an event and its entity's windows into one float32 row [F]. Computed in float64, rounded once. */
export class FeatureProgram {
  readonly names: readonly string[]
  /** The event's numeric fields, in the order of `neededFields`; the caller fills it before `writeRow`. */
  readonly values: Float64Array
  /** What the entity store takes of the event: the first of `values`, and the hash of its id where there are labels. */
  readonly entry: Float64Array
  /** Of `values`: fields that are texts and are looked at by their hash, in the order of `hashText`. */
  readonly hashedFields: readonly { readonly name: string; readonly at: number }[]
  readonly #scans: WindowScan[] = []
  readonly #runs: LabelRunScan[] = []
  /** The text fields of categories, one for each `readText`. */
  readonly textFields: readonly string[]
  readonly #vocabularies: Vocabulary[] = []
  readonly #codes: Float64Array
  readonly #isCopied: boolean
  readonly #features: Feature[]
  readonly #inputs: Inputs

  /** `texts`: names of the source's text fields. */
  constructor(specs: readonly FeatureSpec[], log: WindowLog, texts: ReadonlySet<string> = new Set()) {
    const { windowsMs, summedFields, keptFields = [], labels = false } = windowNeeds(specs)
    const fields = neededFields(specs)
    const textFields: string[] = []
    const { history } = log
    const condition = (where: Where): Condition | undefined => where && conditionOf(found(fields.indexOf(where.field)), where)
    const wiring: Wiring = {
      value: (name) => found(fields.indexOf(name)),
      window: (lengthMs) => found(windowsMs.indexOf(lengthMs)),
      text: (name, values) => {
        if (!texts.has(name)) return undefined
        textFields.push(name)
        return this.#vocabularies.push(new Vocabulary(values)) - 1
      },
      sum: (name, lengthMs) => found(windowsMs.indexOf(lengthMs)) * summedFields.length + found(summedFields.indexOf(name)),
      scan: ({ window, delay = 0, last = Infinity }) => {
        let scan = this.#scans.find((each) => each.windowMs === window && each.delayMs === delay && each.last === last)
        if (!scan) this.#scans.push((scan = new WindowScan(history, window, delay, last)))
        return scan
      },
      condition,
      runs: (memoryMs, where) => {
        const key = JSON.stringify([memoryMs, where])
        let runs = this.#runs.find((each) => each.key === key)
        if (!runs) this.#runs.push((runs = new LabelRunScan(history, memoryMs, condition(where), key)))
        return runs
      },
    }
    this.names = specs.map((spec) => spec.name)
    this.values = new Float64Array(fields.length)
    const taken = summedFields.length + keptFields.length
    // The hash of the event's id stands behind the values that are taken; without labels there is none, and nothing is copied.
    this.entry = labels ? new Float64Array(taken + 1) : this.values.subarray(0, taken)
    this.#isCopied = labels
    this.hashedFields = specs.flatMap((spec) => (spec.kind === 'distinctCount' && texts.has(spec.field) ? [{ name: spec.field, at: fields.indexOf(spec.field) }] : []))
    this.#features = specs.map((spec) => (makers[spec.kind] as Maker<FeatureKind>)(spec as never, wiring))
    this.textFields = textFields
    this.#codes = new Float64Array(textFields.length)
    this.#inputs = { log, values: this.values, codes: this.#codes, timeMs: 0 }
  }

  /** Fills `entry` from `values`; `id` is the UTF-8 of the event's id, bytes [at, at + length). After all of `values`. */
  takeEntry(bytes: Uint8Array, at: number, length: number): void {
    if (!this.#isCopied) return
    const last = this.entry.length - 1
    for (let v = 0; v < last; v++) this.entry[v] = this.values[v]!
    this.entry[last] = hashId(bytes, at, length)
  }

  /** Takes the event's value of `hashedFields[index]`, as UTF-8 bytes [at, at + length), or -1 for null. */
  hashText(index: number, bytes: Uint8Array, at: number, length: number): void {
    this.values[this.hashedFields[index]!.at] = length < 0 ? -1 : hashId(bytes, at, length)
  }

  /** Takes the event's value of `textFields[index]`, as UTF-8 bytes [at, at + length), or -1 for null; before `writeRow`. */
  readText(index: number, bytes: Uint8Array, at: number, length: number): void {
    this.#codes[index] = this.#vocabularies[index]!.ofText(bytes, at, length)
  }

  /** Writes the row of the event at `log.moment`, whose windows the log has just computed, to rows[at .. at + F). */
  writeRow(rows: Float32Array, at: number): void {
    const timeMs = this.#inputs.log.moment[0]!
    this.#inputs.timeMs = timeMs
    const own = this.#inputs.log.history.isOfOthers ? this.entry : null
    for (let i = 0; i < this.#scans.length; i++) this.#scans[i]!.look(timeMs, own)
    for (let i = 0; i < this.#runs.length; i++) this.#runs[i]!.look(timeMs)
    const features = this.#features
    for (let f = 0; f < features.length; f++) features[f]!(this.#inputs, rows, at + f)
  }
}

function found(index: number): number {
  assert(index >= 0, 'a feature is wired to what the store keeps')
  return index
}
