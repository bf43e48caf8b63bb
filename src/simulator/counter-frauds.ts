import { DayColumns, type CounterDays } from './counter-day.js'
import { CounterRandom } from './counter-random.js'
import { customersCompromisedPerDay, fraudRules, terminalsCompromisedPerDay, type SimulatorParameters } from './parameters.js'

const purposes = { terminals: 4, customers: 5, picks: 6 } as const

/** The picked transactions of one start day: for each day of its span, customers and ordinals side by side. */
interface Compromise {
  readonly startDay: number
  readonly picks: readonly Int32Array[]
}

/** Days that start a compromise which still lasts on `day`; the last day of all starts none. */
function openStarts(day: number, spanDays: number, days: number): { first: number; last: number } {
  return { first: Math.max(0, day - spanDays + 1), last: Math.min(day, days - 2) }
}

/**
 * Who is compromised on a day, from the seed alone. Days may be asked for in any order; going forward is cheap, since a
 * start day's picks are kept for the 14 days of its span.
 */
export class CounterFrauds {
  readonly #parameters: SimulatorParameters
  readonly #days: CounterDays
  #open: Compromise[] = []

  constructor(parameters: SimulatorParameters, days: CounterDays) {
    this.#parameters = parameters
    this.#days = days
  }

  /** Sets 1 for each terminal that is compromised on a day, 0 for the others. */
  flagTerminals(flags: Uint8Array, day: number): void {
    flags.fill(0)
    const { terminals, days, seed } = this.#parameters
    const perDay = Math.min(terminals, terminalsCompromisedPerDay(terminals))
    const { first, last } = openStarts(day, fraudRules.terminalSpanDays, days)
    const random = new CounterRandom(seed, purposes.terminals)
    for (let start = first; start <= last; start++) {
      for (const terminal of random.start(start, 0).distinct(terminals, perDay)) flags[terminal] = 1
    }
  }

  /** Customer -> ordinals of the transactions picked on a day; one that is picked twice is there twice. */
  pickedOn(day: number): Map<number, number[]> {
    const { first, last } = openStarts(day, fraudRules.customerSpanDays, this.#parameters.days)
    this.#open = this.#open.filter((compromise) => compromise.startDay >= first && compromise.startDay <= last)
    const known = new Set(this.#open.map((compromise) => compromise.startDay))
    for (let start = first; start <= last; start++) if (!known.has(start)) this.#open.push(this.#compromise(start))
    const picked = new Map<number, number[]>()
    for (const { startDay, picks } of this.#open) {
      const ofDay = picks[day - startDay]!
      for (let i = 0; i < ofDay.length; i += 2) {
        const ordinals = picked.get(ofDay[i]!)
        if (ordinals) ordinals.push(ofDay[i + 1]!)
        else picked.set(ofDay[i]!, [ofDay[i + 1]!])
      }
    }
    return picked
  }

  /** Draws the customers of a start day and picks a third of what they will do in its span. */
  #compromise(startDay: number): Compromise {
    const { customers, days, seed } = this.#parameters
    const perDay = Math.min(customers, customersCompromisedPerDay(customers))
    const compromised = new CounterRandom(seed, purposes.customers).start(startDay, 0).distinct(customers, perDay)
    const span = Math.min(fraudRules.customerSpanDays, days - startDay)
    const pool = { customer: [] as number[], day: [] as number[], ordinal: [] as number[] }
    const scratch = new DayColumns(64)
    for (const customer of compromised) {
      for (let day = 0; day < span; day++) {
        scratch.rows = 0
        this.#days.append(scratch, customer, startDay + day)
        for (let ordinal = 0; ordinal < scratch.rows; ordinal++) {
          pool.customer.push(customer)
          pool.day.push(day)
          pool.ordinal.push(ordinal)
        }
      }
    }
    const picks: number[][] = Array.from({ length: fraudRules.customerSpanDays }, () => [])
    const random = new CounterRandom(seed, purposes.picks).start(startDay, 0)
    const order = Int32Array.from({ length: pool.day.length }, (_, i) => i)
    for (let i = 0; i < Math.floor(order.length / fraudRules.pickedShare); i++) {
      const j = i + random.below(order.length - i)
      const index = order[j]!
      order[j] = order[i]!
      picks[pool.day[index]!]!.push(pool.customer[index]!, pool.ordinal[index]!)
    }
    return { startDay, picks: picks.map((ofDay) => Int32Array.from(ofDay)) }
  }
}
