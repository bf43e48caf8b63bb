import { assert } from '../base/assert.js'
import { secondsPerDay, type SimulatorParameters } from './parameters.js'
import { chunkRowsMax, type DayRange, type TransactionChunk, type TransactionSource } from './transaction-source.js'

/** Columns without labels, in any order. */
export interface UnlabelledColumns {
  readonly rows: number
  readonly seconds: Int32Array
  readonly customer: Int32Array
  readonly terminal: Int32Array
  readonly amountCents: Int32Array
}

/** All transactions of a simulation in memory, 18 bytes each, sorted by time: row i is transaction i. */
export class TransactionTable implements TransactionSource {
  readonly parameters: SimulatorParameters
  readonly rows: number
  readonly seconds: Int32Array
  readonly customer: Int32Array
  readonly terminal: Int32Array
  readonly amountCents: Int32Array
  readonly isFraud: Uint8Array
  readonly scenario: Uint8Array

  /** Takes columns that are sorted by time; all are genuine at first. */
  constructor(parameters: SimulatorParameters, columns: UnlabelledColumns) {
    this.parameters = parameters
    this.rows = columns.rows
    this.seconds = columns.seconds
    this.customer = columns.customer
    this.terminal = columns.terminal
    this.amountCents = columns.amountCents
    this.isFraud = new Uint8Array(this.rows)
    this.scenario = new Uint8Array(this.rows)
  }

  /** Labels a row; a later scenario overwrites an earlier one. */
  markFraud(row: number, scenario: number): void {
    this.isFraud[row] = 1
    this.scenario[row] = scenario
  }

  /** The first row at or after the beginning of a day. */
  firstRowOfDay(day: number): number {
    const wanted = day * secondsPerDay
    let low = 0
    let high = this.rows
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.seconds[middle]! < wanted) low = middle + 1
      else high = middle
    }
    return low
  }

  rowsExpected(range: DayRange): number {
    return this.firstRowOfDay(range.toDay) - this.firstRowOfDay(range.fromDay)
  }

  *chunks(range: DayRange): Iterable<TransactionChunk> {
    assert(range.fromDay <= range.toDay, 'a range of days goes forward')
    const end = this.firstRowOfDay(range.toDay)
    for (let from = this.firstRowOfDay(range.fromDay); from < end; from += chunkRowsMax) {
      const to = Math.min(end, from + chunkRowsMax)
      yield {
        count: to - from,
        firstId: from,
        seconds: this.seconds.subarray(from, to),
        customer: this.customer.subarray(from, to),
        terminal: this.terminal.subarray(from, to),
        amountCents: this.amountCents.subarray(from, to),
        isFraud: this.isFraud.subarray(from, to),
        scenario: this.scenario.subarray(from, to),
      }
    }
  }
}
