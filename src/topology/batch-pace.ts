import type { TopologySpec } from './topology-schema.js'

/** An engine is behind when a poll gives this share of `batchRecordsMax`: batches are large then, and one is folded while another commits. */
const behindShare = 1 / 2

type PaceLimits = Pick<TopologySpec['limits'], 'batchRecordsMax' | 'batchDelayMsMax'>

/**
 * When the next batch is polled. An event that is folded ahead waits for the commits of the batches before its own; one that
 * is left in the log until the commit before has ended goes into a batch with all that has come meanwhile. So batches are folded
 * ahead only while the engine is behind; otherwise their size follows from the time that a commit takes, and an event waits for
 * half a commit and its own. Where outputs do not wait for a commit (`always`) nothing is gained by that.
 */
export class BatchPace {
  readonly #limits: PaceLimits
  readonly #ahead: { readonly aheadMax: number; readonly always: boolean }
  #polledAtMs = -Infinity
  #isBehind = false

  constructor(limits: PaceLimits, ahead: { readonly aheadMax: number; readonly always: boolean }) {
    this.#limits = limits
    this.#ahead = ahead
  }

  /** Batches that may be folded and not committed when another is polled. */
  get foldedMax(): number {
    const { aheadMax, always } = this.#ahead
    return this.#isBehind || always ? aheadMax + 1 : 0
  }

  /** How long a batch that has a record waits for more, ms: so that a batch begins `batchDelayMsMax` after the one before. */
  fillMs(nowMs: number): number {
    return Math.max(0, Math.ceil(this.#limits.batchDelayMsMax - (nowMs - this.#polledAtMs)))
  }

  polled(count: number, nowMs: number): void {
    this.#polledAtMs = nowMs
    this.#isBehind = count >= this.#limits.batchRecordsMax * behindShare
  }
}
