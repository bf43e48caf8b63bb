import { CounterRandom } from './counter-random.js'
import { secondsPerDay, shareInDay, timeOfDay, type SimulatorParameters } from './parameters.js'
import { TerminalMap } from './terminal-map.js'

/** What the streams of a simulation are for. */
const purposes = { terminal: 1, customer: 2, day: 3 } as const

/** Unsorted transactions of one or more customer-days; grows, and is reused. */
export class DayColumns {
  rows = 0
  secondOfDay: Int32Array
  customer: Int32Array
  terminal: Int32Array
  amountCents: Int32Array
  scenario: Uint8Array

  constructor(capacity: number) {
    this.secondOfDay = new Int32Array(capacity)
    this.customer = new Int32Array(capacity)
    this.terminal = new Int32Array(capacity)
    this.amountCents = new Int32Array(capacity)
    this.scenario = new Uint8Array(capacity)
  }

  append(secondOfDay: number, customer: number, terminal: number, amountCents: number): void {
    if (this.rows === this.scenario.length) this.#grow()
    const row = this.rows++
    this.secondOfDay[row] = secondOfDay
    this.customer[row] = customer
    this.terminal[row] = terminal
    this.amountCents[row] = amountCents
    this.scenario[row] = 0
  }

  #grow(): void {
    const capacity = Math.ceil(this.scenario.length * 1.25) + 64
    for (const name of ['secondOfDay', 'customer', 'terminal', 'amountCents'] as const) {
      const larger = new Int32Array(capacity)
      larger.set(this[name])
      this[name] = larger
    }
    const larger = new Uint8Array(capacity)
    larger.set(this.scenario)
    this.scenario = larger
  }
}

/** Rows that a day is likely to have at most: the mean and six deviations (rates vary with the customer). */
export function dayRowsExpected(customers: number): { mean: number; likelyMax: number } {
  const mean = customers * 2 * shareInDay
  return { mean, likelyMax: Math.ceil(mean + 6 * Math.sqrt(mean * 2)) + 64 }
}

/**
 * The genuine transactions of any customer on any day, by themselves: profile, times, amounts and terminals are hashed from
 * (seed, customer, day). Same distributions as the published simulator, other numbers.
 */
export class CounterDays {
  readonly #terminals: TerminalMap
  readonly #profiles: CounterRandom
  readonly #draws: CounterRandom
  readonly #uniform: () => number

  constructor({ terminals, radius, seed }: SimulatorParameters) {
    const random = new CounterRandom(seed, purposes.terminal)
    const x = new Float64Array(terminals)
    const y = new Float64Array(terminals)
    for (let t = 0; t < terminals; t++) {
      random.start(t, 0)
      x[t] = random.uniform() * 100
      y[t] = random.uniform() * 100
    }
    this.#terminals = new TerminalMap(x, y, radius)
    this.#profiles = new CounterRandom(seed, purposes.customer)
    const draws = new CounterRandom(seed, purposes.day)
    this.#draws = draws
    this.#uniform = () => draws.uniform()
  }

  /** Appends one customer's transactions of one day; their order there is their ordinal. */
  append(columns: DayColumns, customer: number, day: number): void {
    const profile = this.#profiles.start(customer, 0)
    const x = profile.uniform() * 100
    const y = profile.uniform() * 100
    const mean = 5 + profile.uniform() * 95
    const rate = profile.uniform() * 4
    const draws = this.#draws.start(customer, day)
    for (let left = draws.poisson(rate); left > 0; left--) {
      // Polar method (Marsaglia): one pair of normals for time and amount. Only log and sqrt, whose bits Node's versions agree on.
      let x1, x2, squared: number
      do {
        x1 = 2 * draws.uniform() - 1
        x2 = 2 * draws.uniform() - 1
        squared = x1 * x1 + x2 * x2
      } while (squared >= 1)
      const factor = Math.sqrt((-2 * Math.log(squared)) / squared)
      const second = Math.trunc(timeOfDay.meanSeconds + timeOfDay.deviationSeconds * factor * x1)
      if (second <= 0 || second >= secondsPerDay) continue
      let amount = mean * (1 + 0.5 * factor * x2)
      if (amount < 0) amount = draws.uniform() * mean * 2
      const terminal = this.#terminals.pick(x, y, this.#uniform)
      if (terminal >= 0) columns.append(second, customer, terminal, Math.round(amount * 100))
    }
  }
}
