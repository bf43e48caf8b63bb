import type { History } from '../entity/history.js'

/** Whether the value of an entry lies in [from, below). */
export interface Condition {
  readonly value: number
  readonly from: number
  readonly below: number
}

export function conditionOf(value: number, { below = Infinity, from = -Infinity }: { readonly below?: number | undefined; readonly from?: number | undefined }): Condition {
  return { value, from, below }
}

function holds(history: History, entry: number, condition: Condition | undefined): boolean {
  if (!condition) return true
  const value = history.valueOf(entry, condition.value)
  return value >= condition.from && value < condition.below
}

/** A figure over the events of a window. */
export interface Figure {
  readonly value: number
}

interface Kept {
  value: number
  look(first: number, past: number, own: Float64Array | null): void
}

/**
 * Figures over the events with time in (t - delay - window, t - delay], or the newest `last` of them, read from the entity's log for each event: as exact
 * with late labels and events out of order as without. Costs a step for each entry from the event back to the window's
 * beginning; with `tile` or `windowEntriesMax` there are few.
 */
export class WindowScan {
  readonly windowMs: number
  readonly delayMs: number
  /** Infinity: all. Of a thinned-out log an entry counts whole. */
  readonly last: number
  readonly #history: History
  readonly #figures: Kept[] = []
  /** Events in the window. */
  count = 0

  constructor(history: History, windowMs: number, delayMs: number, last = Infinity) {
    this.#history = history
    this.windowMs = windowMs
    this.delayMs = delayMs
    this.last = last
  }

  /** `own`: what an entry would keep of the event, where it is in no log (a late one). */
  look(timeMs: number, own: Float64Array | null): void {
    const history = this.#history
    const endMs = timeMs - this.delayMs
    const startMs = endMs - this.windowMs
    let past = history.entries
    while (past > 0 && history.timeOf(past - 1) > endMs) past--
    const itself = this.delayMs === 0 ? own : null
    let first = past
    let count = itself ? 1 : 0
    while (first > 0 && count < this.last && history.timeOf(first - 1) > startMs) {
      first--
      count += history.countOf(first)
    }
    this.count = count
    for (let f = 0; f < this.#figures.length; f++) this.#figures[f]!.look(first, past, itself)
  }

  sum(v: number): Figure {
    return this.#add((history, figure, first, past, own) => {
      for (let e = first; e < past; e++) figure.value += history.sumOf(e, v)
      if (own) figure.value += own[v]!
    })
  }

  /** Sum of squared distances from the mean. Of a thinned-out log: between its entries. */
  squares(v: number): Figure {
    return this.#add((history, figure, first, past, own) => {
      let sum = own ? own[v]! : 0
      for (let e = first; e < past; e++) sum += history.sumOf(e, v)
      const mean = sum / this.count
      if (own) figure.value += (own[v]! - mean) * (own[v]! - mean)
      for (let e = first; e < past; e++) {
        const distance = history.valueOf(e, v) - mean
        figure.value += history.countOf(e) * distance * distance
      }
    })
  }

  least(v: number): Figure {
    return this.#add((history, figure, first, past, own) => {
      figure.value = own ? own[v]! : Infinity
      for (let e = first; e < past; e++) figure.value = Math.min(figure.value, history.valueOf(e, v))
    })
  }

  most(v: number): Figure {
    return this.#add((history, figure, first, past, own) => {
      figure.value = own ? own[v]! : -Infinity
      for (let e = first; e < past; e++) figure.value = Math.max(figure.value, history.valueOf(e, v))
    })
  }

  distinct(v: number): Figure {
    const seen = new Set<number>()
    return this.#add((history, figure, first, past, own) => {
      seen.clear()
      if (own) seen.add(own[v]!)
      for (let e = first; e < past; e++) seen.add(history.valueOf(e, v))
      figure.value = seen.size
    })
  }

  /** Events that are known to be frauds. */
  frauds(condition: Condition | undefined): Figure {
    return this.#add((history, figure, first, past) => {
      for (let e = first; e < past; e++) if (history.fraudsOf(e) > 0 && holds(history, e, condition)) figure.value += history.fraudsOf(e)
    })
  }

  #add(look: (history: History, figure: { value: number }, first: number, past: number, own: Float64Array | null) => void): Figure {
    const history = this.#history
    const figure: Kept = {
      value: 0,
      look(first, past, own) {
        figure.value = 0
        look(history, figure, first, past, own)
      },
    }
    this.#figures.push(figure)
    return figure
  }
}

/** What is known of an entity's last events: the youngest of each kind, and the run of frauds since the youngest genuine one. */
export class LabelRunScan {
  /** What tells it from others. */
  readonly key: string
  readonly #history: History
  readonly #memoryMs: number
  readonly #condition: Condition | undefined
  /** Event times, ms; -Infinity: none. */
  youngestFraudMs = -Infinity
  youngestGenuineMs = -Infinity
  /** Frauds of the run, and the time of its oldest. */
  length = 0
  firstMs = -Infinity

  /** Frauds that do not fulfil the condition are passed over: they are neither fraud nor genuine. */
  constructor(history: History, memoryMs: number, condition: Condition | undefined, key: string) {
    this.#history = history
    this.#memoryMs = memoryMs
    this.#condition = condition
    this.key = key
  }

  look(timeMs: number): void {
    const history = this.#history
    const startMs = timeMs - this.#memoryMs
    this.youngestFraudMs = -Infinity
    this.youngestGenuineMs = -Infinity
    this.length = 0
    this.firstMs = -Infinity
    for (let e = history.entries - 1; e >= 0; e--) {
      const entryMs = history.timeOf(e)
      if (entryMs <= startMs) return
      const known = history.knownOf(e)
      if (known === 0) continue
      const frauds = history.fraudsOf(e)
      if (frauds > 0 && holds(history, e, this.#condition)) {
        if (this.youngestFraudMs === -Infinity) this.youngestFraudMs = entryMs
        if (this.youngestGenuineMs === -Infinity) {
          this.length += frauds
          this.firstMs = entryMs
        }
      }
      if (frauds < known && this.youngestGenuineMs === -Infinity) this.youngestGenuineMs = entryMs
      if (this.youngestFraudMs !== -Infinity && this.youngestGenuineMs !== -Infinity) return
    }
  }
}
