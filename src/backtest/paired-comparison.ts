import { Prng } from '../base/prng.js'

/** Events with a label that two models have both scored, as columns. */
export interface PairedEvents {
  readonly scores: readonly [Float32Array, Float32Array]
  /** 1: fraud. */
  readonly fraud: Uint8Array
  /** Number of the entity: resampling takes all events of an entity or none. */
  readonly entity: Int32Array
  readonly entities: number
  /** Days that the events span. */
  readonly days: number
}

export interface PairedOptions {
  /** Alerts a day that people can look at. */
  readonly alertsADay: number
  readonly resamples: number
  readonly seed: number
}

export const pairedMetrics = ['aucRoc', 'averagePrecision', 'recallAtBudget'] as const
export type PairedMetric = (typeof pairedMetrics)[number]
type Values = Readonly<Record<PairedMetric, number>>

export interface Interval {
  readonly value: number
  /** 95 % of the resamples lie between. */
  readonly low: number
  readonly high: number
}

/** What a metric is for both, and the second less the first. */
export type PairedFigures = Readonly<Record<PairedMetric, { readonly a: Interval; readonly b: Interval; readonly difference: Interval }>>

export const verdicts = ['better', 'worse', 'no difference', 'too few labels'] as const
export interface Recommendation {
  /** What the second is, beside the first. */
  readonly verdict: (typeof verdicts)[number]
  readonly text: string
}

/** Frauds with a label that a recommendation needs. */
export const fraudsMin = 50
/** Recall at the budget may be lower by so much, at the lower end of its interval. */
export const recallLossMax = 0.02

/**
 * Figures of two models over the same events, with intervals of a paired bootstrap: each resample gives every entity a weight drawn
 * from Poisson(1), the same for both models, so that events of one entity, which are alike, do not count as independent.
 */
export function comparePaired(events: PairedEvents, { alertsADay, resamples, seed }: PairedOptions): PairedFigures {
  const orders = events.scores.map(byFallingScore)
  const prng = new Prng(seed)
  const budget = alertsADay * events.days
  const all = new Uint8Array(events.entities).fill(1)
  const points = orders.map((order, model) => weighted(order, events.scores[model]!, events, all, budget)) as [Values, Values]
  const drawn: [Values, Values][] = []
  const weights = new Uint8Array(events.entities)
  for (let resample = 0; resample < resamples; resample++) {
    for (let entity = 0; entity < weights.length; entity++) weights[entity] = poissonOfOne(prng.uniform())
    drawn.push(orders.map((order, model) => weighted(order, events.scores[model]!, events, weights, budget)) as [Values, Values])
  }
  const interval = (of: (values: readonly [Values, Values]) => number): Interval => {
    const sorted = drawn.map(of).filter(Number.isFinite).sort((x, y) => x - y)
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
    return { value: of(points), low: at(0.025), high: at(0.975) }
  }
  const figures = (metric: PairedMetric): PairedFigures[PairedMetric] => ({
    a: interval(([a]) => a[metric]),
    b: interval(([, b]) => b[metric]),
    difference: interval(([a, b]) => b[metric] - a[metric]),
  })
  return { aucRoc: figures('aucRoc'), averagePrecision: figures('averagePrecision'), recallAtBudget: figures('recallAtBudget') }
}

/** A rule that a person can follow: precision over the whole ranking decides, and the alerts that people look at must not lose frauds. */
export function recommend({ averagePrecision, recallAtBudget }: PairedFigures, frauds: number, names: readonly [string, string]): Recommendation {
  const [a, b] = names
  if (frauds < fraudsMin) return { verdict: 'too few labels', text: `${frauds} frauds with a label are too few to tell: wait until there are ${fraudsMin}` }
  const { difference } = averagePrecision
  if (difference.low > 0 && recallAtBudget.difference.low >= -recallLossMax) {
    return { verdict: 'better', text: `${b} is better: its average precision is higher with 95 % confidence, and at the alert budget it does not lose more than ${recallLossMax * 100} points of recall` }
  }
  if (difference.low > 0) return { verdict: 'no difference', text: `${b} ranks better as a whole, but at the alert budget it may lose more than ${recallLossMax * 100} points of recall: stay with ${a}, or try it as a canary` }
  if (difference.high < 0) return { verdict: 'worse', text: `${b} is worse: its average precision is lower with 95 % confidence. Stay with ${a}` }
  return { verdict: 'no difference', text: `no difference is certain: the interval of average precision holds 0. Stay with ${a}, or wait for more labels` }
}

function byFallingScore(scores: Float32Array): Int32Array {
  const order = Int32Array.from({ length: scores.length }, (_, index) => index)
  return order.sort((x, y) => scores[y]! - scores[x]! || x - y)
}

/** Ties are taken or left together: AUC counts a tie as one half, average precision is the sum of (R_n - R_n-1) P_n. */
function weighted(order: Int32Array, scores: Float32Array, { fraud, entity }: PairedEvents, weights: Uint8Array, budget: number): Values {
  let events = 0
  let frauds = 0
  let area = 0
  let precisionSum = 0
  let fraudsInBudget = 0
  for (let at = 0; at < order.length; ) {
    const score = scores[order[at]!]!
    let tied = 0
    let tiedFrauds = 0
    for (; at < order.length && scores[order[at]!] === score; at++) {
      const weight = weights[entity[order[at]!]!]!
      tied += weight
      if (fraud[order[at]!] === 1) tiedFrauds += weight
    }
    area += (tied - tiedFrauds) * (frauds + tiedFrauds / 2)
    events += tied
    frauds += tiedFrauds
    if (events > 0) precisionSum += tiedFrauds * (frauds / events)
    if (events <= budget) fraudsInBudget = frauds
  }
  return { aucRoc: area / (frauds * (events - frauds)), averagePrecision: precisionSum / frauds, recallAtBudget: fraudsInBudget / frauds }
}

/** Poisson with mean 1, by inversion. */
function poissonOfOne(uniform: number): number {
  let count = 0
  let probability = Math.exp(-1)
  for (let sum = probability; uniform > sum && count < 12; sum += probability) probability /= ++count
  return count
}
