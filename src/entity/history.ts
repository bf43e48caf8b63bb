/**
 * A look back from an event over the log of its entity, oldest entry 0, without copies. Valid until the next event is taken.
 * An entry stands for `countOf` events, one unless the log was thinned out.
 */
export class History {
  /** How many entries are no younger than the event, itself included; 0 where nothing is known. */
  entries = 0
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

  #at(entry: number): number {
    return this.#base + ((this.#start + entry) & this.#mask) * this.#stride
  }
}
