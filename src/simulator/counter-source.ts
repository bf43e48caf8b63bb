import { assert } from '../base/assert.js'
import { CounterDays, DayColumns, dayRowsExpected } from './counter-day.js'
import { CounterFrauds } from './counter-frauds.js'
import { fraudRules, multiplyAmount, secondsPerDay, simulatorParameters, type SimulatorParameters } from './parameters.js'
import { chunkRowsMax, type DayRange, type TransactionChunk, type TransactionSource } from './transaction-source.js'

/** Ids of day d begin at d times this, so that a range of days has the same ids whatever came before it. */
export const idsPerDay = 1_000_000_000

/** So many customers are drawn between two empty chunks: about a tenth of a second. */
const customersBetweenPauses = 100_000
const noOrder = new Int32Array(0)

/**
 * Transactions day by day from a counter-based generator: any size in bounded memory (21 bytes for each transaction of one
 * day), any day without those before it, the same rows for the same parameters. The statistics of the published simulator and its
 * three scenarios of fraud, the numbers of compromised terminals and customers in proportion to the size.
 */
export class CounterSource implements TransactionSource {
  readonly parameters: SimulatorParameters

  constructor(given: Partial<SimulatorParameters> = {}) {
    this.parameters = simulatorParameters(given)
  }

  rowsExpected(range: DayRange): number {
    return Math.round(dayRowsExpected(this.parameters.customers).mean * (range.toDay - range.fromDay))
  }

  *chunks(range: DayRange): Iterable<TransactionChunk> {
    const days = new CounterDays(this.parameters)
    const frauds = new CounterFrauds(this.parameters, days)
    const columns = new DayColumns(dayRowsExpected(this.parameters.customers).likelyMax)
    const terminalFlags = new Uint8Array(this.parameters.terminals)
    const order = new GrowingOrder()
    const chunk = new ChunkBuffer()
    for (let day = range.fromDay; day < range.toDay; day++) {
      columns.rows = 0
      for (let customer = 0; customer < this.parameters.customers; customer++) {
        if (customer % customersBetweenPauses === customersBetweenPauses - 1) yield chunk.fill(columns, noOrder, columns.rows, day)
        days.append(columns, customer, day)
      }
      assert(columns.rows <= idsPerDay, 'the ids of a day suffice')
      frauds.flagTerminals(terminalFlags, day)
      labelDay(columns, terminalFlags, frauds.pickedOn(day))
      const sorted = order.bySecond(columns)
      for (let from = 0; from < columns.rows; from += chunkRowsMax) yield chunk.fill(columns, sorted, from, day)
    }
  }
}

/** Applies the scenarios in their order; rows of a customer lie together, in the order of their ordinals. */
function labelDay(columns: DayColumns, terminalFlags: Uint8Array, picked: ReadonlyMap<number, readonly number[]>): void {
  const { customer, terminal, amountCents, scenario } = columns
  let ordinal = 0
  let ordinals: readonly number[] | undefined
  for (let row = 0; row < columns.rows; row++) {
    if (row === 0 || customer[row] !== customer[row - 1]) {
      ordinal = 0
      ordinals = picked.get(customer[row]!)
    }
    if (amountCents[row]! > fraudRules.amountCentsMax) scenario[row] = 1
    if (terminalFlags[terminal[row]!] === 1) scenario[row] = 2
    for (const pick of ordinals ?? []) {
      if (pick !== ordinal) continue
      amountCents[row] = multiplyAmount(amountCents[row]!)
      scenario[row] = 3
    }
    ordinal++
  }
}

/** Rows by their second: a counting sort, so rows of one second stay in the order of their customers. */
class GrowingOrder {
  #order = new Int32Array(0)
  readonly #start = new Int32Array(secondsPerDay + 1)

  bySecond(columns: DayColumns): Int32Array {
    if (this.#order.length < columns.rows) this.#order = new Int32Array(columns.scenario.length)
    const order = this.#order
    const start = this.#start.fill(0)
    for (let row = 0; row < columns.rows; row++) start[columns.secondOfDay[row]! + 1]!++
    for (let second = 0; second < secondsPerDay; second++) start[second + 1]! += start[second]!
    for (let row = 0; row < columns.rows; row++) order[start[columns.secondOfDay[row]!]!++] = row
    return order
  }
}

class ChunkBuffer {
  readonly #seconds = new Int32Array(chunkRowsMax)
  readonly #customer = new Int32Array(chunkRowsMax)
  readonly #terminal = new Int32Array(chunkRowsMax)
  readonly #amountCents = new Int32Array(chunkRowsMax)
  readonly #isFraud = new Uint8Array(chunkRowsMax)
  readonly #scenario = new Uint8Array(chunkRowsMax)

  fill(columns: DayColumns, order: Int32Array, from: number, day: number): TransactionChunk {
    const count = Math.min(chunkRowsMax, columns.rows - from)
    for (let i = 0; i < count; i++) {
      const row = order[from + i]!
      this.#seconds[i] = day * secondsPerDay + columns.secondOfDay[row]!
      this.#customer[i] = columns.customer[row]!
      this.#terminal[i] = columns.terminal[row]!
      this.#amountCents[i] = columns.amountCents[row]!
      this.#isFraud[i] = columns.scenario[row]! > 0 ? 1 : 0
      this.#scenario[i] = columns.scenario[row]!
    }
    return {
      count,
      firstId: day * idsPerDay + from,
      seconds: this.#seconds,
      customer: this.#customer,
      terminal: this.#terminal,
      amountCents: this.#amountCents,
      isFraud: this.#isFraud,
      scenario: this.#scenario,
    }
  }
}
