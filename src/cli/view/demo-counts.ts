import type { Clock } from '../../base/clock.js'
import { LatencyHistogram } from '../../base/latency-histogram.js'
import type { AlertRow } from './demo-state.js'
import { OutputVerifier } from './output-verifier.js'

export const countsLimits = {
  /** Seconds of the rate that are kept: more than a screen is wide. */
  secondsMax: 400,
  /** Alerts that are kept: more than a screen is high. */
  alertRowsMax: 200,
  /** Delays that are shown are those of the last one or two of these spans. */
  recentDelayMs: 5_000,
} as const

/** Kinds of fraud in the simulated data: amounts above a limit, compromised terminals, stolen cards. */
export const scenarios = 3

export interface CountsOptions {
  readonly clock: Clock
  readonly partitions: number
  /** The transactions' numbers: [firstId, endId), at a pace from `pacedFrom` on. */
  readonly firstId: number
  readonly pacedFrom: number
  readonly endId: number
  /** The truth about a transaction: 0 genuine, else the scenario of its fraud. */
  readonly scenarioOf: (id: number) => number
}

/**
 * Everything that is counted while outputs are read. Results of all transactions; delays and the truth only of those that
 * came at a pace: before, windows and models are still warming up, and records wait behind each other.
 */
export class DemoCounts {
  readonly verifier: OutputVerifier
  /** Frauds, and those that gave an alert, by scenario; [0] is unused. */
  readonly frauds = new Float64Array(scenarios + 1)
  readonly caught = new Float64Array(scenarios + 1)
  fraudsDeclined = 0
  falseAlerts = 0
  readonly perSecond: number[] = []
  readonly alertRows: AlertRow[] = []
  readonly delay = new LatencyHistogram()
  readonly #options: CountsOptions
  readonly #clock: Clock
  #recent = new LatencyHistogram()
  #before = new LatencyHistogram()
  #recentSinceMs: number
  #seenBefore = 0
  /** When the first and the newest result were read. */
  firstResultMs: number | undefined
  lastResultMs: number

  constructor(options: CountsOptions) {
    this.verifier = new OutputVerifier(options.endId - options.firstId, options.partitions)
    this.#options = options
    this.#clock = options.clock
    this.#recentSinceMs = this.lastResultMs = options.clock.monotonicMs()
  }

  /** `timestampMs`: of the record, which is the one of its transaction's record. */
  scored(partition: number, id: number, timestampMs: number): void {
    if (!this.verifier.addScored(partition, this.#index(id))) return
    this.#result()
    if (id < this.#options.pacedFrom) return
    this.frauds[this.#options.scenarioOf(id)]!++
    const delayMs = this.#clock.nowMs() - timestampMs
    this.delay.add(delayMs)
    this.#recent.add(delayMs)
  }

  deadLetter(partition: number, id: number): void {
    if (this.verifier.addDeadLetter(partition, this.#index(id))) this.#result()
  }

  alert(id: number, alert: Omit<AlertRow, 'isFraud'>): void {
    if (!this.verifier.addAlert(this.#index(id))) return
    const scenario = this.#options.scenarioOf(id)
    const isFraud = scenario > 0
    this.alertRows.push({ ...alert, isFraud })
    if (this.alertRows.length > countsLimits.alertRowsMax) this.alertRows.shift()
    if (id < this.#options.pacedFrom) return
    if (!isFraud) this.falseAlerts++
    else {
      this.caught[scenario]!++
      if (alert.decision === 'DECLINE') this.fraudsDeclined++
    }
  }

  /** -1 stays -1: a value without a number is unexpected, whatever the first number is. */
  #index(id: number): number {
    return id < 0 ? id : id - this.#options.firstId
  }

  /** Once a second. */
  tick(): void {
    const { seen } = this.verifier
    this.perSecond.push(seen - this.#seenBefore)
    this.#seenBefore = seen
    if (this.perSecond.length > countsLimits.secondsMax) this.perSecond.shift()
    if (this.#clock.monotonicMs() - this.#recentSinceMs < countsLimits.recentDelayMs) return
    this.#recentSinceMs = this.#clock.monotonicMs()
    this.#before = this.#recent
    this.#recent = new LatencyHistogram()
  }

  /** Results by the seconds from the first to the last, time without an engine included. */
  get eventsPerSecond(): number {
    const spanMs = this.lastResultMs - (this.firstResultMs ?? this.lastResultMs)
    return spanMs > 0 ? Math.round((this.verifier.seen * 1000) / spanMs) : 0
  }

  #result(): void {
    this.lastResultMs = this.#clock.monotonicMs()
    this.firstResultMs ??= this.lastResultMs
  }

  recentDelay(): { p50: number; p99: number } {
    const both = new LatencyHistogram()
    both.merge(this.#before)
    both.merge(this.#recent)
    return { p50: both.quantile(0.5), p99: both.quantile(0.99) }
  }
}
