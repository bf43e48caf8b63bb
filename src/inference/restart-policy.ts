import type { ModelFailure } from './frame.js'
import type { ScorerLimits } from './scorer.js'

const minuteMs = 60_000

/**
 * Decides what becomes of a model whose runs cost workers: after `workerRestartsPerMinuteMax` of them in a minute it is set
 * aside for `modelRetryAfterMs` (every frame counts it as failed, at no cost), then tried again. So a model that hangs
 * costs a bounded part of the time, and the other models go on.
 */
export class RestartPolicy {
  readonly #limits: Pick<ScorerLimits, 'workerRestartsPerMinuteMax' | 'modelRetryAfterMs'>
  /** By model, and last for ends that no model is to blame for: when they were. */
  readonly #restarts: number[][]
  readonly #setAside = new Map<number, { readonly untilMs: number; readonly failure: ModelFailure }>()

  constructor(limits: Pick<ScorerLimits, 'workerRestartsPerMinuteMax' | 'modelRetryAfterMs'>, models: number) {
    this.#limits = limits
    this.#restarts = Array.from({ length: models + 1 }, () => [])
  }

  /** Notes a restart. False = workers end without a model being to blame, too often to go on. */
  record(nowMs: number, failure: ModelFailure | null): boolean {
    const { workerRestartsPerMinuteMax, modelRetryAfterMs } = this.#limits
    const index = failure?.model ?? this.#restarts.length - 1
    const recent = this.#restarts[index]!.filter((atMs) => atMs > nowMs - minuteMs)
    recent.push(nowMs)
    this.#restarts[index] = recent
    if (recent.length < workerRestartsPerMinuteMax) return true
    if (!failure) return false
    const message = `set aside for ${modelRetryAfterMs} ms after ${recent.length} failures in a minute; the last: ${failure.message}`
    this.#setAside.set(failure.model, { untilMs: nowMs + modelRetryAfterMs, failure: { model: failure.model, kind: 'set-aside', message } })
    this.#restarts[index] = []
    return true
  }

  /** The models that are set aside at this time. */
  setAside(nowMs: number): Map<number, ModelFailure> {
    for (const [model, { untilMs }] of this.#setAside) if (nowMs >= untilMs) this.#setAside.delete(model)
    return new Map([...this.#setAside].map(([model, { failure }]) => [model, failure]))
  }
}
