import { assert } from '../../base/assert.js'

/**
 * Counts what came out against what went in, one bit for each transaction: nothing is sampled or assumed.
 *
 * Transactions are numbered 0, 1, 2, ... in the order of production, and an output goes to the partition of its input.
 * So numbers rise within a partition, and once every partition has shown a number of at least n, each number below n
 * that was not seen is missing, at once and without a time-out.
 */
export class OutputVerifier {
  /** Transactions with a scored event, and with a dead letter. */
  scored = 0
  deadLetters = 0
  alerts = 0
  /** Outputs that came a second time, alerts included. */
  duplicates = 0
  /** Outputs of transactions that were never produced. */
  unexpected = 0
  readonly #idsMax: number
  readonly #results: Uint8Array
  readonly #alerted: Uint8Array
  /** Newest number of each partition; -1: none yet. */
  readonly #newest: Float64Array
  /** Everything below has been looked through; `#missing` of it was not there. */
  #swept = 0
  #missing = 0

  constructor(idsMax: number, partitions: number) {
    assert(idsMax > 0 && partitions > 0, 'there is something to verify')
    this.#idsMax = idsMax
    this.#results = new Uint8Array((idsMax + 7) >>> 3)
    this.#alerted = new Uint8Array((idsMax + 7) >>> 3)
    this.#newest = new Float64Array(partitions).fill(-1)
  }

  /** Transactions with a result. */
  get seen(): number {
    return this.scored + this.deadLetters
  }

  /** False when it is a duplicate, or unexpected. */
  addScored(partition: number, id: number): boolean {
    if (!this.#addResult(partition, id)) return false
    this.scored++
    return true
  }

  addDeadLetter(partition: number, id: number): boolean {
    if (!this.#addResult(partition, id)) return false
    this.deadLetters++
    return true
  }

  addAlert(id: number): boolean {
    if (!this.#mark(this.#alerted, id)) return false
    this.alerts++
    return true
  }

  /** Transactions without a result although every partition has gone past them. */
  missing(): number {
    return this.#sweep(Math.min(...this.#newest))
  }

  /** The same when nothing more will come: of all the `produced`. */
  missingAtEnd(produced: number): number {
    return this.#sweep(produced)
  }

  #sweep(end: number): number {
    const results = this.#results
    for (; this.#swept < end; this.#swept++) if ((results[this.#swept >>> 3]! & (1 << (this.#swept & 7))) === 0) this.#missing++
    return this.#missing
  }

  #addResult(partition: number, id: number): boolean {
    if (!this.#mark(this.#results, id)) return false
    // A result that comes after its turn was missing until now.
    if (id < this.#swept) this.#missing--
    if (id > this.#newest[partition]!) this.#newest[partition] = id
    return true
  }

  #mark(bits: Uint8Array, id: number): boolean {
    if (!(id >= 0 && id < this.#idsMax)) {
      this.unexpected++
      return false
    }
    const bit = 1 << (id & 7)
    if ((bits[id >>> 3]! & bit) !== 0) {
      this.duplicates++
      return false
    }
    bits[id >>> 3]! |= bit
    return true
  }
}
