import type { SimulatorParameters } from './parameters.js'

/**
 * Transactions in the order of their time, as columns. Row i has the id `firstId + i`. Columns may be longer than
 * `count`, and are valid until the next chunk is asked for. A chunk may be empty: the source is still at work, and whoever
 * reads may let others run.
 */
export interface TransactionChunk {
  readonly count: number
  readonly firstId: number
  /** Seconds since the beginning of day 0. */
  readonly seconds: Int32Array
  readonly customer: Int32Array
  readonly terminal: Int32Array
  readonly amountCents: Int32Array
  readonly isFraud: Uint8Array
  /** 0 genuine; 1, 2, 3 the scenario of fraud. */
  readonly scenario: Uint8Array
}

/** Days [from, to). */
export interface DayRange {
  readonly fromDay: number
  readonly toDay: number
}

/** Rows of a chunk at most. */
export const chunkRowsMax = 8192

/**
 * Anything that gives transactions in time order: a table in memory, or a generator. Each call of `chunks` begins anew
 * and is independent of the others, so that labels can be read some days behind the transactions.
 */
export interface TransactionSource {
  readonly parameters: SimulatorParameters
  /** How many rows a range has: exact for a table, expected for a generator. */
  rowsExpected(range: DayRange): number
  chunks(range: DayRange): Iterable<TransactionChunk>
}

/** The range within the days that there are. */
export function clampDays(range: Partial<DayRange>, days: number): DayRange {
  const toDay = Math.min(range.toDay ?? days, days)
  return { fromDay: Math.min(Math.max(0, range.fromDay ?? 0), toDay), toDay }
}
