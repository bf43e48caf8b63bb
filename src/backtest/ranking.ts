/** Events of one score: how many, how many of them frauds, and what those frauds cost where nobody stops them. */
export interface ScoreGroup {
  readonly score: number
  readonly events: number
  readonly frauds: number
  readonly loss: number
}

export interface Totals {
  readonly events: number
  readonly frauds: number
  readonly loss: number
  /** Days of the measured range. */
  readonly days: number
}

export interface Point {
  readonly x: number
  readonly y: number
}

export interface CostPoint {
  readonly threshold: number
  readonly alertsADay: number
  /** Reviews and missed frauds, a day. */
  readonly costADay: number
}

export interface Band {
  readonly from: number
  readonly to: number
  readonly events: number
  readonly frauds: number
  readonly meanScore: number
}

export interface AtThreshold {
  readonly threshold: number
  readonly alertsADay: number
  /** Null where nothing reaches the threshold. */
  readonly precision: number | null
  readonly recall: number
}

export interface RankingFigures {
  readonly aucRoc: number
  readonly averagePrecision: number
  readonly roc: readonly Point[]
  readonly precisionRecall: readonly Point[]
  readonly histogram: { readonly edges: readonly number[]; readonly genuine: readonly number[]; readonly fraud: readonly number[] }
  readonly calibration: readonly Band[]
  readonly cost: readonly CostPoint[]
  readonly cheapest: CostPoint | undefined
  readonly atBudget: AtThreshold
  readonly atThresholds: readonly AtThreshold[]
}

/** Points of a curve; it keeps those that lie so far apart. */
const curveStep = 1 / 400
/** Cost points: alerts grow by this factor from one to the next. */
const costStep = 1.06

/** Edges in equal steps of log-odds, from 0.0001 to 0.9999: scores of rare events crowd near 0. */
export const histogramEdges = edges(-9.21, 9.21, 48)
export const calibrationEdges = edges(-6.9, 4.6, 12)

function edges(from: number, to: number, bins: number): number[] {
  return [0, ...Array.from({ length: bins - 1 }, (_, i) => 1 / (1 + Math.exp(-(from + ((i + 1) * (to - from)) / bins)))), 1]
}

export interface RankingOptions {
  readonly totals: Totals
  readonly reviewCost: number
  /** Alerts a day that people can look at. */
  readonly alertsADay: number
  /** Those of the policy, any order. */
  readonly thresholds: readonly number[]
}

/**
 * Figures of one model from its events in the order of falling scores, one group for each score: bounded memory at any
 * number of events. Groups are ties: they are taken or left together.
 *
 * AUC ROC counts a tie as one half; average precision is the sum of (R_n - R_n-1) P_n over the thresholds, as scikit-learn has both.
 */
export class Ranking {
  readonly #options: RankingOptions
  #events = 0
  #frauds = 0
  #stoppedLoss = 0
  #area = 0
  #averagePrecision = 0
  readonly #roc: Point[] = [{ x: 0, y: 0 }]
  readonly #precisionRecall: Point[] = []
  readonly #cost: CostPoint[] = []
  #cheapest: CostPoint | undefined
  #nextCostAt = 1
  readonly #histogram = { genuine: new Array<number>(histogramEdges.length - 1).fill(0), fraud: new Array<number>(histogramEdges.length - 1).fill(0) }
  #bin = histogramEdges.length - 2
  #band = calibrationEdges.length - 2
  readonly #bands = calibrationEdges.slice(0, -1).map((from, i) => ({ from, to: calibrationEdges[i + 1]!, events: 0, frauds: 0, sum: 0 }))
  #atBudget: AtThreshold
  readonly #atThresholds: Map<number, AtThreshold>

  constructor(options: RankingOptions) {
    this.#options = options
    const nothing = { alertsADay: 0, precision: null, recall: 0 }
    this.#atBudget = { threshold: 1, ...nothing }
    this.#atThresholds = new Map(options.thresholds.map((threshold) => [threshold, { threshold, ...nothing }]))
    this.#addCost(Infinity)
  }

  /** The next lower score. */
  add({ score, events, frauds, loss }: ScoreGroup): void {
    const { totals, alertsADay } = this.#options
    const genuine = events - frauds
    const allGenuine = totals.events - totals.frauds
    this.#area += genuine * (this.#frauds + frauds / 2)
    this.#events += events
    this.#frauds += frauds
    this.#stoppedLoss += loss
    const precision = this.#frauds / this.#events
    if (totals.frauds > 0) this.#averagePrecision += (frauds / totals.frauds) * precision
    keep(this.#roc, { x: ratio(this.#events - this.#frauds, allGenuine), y: ratio(this.#frauds, totals.frauds) }, this.#events === totals.events)
    if (this.#frauds > 0) keep(this.#precisionRecall, { x: ratio(this.#frauds, totals.frauds), y: precision }, this.#events === totals.events)
    while (this.#bin > 0 && score < histogramEdges[this.#bin]!) this.#bin--
    this.#histogram.genuine[this.#bin]! += genuine
    this.#histogram.fraud[this.#bin]! += frauds
    while (this.#band > 0 && score < calibrationEdges[this.#band]!) this.#band--
    const band = this.#bands[this.#band]!
    band.events += events
    band.frauds += frauds
    band.sum += score * events
    const here: AtThreshold = { threshold: score, alertsADay: this.#events / totals.days, precision, recall: ratio(this.#frauds, totals.frauds) }
    if (this.#events <= alertsADay * totals.days) this.#atBudget = here
    for (const threshold of this.#atThresholds.keys()) if (score >= threshold) this.#atThresholds.set(threshold, { ...here, threshold })
    if (this.#events >= this.#nextCostAt) {
      this.#addCost(score)
      this.#nextCostAt = Math.max(this.#events + 1, this.#events * costStep)
    }
  }

  figures(): RankingFigures {
    const { totals } = this.#options
    const pairs = totals.frauds * (totals.events - totals.frauds)
    return {
      aucRoc: pairs === 0 ? NaN : this.#area / pairs,
      averagePrecision: totals.frauds === 0 ? NaN : this.#averagePrecision,
      roc: this.#roc,
      precisionRecall: this.#precisionRecall,
      histogram: { edges: histogramEdges, ...this.#histogram },
      calibration: this.#bands.filter(({ events }) => events > 0).map(({ sum, ...band }) => ({ ...band, meanScore: sum / band.events })),
      cost: this.#cost,
      cheapest: this.#cheapest,
      atBudget: this.#atBudget,
      atThresholds: [...this.#atThresholds.values()],
    }
  }

  /** What a threshold here would cost: every alert is reviewed, and what it misses is lost. */
  #addCost(threshold: number): void {
    const { totals, reviewCost } = this.#options
    const point = { threshold, alertsADay: this.#events / totals.days, costADay: (reviewCost * this.#events + totals.loss - this.#stoppedLoss) / totals.days }
    this.#cost.push(point)
    if (!this.#cheapest || point.costADay < this.#cheapest.costADay) this.#cheapest = point
  }
}

function ratio(part: number, of: number): number {
  return of === 0 ? 0 : part / of
}

/** A point is kept when it lies a step away from the last one, or is the end. */
function keep(points: Point[], point: Point, isEnd: boolean): void {
  const last = points.at(-1)
  if (!last || isEnd || Math.abs(point.x - last.x) >= curveStep || Math.abs(point.y - last.y) >= curveStep) points.push(point)
}
