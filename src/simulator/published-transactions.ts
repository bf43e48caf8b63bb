import { HarrierError } from '../base/errors.js'
import { CpythonRandom } from './cpython-random.js'
import { labelPublished } from './published-frauds.js'
import { introsortOrder } from './introsort.js'
import { LegacyRandom } from './numpy-legacy.js'
import { secondsPerDay, shareInDay, simulatorLimits, simulatorParameters, streamSeed, timeOfDay, type SimulatorParameters } from './parameters.js'
import { TerminalMap } from './terminal-map.js'
import { TransactionTable, type UnlabelledColumns } from './transaction-table.js'

export interface GenerateOptions {
  /** Called now and then with the share of customers that are done, 0 to 1. */
  readonly onProgress?: (share: number) => void
}

/** Customers between two calls of `onProgress`. */
const progressCustomers = 500

/**
 * The transactions of the fraud detection handbook's simulator (Le Borgne, Siblini, Lebichot, Bontempi, "Reproducible
 * Machine Learning for Credit Card Fraud Detection", chapter 3), with the draws of the original: seed 0 and the published size give the
 * published rows, in the published order. Transactions of one second come in the order of numpy's sort (introsort.ts).
 *
 * Throws LIMIT_EXCEEDED when the table would not fit in memory: the counter generator has no such limit.
 */
export function generatePublished(given: Partial<SimulatorParameters> = {}, options: GenerateOptions = {}): TransactionTable {
  const parameters = simulatorParameters(given)
  const table = new TransactionTable(parameters, sortByTime(drawTransactions(parameters, options)))
  labelPublished(table)
  options.onProgress?.(1)
  return table
}

/** Customer by customer, day by day: the order in which the original draws. */
function drawTransactions(parameters: SimulatorParameters, options: GenerateOptions): UnlabelledColumns {
  const { customers, days, seed } = parameters
  const terminals = drawTerminals(parameters)
  const profiles = drawProfiles(parameters)
  const columns = new GrowingColumns(expectedRows(profiles.rate, days))
  const general = new LegacyRandom(0)
  const choices = new CpythonRandom(0)
  for (let customer = 0; customer < customers; customer++) {
    if (customer % progressCustomers === 0) options.onProgress?.(customer / customers)
    general.seed(streamSeed(seed, customer))
    choices.seed(streamSeed(seed, customer))
    const near = terminals.near(profiles.x[customer]!, profiles.y[customer]!)
    const mean = profiles.amount[customer]!
    const deviation = mean / 2
    for (let day = 0; day < days; day++) {
      for (let left = general.poisson(profiles.rate[customer]!); left > 0; left--) {
        const secondOfDay = Math.trunc(general.normal(timeOfDay.meanSeconds, timeOfDay.deviationSeconds))
        if (secondOfDay <= 0 || secondOfDay >= secondsPerDay) continue
        let amount = general.normal(mean, deviation)
        if (amount < 0) amount = general.uniform(0, mean * 2)
        if (near.length === 0) continue
        columns.append(secondOfDay + day * secondsPerDay, customer, near[choices.choiceIndex(near.length)]!, roundHalfEven(amount * 100))
      }
    }
  }
  return columns
}

function drawTerminals({ terminals, radius, seed }: SimulatorParameters): TerminalMap {
  const random = new LegacyRandom(streamSeed(seed, 1))
  const x = new Float64Array(terminals)
  const y = new Float64Array(terminals)
  for (let t = 0; t < terminals; t++) {
    x[t] = random.uniform(0, 100)
    y[t] = random.uniform(0, 100)
  }
  return new TerminalMap(x, y, radius)
}

interface Profiles {
  readonly x: Float64Array
  readonly y: Float64Array
  /** Mean amount, in whole units of the currency. */
  readonly amount: Float64Array
  /** Mean transactions a day. */
  readonly rate: Float64Array
}

function drawProfiles({ customers, seed }: SimulatorParameters): Profiles {
  const random = new LegacyRandom(streamSeed(seed, 0))
  const column = (): Float64Array => new Float64Array(customers)
  const profiles = { x: column(), y: column(), amount: column(), rate: column() }
  for (let c = 0; c < customers; c++) {
    profiles.x[c] = random.uniform(0, 100)
    profiles.y[c] = random.uniform(0, 100)
    profiles.amount[c] = random.uniform(5, 100)
    profiles.rate[c] = random.uniform(0, 4)
  }
  return profiles
}

/** Rows with some room: the expectation and six standard deviations. */
function expectedRows(rate: Float64Array, days: number): number {
  const mean = rate.reduce((sum, r) => sum + r, 0) * days * shareInDay
  const rows = Math.ceil(mean + 6 * Math.sqrt(mean)) + 16
  if (rows <= simulatorLimits.publishedRowsMax) return rows
  const limit = simulatorLimits.publishedRowsMax
  throw new HarrierError('LIMIT_EXCEEDED', `about ${Math.round(mean)} transactions are more than publishedRowsMax ${limit}`, {
    remedy: 'take --generator counter, which keeps no table in memory',
  })
}

/** Ties go to the even neighbour, as numpy rounds. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}

function sortByTime(columns: UnlabelledColumns): UnlabelledColumns {
  const order = introsortOrder(columns.seconds.subarray(0, columns.rows))
  const sorted = (column: Int32Array): Int32Array => {
    const result = new Int32Array(columns.rows)
    for (let i = 0; i < result.length; i++) result[i] = column[order[i]!]!
    return result
  }
  return {
    rows: columns.rows,
    seconds: sorted(columns.seconds),
    customer: sorted(columns.customer),
    terminal: sorted(columns.terminal),
    amountCents: sorted(columns.amountCents),
  }
}

class GrowingColumns implements UnlabelledColumns {
  rows = 0
  seconds: Int32Array
  customer: Int32Array
  terminal: Int32Array
  amountCents: Int32Array

  constructor(capacity: number) {
    this.seconds = new Int32Array(capacity)
    this.customer = new Int32Array(capacity)
    this.terminal = new Int32Array(capacity)
    this.amountCents = new Int32Array(capacity)
  }

  append(seconds: number, customer: number, terminal: number, amountCents: number): void {
    if (this.rows === this.seconds.length) this.#grow()
    const row = this.rows++
    this.seconds[row] = seconds
    this.customer[row] = customer
    this.terminal[row] = terminal
    this.amountCents[row] = amountCents
  }

  #grow(): void {
    const grown = (column: Int32Array): Int32Array => {
      const larger = new Int32Array(Math.ceil(column.length * 1.25) + 16)
      larger.set(column)
      return larger
    }
    this.seconds = grown(this.seconds)
    this.customer = grown(this.customer)
    this.terminal = grown(this.terminal)
    this.amountCents = grown(this.amountCents)
  }
}
