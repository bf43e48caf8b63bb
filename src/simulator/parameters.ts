import { HarrierError } from '../base/errors.js'

export const secondsPerDay = 86_400

/** What is simulated. The defaults are those of the published data set. */
export interface SimulatorParameters {
  readonly customers: number
  readonly terminals: number
  readonly days: number
  /** A customer pays at terminals nearer than this, on a plane of 100 by 100. */
  readonly radius: number
  /** 0 gives the published data set. */
  readonly seed: number
}

export const publishedParameters: SimulatorParameters = { customers: 5000, terminals: 10_000, days: 183, radius: 5, seed: 0 }

/** Times of day are normal around noon; what falls outside its day is dropped. */
export const timeOfDay = { meanSeconds: secondsPerDay / 2, deviationSeconds: 20_000 } as const
/** Share of the drawn times that fall within their day: |z| < 43,200 / 20,000. */
export const shareInDay = 0.9692

/** The rules of fraud. Amounts in cents, spans in days. */
export const fraudRules = {
  /** Scenario 1: any amount above this. */
  amountCentsMax: 22_000,
  /** Scenario 2: all transactions on a compromised terminal. */
  terminalSpanDays: 28,
  terminalsPerDay: 2,
  terminalsPublished: 10_000,
  /** Scenario 3: each third transaction of compromised customers, five times the amount. */
  customerSpanDays: 14,
  customersPerDay: 3,
  customersPublished: 5000,
  pickedShare: 3,
  amountFactor: 5,
  /** Amounts stay within 31 bits: one that would grow beyond (picked ten times, in a tiny set) is not multiplied again. */
  amountCentsLimit: 0x7fffffff,
} as const

export const simulatorLimits = {
  customersMax: 10_000_000,
  terminalsMax: 10_000_000,
  /** Seconds stay within 31 bits. */
  daysMax: 20_000,
  /** The published draws keep the whole table in memory. */
  publishedRowsMax: 100_000_000,
  seedMax: 0xffffffff,
  /** Cells of the plane's grid are as wide as the radius: a smaller one would make too many. */
  radiusMin: 0.05,
} as const

const ranges: readonly (readonly [keyof SimulatorParameters, number, number])[] = [
  ['customers', 1, simulatorLimits.customersMax],
  ['terminals', 1, simulatorLimits.terminalsMax],
  ['days', 1, simulatorLimits.daysMax],
  ['radius', simulatorLimits.radiusMin, 150],
  ['seed', 0, simulatorLimits.seedMax],
]

/** The published parameters with what is given in their place. Throws CONFIG_INVALID. */
export function simulatorParameters(given: Partial<SimulatorParameters> = {}): SimulatorParameters {
  const parameters = { ...publishedParameters }
  for (const [name, least, most] of ranges) {
    const value = given[name]
    if (value === undefined) continue
    const fits = value >= least && value <= most && (name === 'radius' || Number.isInteger(value))
    const kind = name === 'radius' ? 'a number' : 'an integer'
    if (!fits) throw new HarrierError('CONFIG_INVALID', `${name} ${value} is not ${kind} from ${least} to ${most}`)
    Object.assign(parameters, { [name]: value })
  }
  return parameters
}

/** Terminals that a day compromises: 2 of 10,000, and at other sizes the same share, at least 1. */
export function terminalsCompromisedPerDay(terminals: number): number {
  return Math.max(1, Math.round((fraudRules.terminalsPerDay * terminals) / fraudRules.terminalsPublished))
}

/** Customers that a day compromises: 3 of 5,000, and at other sizes the same share, at least 1. */
export function customersCompromisedPerDay(customers: number): number {
  return Math.max(1, Math.round((fraudRules.customersPerDay * customers) / fraudRules.customersPublished))
}

/**
 * The 32-bit seed of a stream. The published set (seed 0) takes the small numbers themselves: 0 for the customers' profiles, 1
 * for the terminals', the customer's number for a customer and the day for a day. Other seeds shift them all.
 */
export function streamSeed(seed: number, stream: number): number {
  return (Math.imul(seed, 0x9e3779b1) + stream) >>> 0
}

/** The amount after a compromise of its customer. */
export function multiplyAmount(amountCents: number): number {
  const multiplied = amountCents * fraudRules.amountFactor
  return multiplied <= fraudRules.amountCentsLimit ? multiplied : amountCents
}
