import type { Condition, History } from '../entity/history.js'

export function conditionOf(value: number, { below = Infinity, from = -Infinity }: { readonly below?: number | undefined; readonly from?: number | undefined }): Condition {
  return { value, from, below }
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
    const past = history.pastOf(history.entries, endMs)
    const itself = this.delayMs === 0 ? own : null
    const first = history.firstAfter(past, startMs, this.last - (itself ? 1 : 0))
    this.count = history.counted + (itself ? 1 : 0)
    for (let f = 0; f < this.#figures.length; f++) this.#figures[f]!.look(first, past, itself)
  }

  sum(v: number): Figure {
    return this.#add((history, figure, first, past, own) => {
      figure.value = history.sumIn(first, past, v)
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
      figure.value = history.fraudsIn(first, past, condition)
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
    for (let e = history.entries; ; ) {
      // Once the youngest genuine one is known only frauds are looked for.
      e = history.youngestKnown(e, startMs, this.youngestGenuineMs !== -Infinity)
      if (e < 0) return
      const entryMs = history.timeOf(e)
      const frauds = history.fraudsOf(e)
      if (frauds > 0 && (!this.#condition || history.holds(e, this.#condition))) {
        if (this.youngestFraudMs === -Infinity) this.youngestFraudMs = entryMs
        if (this.youngestGenuineMs === -Infinity) {
          this.length += frauds
          this.firstMs = entryMs
        }
      }
      if (this.youngestGenuineMs === -Infinity && frauds < history.knownOf(e)) this.youngestGenuineMs = entryMs
      if (this.youngestFraudMs !== -Infinity && this.youngestGenuineMs !== -Infinity) return
    }
  }
}
