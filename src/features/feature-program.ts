import { assert } from '../base/assert.js'
import type { WindowLog } from '../entity/window-log.js'
import type { FeatureKind, FeatureSpec } from './feature-spec.js'
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

type Feature = (inputs: Inputs) => number

interface Wiring {
  /** Index of a field in `values`. */
  value(field: string): number
  /** Index of a window in `counts`. */
  window(lengthMs: number): number
  /** Index into `sums`. */
  sum(field: string, lengthMs: number): number
  /** Index into `codes` of a category of a text field; undefined when the field is a number. */
  text(field: string, values: readonly (string | number)[]): number | undefined
}

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
    return (inputs) => inputs.values[v]! * spec.scale
  },
  /** ln(1 + field * scale) */
  log1p: (spec, wiring) => {
    const v = wiring.value(spec.field)
    return (inputs) => Math.log1p(inputs.values[v]! * spec.scale)
  },
  /** sin(2 pi h / 24), h the whole UTC hour of t */
  hourSin: () => (inputs) => hourSin[hourOf(inputs.timeMs)]!,
  /** cos(2 pi h / 24) */
  hourCos: () => (inputs) => hourCos[hourOf(inputs.timeMs)]!,
  /** 1 on Saturday and Sunday (UTC), else 0 */
  weekend: () => (inputs) => (weekdayOf(inputs.timeMs) >= 5 ? 1 : 0),
  /** 1 from 00:00 to 06:59 (UTC), else 0 */
  night: () => (inputs) => (hourOf(inputs.timeMs) <= 6 ? 1 : 0),
  /** |W(w)| */
  count: (spec, wiring) => {
    const w = wiring.window(spec.window)
    return (inputs) => inputs.log.counts[w]!
  },
  /** sum of field over W(w), * scale */
  sum: (spec, wiring) => {
    const s = wiring.sum(spec.field, spec.window)
    return (inputs) => inputs.log.sums[s]! * spec.scale
  },
  /** sum of field over W(w) / |W(w)|, * scale */
  mean: (spec, wiring) => {
    const w = wiring.window(spec.window)
    const s = wiring.sum(spec.field, spec.window)
    return (inputs) => (inputs.log.sums[s]! / inputs.log.counts[w]!) * spec.scale
  },
  /** field / mean of field over W(w); 1 where the mean is 0 */
  ratio: (spec, wiring) => {
    const v = wiring.value(spec.field)
    const w = wiring.window(spec.window)
    const s = wiring.sum(spec.field, spec.window)
    return (inputs) => {
      const sum = inputs.log.sums[s]!
      return sum === 0 ? 1 : (inputs.values[v]! * inputs.log.counts[w]!) / sum
    }
  },
  /** 1 + place of the field's value in `values`; 0 when it is not there */
  category: (spec, wiring) => {
    const code = wiring.text(spec.field, spec.values)
    if (code !== undefined) return (inputs) => inputs.codes[code]!
    const v = wiring.value(spec.field)
    const vocabulary = new Vocabulary(spec.values)
    return (inputs) => vocabulary.ofNumber(inputs.values[v]!)
  },
  /** (t - time of the entity's previous event) / unit, 0 for the first; with log1p: ln(1 + that) */
  timeSince: (spec) => {
    const since = (inputs: Inputs): number => {
      const before = inputs.log.previousTimeMs
      return before < 0 ? 0 : Math.max(0, inputs.timeMs - before) / spec.unit
    }
    return spec.log1p ? (inputs) => Math.log1p(since(inputs)) : since
  },
}

/** What the entity store must keep so that the features can be computed. */
export interface WindowNeeds {
  readonly windowsMs: readonly number[]
  /** Fields whose sums are kept, in the order of the values of a log entry. */
  readonly summedFields: readonly string[]
}

export function windowNeeds(specs: readonly FeatureSpec[]): WindowNeeds {
  const windows = new Set<number>()
  const summed = new Set<string>()
  for (const spec of specs) {
    if (!('window' in spec)) continue
    windows.add(spec.window)
    if ('field' in spec) summed.add(spec.field)
  }
  return { windowsMs: [...windows].sort((a, b) => a - b), summedFields: [...summed] }
}

/** Fields that the features read, summed ones first: the order of `FeatureProgram.values`. */
export function neededFields(specs: readonly FeatureSpec[]): string[] {
  const fields = new Set(windowNeeds(specs).summedFields)
  for (const spec of specs) if ('field' in spec) fields.add(spec.field)
  return [...fields]
}

/** Turns an event and its entity's windows into one float32 row [F]. Computed in float64, rounded once. */
export class FeatureProgram {
  readonly names: readonly string[]
  /** The event's numeric fields, in the order of `neededFields`; the caller fills it before `writeRow`. */
  readonly values: Float64Array
  /** The first of `values`: what the entity store sums. */
  readonly summed: Float64Array
  /** The text fields of categories, one for each `readText`. */
  readonly textFields: readonly string[]
  readonly #vocabularies: Vocabulary[] = []
  readonly #codes: Float64Array
  readonly #features: Feature[]
  readonly #inputs: Inputs

  /** `texts`: names of the source's text fields. */
  constructor(specs: readonly FeatureSpec[], log: WindowLog, texts: ReadonlySet<string> = new Set()) {
    const { windowsMs, summedFields } = windowNeeds(specs)
    const fields = neededFields(specs)
    const textFields: string[] = []
    const wiring: Wiring = {
      value: (name) => found(fields.indexOf(name)),
      window: (lengthMs) => found(windowsMs.indexOf(lengthMs)),
      text: (name, values) => {
        if (!texts.has(name)) return undefined
        textFields.push(name)
        return this.#vocabularies.push(new Vocabulary(values)) - 1
      },
      sum: (name, lengthMs) => found(windowsMs.indexOf(lengthMs)) * summedFields.length + found(summedFields.indexOf(name)),
    }
    this.names = specs.map((spec) => spec.name)
    this.values = new Float64Array(fields.length)
    this.summed = this.values.subarray(0, summedFields.length)
    this.#features = specs.map((spec) => (makers[spec.kind] as Maker<FeatureKind>)(spec as never, wiring))
    this.textFields = textFields
    this.#codes = new Float64Array(textFields.length)
    this.#inputs = { log, values: this.values, codes: this.#codes, timeMs: 0 }
  }

  /** Takes the event's value of `textFields[index]`, as UTF-8 bytes [at, at + length), or -1 for null; before `writeRow`. */
  readText(index: number, bytes: Uint8Array, at: number, length: number): void {
    this.#codes[index] = this.#vocabularies[index]!.ofText(bytes, at, length)
  }

  /** Writes the row of the event whose windows the log has just computed to rows[at .. at + F). */
  writeRow(timeMs: number, rows: Float32Array, at: number): void {
    this.#inputs.timeMs = timeMs
    const features = this.#features
    for (let f = 0; f < features.length; f++) rows[at + f] = features[f]!(this.#inputs)
  }
}

function found(index: number): number {
  assert(index >= 0, 'a feature is wired to what the store keeps')
  return index
}
