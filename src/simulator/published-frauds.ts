import { CpythonRandom } from './cpython-random.js'
import { LegacyRandom } from './numpy-legacy.js'
import { customersCompromisedPerDay, fraudRules, multiplyAmount, secondsPerDay, streamSeed, terminalsCompromisedPerDay } from './parameters.js'
import type { TransactionTable } from './transaction-table.js'

/** Adds the three scenarios of fraud to a table of genuine transactions, in their order: a later one overwrites an earlier. */
export function labelPublished(table: TransactionTable): void {
  labelLargeAmounts(table)
  labelCompromisedTerminals(table)
  labelCompromisedCustomers(table)
}

function labelLargeAmounts(table: TransactionTable): void {
  for (let row = 0; row < table.rows; row++) if (table.amountCents[row]! > fraudRules.amountCentsMax) table.markFraud(row, 1)
}

/** The last day with transactions starts nothing, as in the original. */
function startDays(table: TransactionTable): number {
  return table.rows === 0 ? 0 : Math.floor(table.seconds[table.rows - 1]! / secondsPerDay)
}

function labelCompromisedTerminals(table: TransactionTable): void {
  const { terminals, seed } = table.parameters
  const perDay = Math.min(terminals, terminalsCompromisedPerDay(terminals))
  const startsOf = new Map<number, number[]>()
  for (let day = 0; day < startDays(table); day++) {
    for (const terminal of new LegacyRandom(streamSeed(seed, day)).choice(terminals, perDay)) {
      const starts = startsOf.get(terminal)
      if (starts) starts.push(day)
      else startsOf.set(terminal, [day])
    }
  }
  const isListed = new Uint8Array(terminals)
  for (const terminal of startsOf.keys()) isListed[terminal] = 1
  for (let row = 0; row < table.rows; row++) {
    const terminal = table.terminal[row]!
    if (isListed[terminal] === 0) continue
    const day = Math.floor(table.seconds[row]! / secondsPerDay)
    if (startsOf.get(terminal)!.some((start) => start <= day && day < start + fraudRules.terminalSpanDays)) table.markFraud(row, 2)
  }
}

function labelCompromisedCustomers(table: TransactionTable): void {
  const { customers, seed } = table.parameters
  const perDay = Math.min(customers, customersCompromisedPerDay(customers))
  const drawn: Int32Array[] = []
  for (let day = 0; day < startDays(table); day++) drawn.push(new LegacyRandom(streamSeed(seed, day)).choice(customers, perDay))
  const rowsOf = rowsByCustomer(table, drawn)
  for (const [day, compromised] of drawn.entries()) {
    const from = table.firstRowOfDay(day)
    const to = table.firstRowOfDay(day + fraudRules.customerSpanDays)
    const pool: number[] = []
    for (const customer of compromised) for (const row of rowsOf.get(customer)!) if (row >= from && row < to) pool.push(row)
    pool.sort((a, b) => a - b)
    const picked = new CpythonRandom(streamSeed(seed, day)).sampleIndices(pool.length, Math.floor(pool.length / fraudRules.pickedShare))
    for (const index of picked) {
      const row = pool[index]!
      table.amountCents[row] = multiplyAmount(table.amountCents[row]!)
      table.markFraud(row, 3)
    }
  }
}

/** The rows of each customer that is compromised on some day. */
function rowsByCustomer(table: TransactionTable, drawn: readonly Int32Array[]): Map<number, number[]> {
  const rowsOf = new Map<number, number[]>()
  for (const compromised of drawn) for (const customer of compromised) rowsOf.set(customer, [])
  const isListed = new Uint8Array(table.parameters.customers)
  for (const customer of rowsOf.keys()) isListed[customer] = 1
  for (let row = 0; row < table.rows; row++) {
    const customer = table.customer[row]!
    if (isListed[customer] === 1) rowsOf.get(customer)!.push(row)
  }
  return rowsOf
}
