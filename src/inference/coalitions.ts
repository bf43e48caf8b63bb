import type { DenseStep } from './dense-step.js'
import { paddedRows } from './model-runner.js'
import type { RecurrentStep } from './recurrent-step.js'
import { copyWords } from './ring.js'
import { reasonLimits } from './reason-limits.js'
import type { RunSession } from './session.js'
import type { PastRows } from './past-rows.js'

/** The extra rows of some events: row c is the event's own row with some features replaced, after its past with some events replaced. */
export interface Coalitions {
  readonly count: number
  /** By coalition: a place in `pasts`. */
  readonly event: Int32Array
  /** [count, F] as the model takes them. */
  readonly rows: Int32Array
  /** Which past events are as they were: bit j for the j-th newest, bit `pastEvents` for all that are older. */
  readonly masks: Int32Array
  readonly pasts: readonly PastRows[]
  /** Past events that are told apart. */
  readonly pastEvents: number
  /** [F] What stands in the place of a past event. */
  readonly reference: Int32Array
}

/** Scores coalitions with one model, NaN where it gives none. */
export interface CoalitionScorer {
  score(coalitions: Coalitions, scores: Float32Array, run: RunSession): Promise<void>
}

/** The bit of row `index` of `count` past rows, oldest first. */
export function pastBit(index: number, count: number, pastEvents: number): number {
  return 1 << Math.min(count - 1 - index, pastEvents)
}

/** Row models and window models. */
export class DenseCoalitions implements CoalitionScorer {
  readonly #step: DenseStep
  readonly #features: number
  readonly #window: number
  readonly #right: boolean
  #bits = new Int32Array(0)
  readonly #lengths = new Int32Array(reasonLimits.rowsPerRunMax)
  readonly #places = Int32Array.from({ length: reasonLimits.rowsAheadMax }, (_, index) => index)

  constructor(step: DenseStep, { features, window, right }: { features: number; window: number | undefined; right: boolean }) {
    this.#step = step
    this.#features = features
    this.#window = window ?? 1
    this.#right = right
  }

  async score(coalitions: Coalitions, scores: Float32Array, run: RunSession): Promise<void> {
    const rowsMax = Math.min(this.#step.batchRows, reasonLimits.rowsPerRunMax)
    const window = this.#window
    const size = window * this.#features
    if (this.#bits.length === 0) this.#bits = new Int32Array(rowsMax * size)
    for (let from = 0; from < coalitions.count; from += rowsMax) {
      const rows = Math.min(rowsMax, coalitions.count - from)
      this.#bits.fill(0, 0, rows * size)
      for (let b = 0; b < rows; b++) this.#fill(coalitions, from + b, b)
      const gathered = { bits: this.#bits, at: 0, lengths: window === 1 ? null : this.#lengths, lengthsAt: 0 }
      await this.#step.run(gathered, rows, run, scores, this.#places, from)
    }
  }

  #fill({ event, rows, masks, pasts, pastEvents, reference }: Coalitions, coalition: number, b: number): void {
    const features = this.#features
    const past = pasts[event[coalition]!]!
    const mask = masks[coalition]!
    this.#lengths[b] = past.count + 1
    let at = (b * this.#window + (this.#right ? 0 : this.#window - 1 - past.count)) * features
    for (let i = 0; i < past.count; i++) {
      const there = (mask & pastBit(i, past.count, pastEvents)) !== 0
      copyWords(this.#bits, at, there ? past.bits : reference, there ? i * features : 0, features)
      at += features
    }
    copyWords(this.#bits, at, rows, coalition * features, features)
  }
}

/**
 * Recurrent models: a coalition's state is what the model comes to over its past, from an empty state. Coalitions with the same
 * past share it, and those whose pasts begin alike share the steps of their beginning.
 */
export class RecurrentCoalitions implements CoalitionScorer {
  readonly #step: RecurrentStep
  readonly #features: number
  /** States before and after a step, [states, H]; the first is the empty one. */
  #before: Int32Array
  #after: Int32Array
  readonly #plans = new Map<number, StepPlan>()

  constructor(step: RecurrentStep, features: number) {
    this.#step = step
    this.#features = features
    this.#before = new Int32Array(step.floats * 64)
    this.#after = new Int32Array(step.floats * 64)
  }

  async score(coalitions: Coalitions, scores: Float32Array, run: RunSession): Promise<void> {
    const { count, pasts, event, rows, reference } = coalitions
    const features = this.#features
    const firsts = new Int32Array(pasts.length)
    for (let c = count - 1; c >= 0; c--) firsts[event[c]!] = c
    const plans = pasts.map((past, e) => this.#planOf(past.count, coalitions, firsts[e]!, e + 1 < pasts.length ? firsts[e + 1]! : count))
    const longest = pasts.reduce((max, past) => Math.max(max, past.count), 0)
    // by event: where its states of the step before begin
    let bases = new Int32Array(pasts.length)
    const steps = new StepList()
    for (let t = 0; t < longest; t++) {
      steps.count = 0
      const next = new Int32Array(pasts.length)
      for (let e = 0; e < pasts.length; e++) {
        const past = pasts[e]!
        // all end with the last step
        const index = t - (longest - past.count)
        if (index < 0) continue
        const { there, from } = plans[e]!.steps[index]!
        next[e] = steps.count + 1
        for (let i = 0; i < from.length; i++) steps.add(there[i] === 1 ? past.bits : reference, there[i] === 1 ? index * features : 0, index === 0 ? emptyState : bases[e]! + from[i]!)
      }
      bases = next
      await this.#run(steps, run)
    }
    steps.count = 0
    for (let c = 0; c < count; c++) {
      const e = event[c]!
      steps.add(rows, c * features, pasts[e]!.count === 0 ? emptyState : bases[e]! + plans[e]!.last[c - firsts[e]!]!)
    }
    await this.#run(steps, run, scores)
  }

  /** The steps of an event with so many past ones: its masks follow from their number. */
  #planOf(count: number, { masks, pastEvents }: Coalitions, first: number, end: number): StepPlan {
    const known = this.#plans.get(count)
    if (known) return known
    const steps: StepPlan['steps'][number][] = []
    let states = new Map([[0, 0]])
    let seen = 0
    for (let index = 0; index < count; index++) {
      const bit = pastBit(index, count, pastEvents)
      const there: number[] = []
      const from: number[] = []
      const next = new Map<number, number>()
      for (let c = first; c < end; c++) {
        const mask = masks[c]!
        if (next.has(mask & (seen | bit))) continue
        next.set(mask & (seen | bit), there.length)
        there.push((mask & bit) !== 0 ? 1 : 0)
        from.push(states.get(mask & seen)!)
      }
      seen |= bit
      states = next
      steps.push({ there: Uint8Array.from(there), from: Int32Array.from(from) })
    }
    const plan = { steps, last: Int32Array.from(masks.subarray(first, end), (mask) => states.get(mask & seen)!) }
    this.#plans.set(count, plan)
    return plan
  }

  /** Steps that do not depend on each other, in dense runs. With `scores` only those are read. */
  async #run(steps: StepList, run: RunSession, scores?: Float32Array): Promise<void> {
    const step = this.#step
    const { floats, reader } = step
    if (!scores && (steps.count + 1) * floats > this.#after.length) this.#after = new Int32Array((steps.count + 1) * floats * 2)
    const rowsMax = Math.min(step.batchRows, reasonLimits.rowsPerRunMax)
    for (let first = 0; first < steps.count; first += rowsMax) {
      const rows = Math.min(rowsMax, steps.count - first)
      const batch = paddedRows(rows, step.rowsMultiple)
      for (let b = 0; b < rows; b++) {
        const from = steps.from[first + b]!
        copyWords(step.xBits, b * this.#features, steps.rows[first + b]!, steps.at[first + b]!, this.#features)
        if (from === emptyState) step.zeroState(b, batch)
        else step.gatherState(b, batch, this.#before, from * floats)
      }
      const output = await step.run(rows, batch, run)
      const stride = reader.strideOf(output, batch)
      for (let b = 0; b < rows; b++) {
        if (scores) scores[first + b] = reader.read(output, b, stride)
        else step.scatterState(b, batch, this.#after, (first + b + 1) * floats)
      }
    }
    if (scores) return
    const spare = this.#before
    this.#before = this.#after
    this.#after = spare
  }
}

const emptyState = 0

/** Rows of a run: each with the state before it. The state after row i becomes state i + 1. */
class StepList {
  count = 0
  readonly rows: Int32Array[] = []
  /** Where each row begins in its `rows`. */
  readonly at: number[] = []
  readonly from: number[] = []

  add(rows: Int32Array, at: number, from: number): void {
    const i = this.count++
    this.rows[i] = rows
    this.at[i] = at
    this.from[i] = from
  }
}

/** The steps over the past of one event, oldest first. */
interface StepPlan {
  /** For each distinct beginning of a past: 1 = the event as it was, and the place of the state before it among those of the step before. */
  readonly steps: readonly { readonly there: Uint8Array; readonly from: Int32Array }[]
  /** By coalition: the place of its state among those of the last step. */
  readonly last: Int32Array
}
