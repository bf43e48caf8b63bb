import type { Clock } from '../base/clock.js'
import type { ScoringModels } from '../inference/scorer.js'
import type { LineageOutlet } from './lineage-outlet.js'
import { runEvent, runIdOf, type RunContext, type RunCounts, type RunState } from './run-event.js'

/** Between two RUNNING events of a run. */
const runningMs = 300_000

export interface RunLineageOptions {
  readonly context: RunContext
  readonly outlets: readonly LineageOutlet[]
  /** The models that score now. */
  readonly inForce: () => ScoringModels
  /** Since the start of the process. */
  readonly counts: () => RunCounts
  readonly clock: Clock
}

/**
 * Tells OpenLineage about one stage in one process. A run begins when a set of models begins to score, and ends when another takes over
 * (COMPLETE), when the process ends (COMPLETE) or fails (FAIL): so a run has one set of models, which is what made its outputs.
 */
export class RunLineage {
  readonly #options: RunLineageOptions
  #run: { readonly runId: string; readonly models: ScoringModels; readonly from: RunCounts } | undefined
  #stopTicking: () => void = () => undefined

  constructor(options: RunLineageOptions) {
    this.#options = options
  }

  start(): void {
    this.#begin()
    this.#stopTicking = this.#options.clock.every(runningMs, () => this.#tell('RUNNING'))
  }

  /** Other models have taken over. */
  switched(): void {
    this.#tell('COMPLETE')
    this.#begin()
  }

  /** The stage has ended; `error`: why it failed. */
  async end(error?: unknown): Promise<void> {
    this.#stopTicking()
    this.#tell(error === undefined ? 'COMPLETE' : 'FAIL', error)
    this.#run = undefined
    await Promise.all(this.#options.outlets.map((outlet) => outlet.close()))
  }

  #begin(): void {
    const { context, inForce, counts, clock } = this.#options
    const models = inForce()
    this.#run = { runId: runIdOf(context, models.release, clock.nowMs()), models, from: counts() }
    this.#tell('START')
  }

  #tell(state: RunState, error?: unknown): void {
    const run = this.#run
    if (!run) return
    const { context, outlets, counts, clock } = this.#options
    const now = counts()
    const written = { scored: now.scored - run.from.scored, alerts: now.alerts - run.from.alerts, deadLetters: now.deadLetters - run.from.deadLetters }
    const event = JSON.stringify(runEvent(context, { state, timeMs: clock.nowMs(), runId: run.runId, models: run.models, counts: written, error }))
    for (const outlet of outlets) outlet.offer(event)
  }
}
