/** What the value of an entry has to be: in [from, below). */
export interface Condition {
  readonly value: number
  readonly from: number
  readonly below: number
}

/**
 * A look back from an event over the log of its entity, oldest entry 0, without copies. Valid until the next event is taken.
 * An entry stands for `countOf` events, one unless the log was thinned out.
 */
export class History {
  /** How many entries are no younger than the event, itself included; 0 where nothing is known. */
  entries = 0
  /** See `firstAfter`. */
  counted = 0
  /** The event is late: it is none of the entries itself. */
  isOfOthers = false
  readonly #stride: number
  readonly #idWord: number
  readonly #valueCount: number
  #chunk: Float64Array = new Float64Array(0)
  #base = 0
  #start = 0
  #mask = 0

  constructor({ stride, valueCount, idWord }: { stride: number; valueCount: number; idWord: number }) {
    this.#stride = stride
    this.#valueCount = valueCount
    this.#idWord = idWord
  }

  set(chunk: Float64Array, base: number, start: number, mask: number, entries: number): void {
    this.#chunk = chunk
    this.#base = base
    this.#start = start
    this.#mask = mask
    this.entries = entries
  }

  /** A late event of an entity of which nothing is known. */
  lookAtNothing(): void {
    this.entries = 0
    this.isOfOthers = true
  }

  /** Event time, ms. */
  timeOf(entry: number): number {
    return this.#chunk[this.#at(entry)]!
  }

  countOf(entry: number): number {
    return this.#chunk[this.#at(entry) + 1]!
  }

  /** Value v (the summed ones, then the kept ones) of an entry's event. Of several events: the mean of a summed one, the youngest's of a kept one. */
  valueOf(entry: number, v: number): number {
    const at = this.#at(entry)
    return v < this.#valueCount ? this.#chunk[at + 2 + v]! / this.#chunk[at + 1]! : this.#chunk[at + 2 + v]!
  }

  /** Value v over the events of an entry. */
  sumOf(entry: number, v: number): number {
    const at = this.#at(entry)
    return v < this.#valueCount ? this.#chunk[at + 2 + v]! : this.#chunk[at + 2 + v]! * this.#chunk[at + 1]!
  }

  /** How many of the entry's events are known to be fraud or not. */
  knownOf(entry: number): number {
    return this.#chunk[this.#at(entry) + this.#idWord + 1]!
  }

  fraudsOf(entry: number): number {
    return this.#chunk[this.#at(entry) + this.#idWord + 2]!
  }

  // The loops of windows and runs are here, over locals: for each event they go over some ten to hundred entries.

  /** Entries before the first of the last `past` that is younger than a time, ms: how many are no younger. */
  pastOf(past: number, endMs: number): number {
    const chunk = this.#chunk
    const base = this.#base
    const start = this.#start
    const mask = this.#mask
    const stride = this.#stride
    while (past > 0 && chunk[base + ((start + past - 1) & mask) * stride]! > endMs) past--
    return past
  }

  /**
   * The oldest entry before `past` that is younger than a time, ms, of those that hold the last `eventsMax` events; `past` where none is. The
   * events from there on are in `counted`.
   */
  firstAfter(past: number, startMs: number, eventsMax: number): number {
    const chunk = this.#chunk
    const base = this.#base
    const start = this.#start
    const mask = this.#mask
    const stride = this.#stride
    let first = past
    let count = 0
    for (; first > 0 && count < eventsMax; first--) {
      const at = base + ((start + first - 1) & mask) * stride
      if (!(chunk[at]! > startMs)) break
      count += chunk[at + 1]!
    }
    this.counted = count
    return first
  }

  /** Sum of value v over the events of entries [first, past). */
  sumIn(first: number, past: number, v: number): number {
    const chunk = this.#chunk
    const base = this.#base + 2 + v
    const start = this.#start
    const mask = this.#mask
    const stride = this.#stride
    let sum = 0
    if (v < this.#valueCount) for (let e = first; e < past; e++) sum += chunk[base + ((start + e) & mask) * stride]!
    else for (let e = first; e < past; e++) sum += this.sumOf(e, v)
    return sum
  }

  /** Events of entries [first, past) that are known to be frauds. */
  fraudsIn(first: number, past: number, condition: Condition | undefined): number {
    const chunk = this.#chunk
    const base = this.#base + this.#idWord + 2
    const start = this.#start
    const mask = this.#mask
    const stride = this.#stride
    let sum = 0
    for (let e = first; e < past; e++) {
      const frauds = chunk[base + ((start + e) & mask) * stride]!
      if (frauds > 0 && (condition === undefined || this.holds(e, condition))) sum += frauds
    }
    return sum
  }

  /** The youngest entry before `past` of which something is known, or which is known to be a fraud; -1 where there is none that is younger than a time, ms. */
  youngestKnown(past: number, startMs: number, onlyFrauds: boolean): number {
    const chunk = this.#chunk
    const base = this.#base
    const start = this.#start
    const mask = this.#mask
    const stride = this.#stride
    const known = this.#idWord + (onlyFrauds ? 2 : 1)
    for (let e = past - 1; e >= 0; e--) {
      const at = base + ((start + e) & mask) * stride
      if (chunk[at]! <= startMs) return -1
      if (chunk[at + known] !== 0) return e
    }
    return -1
  }

  /** Whether the value of an entry lies in [from, below). */
  holds(entry: number, { value, from, below }: Condition): boolean {
    const own = this.valueOf(entry, value)
    return own >= from && own < below
  }

  #at(entry: number): number {
    return this.#base + ((this.#start + entry) & this.#mask) * this.#stride
  }
}
