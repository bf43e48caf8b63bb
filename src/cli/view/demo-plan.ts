import { secondsPerDay } from '../../simulator/parameters.js'
import type { TransactionTable } from '../../simulator/transaction-table.js'

/** When day 0 of the published data set begins. */
export const demoEpochMs = Date.UTC(2018, 3, 1)

/**
 * The first of the days that the models of `models/` have neither trained on nor been chosen by (2018-08-08, `split.test` of
 * their manifests): what comes at a pace is new to them, so what they catch is what they can do.
 */
export const heldOutDay = 129

export interface DemoPlan {
  /** Days of event time from the table's beginning, with fractions: history from `fromDay`, the paced rest from `pacedDay`. */
  readonly fromDay: number
  readonly pacedDay: number
  /** The rows, which are the transactions' numbers: [firstRow, endRow), at a pace from `pacedRow` on. */
  readonly firstRow: number
  readonly pacedRow: number
  readonly endRow: number
}

/**
 * Which transactions are played: `historyDays` at full speed up to the held-out days, then these to the end. With a number
 * of events at most half of them are history. Where more are wanted than the held-out days have, all begins earlier.
 */
export function planDemo(table: TransactionTable, { events, historyDays }: { events: number | undefined; historyDays: number }): DemoPlan {
  const total = Math.min(events ?? table.rows, table.rows)
  const heldOutRow = table.firstRowOfDay(heldOutDay)
  const earliest = table.firstRowOfDay(Math.max(0, heldOutDay - historyDays))
  const half = Math.floor(total / 2)
  const history = events === undefined ? heldOutRow - earliest : Math.min(heldOutRow - earliest, half)
  if (events === undefined || heldOutRow - history + total <= table.rows) {
    const fromDay = dayOf(table, heldOutRow - history)
    const firstRow = table.firstRowOfDay(fromDay)
    return { fromDay, pacedDay: heldOutDay, firstRow, pacedRow: heldOutRow, endRow: events === undefined ? table.rows : firstRow + total }
  }
  const fromDay = dayOf(table, table.rows - total)
  const firstRow = table.firstRowOfDay(fromDay)
  const pacedDay = Math.min(fromDay + historyDays, dayOf(table, firstRow + half))
  return { fromDay, pacedDay, firstRow, pacedRow: table.firstRowOfDay(pacedDay), endRow: firstRow + total }
}

/** In days, half a second before a row: times are whole seconds, so no rounding decides on which side it lies. */
function dayOf(table: TransactionTable, row: number): number {
  return row < table.rows ? Math.max(0, (table.seconds[row]! - 0.5) / secondsPerDay) : table.parameters.days
}
