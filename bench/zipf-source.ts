import { assert } from '../src/base/assert.js'
import { Prng } from '../src/base/prng.js'
import { publishedParameters, type SimulatorParameters } from '../src/simulator/parameters.js'
import { chunkRowsMax, type TransactionChunk, type TransactionSource } from '../src/simulator/transaction-source.js'

/** Spreads ranks over customers: a prime, so that each rank has a customer of its own. */
const spread = 982_451_653
const customersMax = 5_000_000
const amountCentsMax = 20_000

export interface ZipfOptions {
  readonly customers: number
  /** The customers are [firstCustomer, firstCustomer + customers). */
  readonly firstCustomer?: number
  /** P(rank k) is proportional to 1 / k^exponent; 0 is uniform. */
  readonly exponent: number
  readonly seed: number
  /** Event time of the first event, in seconds since the beginning of day 0; it goes on by `perSecond` events a second. */
  readonly firstSecond: number
  readonly perSecond: number
  readonly firstId: number
}

/** An endless stream of genuine payments whose customers follow Zipf's law: a few are hot, most are rare. */
export class ZipfSource implements TransactionSource {
  readonly parameters: SimulatorParameters
  readonly #options: ZipfOptions
  /** P(rank < i + 1). */
  readonly #cumulative: Float64Array

  constructor(options: ZipfOptions) {
    assert(options.customers > 0 && options.customers <= customersMax && options.customers % spread !== 0, 'ranks and customers are in bijection')
    this.#options = options
    this.parameters = { ...publishedParameters, customers: options.customers, days: 20_000, seed: options.seed }
    this.#cumulative = new Float64Array(options.customers)
    let sum = 0
    for (let rank = 0; rank < options.customers; rank++) this.#cumulative[rank] = sum += Math.exp(-options.exponent * Math.log(rank + 1))
    for (let rank = 0; rank < options.customers; rank++) this.#cumulative[rank]! /= sum
  }

  rowsExpected(): number {
    return Infinity
  }

  *chunks(): Iterable<TransactionChunk> {
    const { seed, firstSecond, perSecond } = this.#options
    const prng = new Prng(seed)
    const column = (): Int32Array => new Int32Array(chunkRowsMax)
    const chunk = { seconds: column(), customer: column(), terminal: column(), amountCents: column(), isFraud: new Uint8Array(chunkRowsMax), scenario: new Uint8Array(chunkRowsMax) }
    for (let row = 0; ; row += chunkRowsMax) {
      for (let i = 0; i < chunkRowsMax; i++) {
        chunk.seconds[i] = firstSecond + Math.floor((row + i) / perSecond)
        chunk.customer[i] = this.customer(prng.uniform())
        chunk.terminal[i] = prng.below(this.parameters.terminals)
        chunk.amountCents[i] = 100 + prng.below(amountCentsMax)
      }
      yield { ...chunk, count: chunkRowsMax, firstId: this.#options.firstId + row }
    }
  }

  /** The customer at a quantile. */
  customer(quantile: number): number {
    let low = 0
    let high = this.#options.customers - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#cumulative[middle]! > quantile) high = middle
      else low = middle + 1
    }
    return this.customerAt(low)
  }

  /** The customer with this rank, 0 the hottest. */
  customerAt(rank: number): number {
    const { customers, firstCustomer = 0 } = this.#options
    return firstCustomer + ((rank * spread) % customers)
  }

  /** How likely a payment is of the customer with this rank. */
  probability(rank: number): number {
    return this.#cumulative[rank]! - (rank === 0 ? 0 : this.#cumulative[rank - 1]!)
  }
}
