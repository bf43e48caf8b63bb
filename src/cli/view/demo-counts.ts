import type { Clock } from '../../base/clock.js'
import { LatencyHistogram } from '../../monitor/latency-histogram.js'
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

export interface Truth {
  isFraud(id: number): boolean
}

/** Everything that is counted while outputs are read: results, alerts against the truth, rates and delays. */
export class DemoCounts {
  readonly verifier: OutputVerifier
  frauds = 0
  fraudsCaught = 0
  fraudsDeclined = 0
  falseAlerts = 0
  readonly perSecond: number[] = []
  readonly alertRows: AlertRow[] = []
  /** Delays of all that came at a pace. */
  readonly delay = new LatencyHistogram()
  readonly #truth: Truth
  readonly #clock: Clock
  /** Transactions from this number on count for delays. */
  readonly #pacedFrom: number
  #recent = new LatencyHistogram()
  #before = new LatencyHistogram()
  #recentSinceMs: number
  #seenBefore = 0
  /** When the first and the newest result were read. */
  firstResultMs: number | undefined
  lastResultMs: number

  constructor(options: { truth: Truth; clock: Clock; idsMax: number; partitions: number; pacedFrom: number }) {
    this.verifier = new OutputVerifier(options.idsMax, options.partitions)
    this.#truth = options.truth
    this.#clock = options.clock
    this.#pacedFrom = options.pacedFrom
    this.#recentSinceMs = this.lastResultMs = options.clock.monotonicMs()
  }

  /** `timestampMs`: of the record, which is the one of its transaction's record. */
  scored(partition: number, id: number, timestampMs: number): void {
    if (!this.verifier.addScored(partition, id)) return
    this.#result()
    if (this.#truth.isFraud(id)) this.frauds++
    if (id < this.#pacedFrom) return
    const delayMs = this.#clock.nowMs() - timestampMs
    this.delay.add(delayMs)
    this.#recent.add(delayMs)
  }

  deadLetter(partition: number, id: number): void {
    if (this.verifier.addDeadLetter(partition, id)) this.#result()
  }

  alert(id: number, alert: Omit<AlertRow, 'isFraud'>): void {
    if (!this.verifier.addAlert(id)) return
    const isFraud = this.#truth.isFraud(id)
    if (!isFraud) this.falseAlerts++
    else {
      this.fraudsCaught++
      if (alert.decision === 'DECLINE') this.fraudsDeclined++
    }
    this.alertRows.push({ ...alert, isFraud })
    if (this.alertRows.length > countsLimits.alertRowsMax) this.alertRows.shift()
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
