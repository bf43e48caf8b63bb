import type { Clock } from '../base/clock.js'

/** As fast as it can, at a rate of events, or with event time running `factor` times as fast as the clock. */
export type Pace =
  | { readonly kind: 'full' }
  | { readonly kind: 'rate'; readonly perSecond: number }
  | { readonly kind: 'speedup'; readonly factor: number }

/** After a stall at most so much is made up for; what lies further back is let go, so that a rate stays a rate. */
const catchUpMsMax = 1000

/** Says when the next event is due. Knows nothing of what is sent. */
export class Pacer {
  readonly #pace: Pace
  readonly #clock: Clock
  #beganMs = 0
  #firstSeconds = 0
  #sent = 0

  constructor(pace: Pace, clock: Clock) {
    this.#pace = pace
    this.#clock = clock
  }

  /** Counts from now, and from this second of event time. */
  begin(eventSeconds: number): void {
    this.#beganMs = this.#clock.monotonicMs()
    this.#firstSeconds = eventSeconds
    this.#sent = 0
  }

  /** How long the next event, of this event time, has to wait; 0 or less: it is due. */
  waitMs(eventSeconds: number): number {
    const pace = this.#pace
    if (pace.kind === 'full') return 0
    const sinceMs = pace.kind === 'rate' ? (this.#sent * 1000) / pace.perSecond : ((eventSeconds - this.#firstSeconds) * 1000) / pace.factor
    const waitMs = this.#beganMs + sinceMs - this.#clock.monotonicMs()
    if (waitMs < -catchUpMsMax) this.#beganMs += -waitMs - catchUpMsMax
    return waitMs
  }

  sent(): void {
    this.#sent++
  }
}
