import type { Clock } from '../base/clock.js'
import { Condition } from '../base/condition.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { ModelUse, Scorer } from '../inference/scorer.js'
import type { StageModels } from '../registry/release.js'
import type { Batch } from './batch.js'
import type { Guardrails } from './guardrails.js'
import { tellOpened } from './open-scorer.js'

export interface ModelTurnsLimits {
  /** Between two looks at what is released. */
  readonly pollMs: number
  /** A release that could not be opened is tried again after so long: its file may have come. */
  readonly retryMs: number
  /** How long a restore waits for a release that its predecessor has scored by. */
  readonly reachMsMax: number
  /** A registry topic that cannot be read is told once in so long. */
  readonly tellMs: number
}

export const modelTurnsLimits: ModelTurnsLimits = { pollMs: 100, retryMs: 5000, reachMsMax: 30_000, tellMs: 10_000 }

/** Where releases of one stage come from. */
export interface ReleaseSource {
  /** What is in force by the newest release; undefined: nothing has been released, or nothing new since the last call. */
  poll(signal: AbortSignal): Promise<StageModels | undefined>
  close(): Promise<void>
}

export interface ModelTurnsOptions {
  readonly scorer: Scorer
  readonly source: ReleaseSource
  /** Finds the files of a release. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID. */
  readonly usesOf: (released: StageModels) => Promise<readonly ModelUse[]>
  /** Called when a release has come in force. */
  readonly onInForce?: (() => void) | undefined
  /** Watches what a release does; absent where the topology asks for none. */
  readonly guardrails?: Guardrails | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: Partial<ModelTurnsLimits>
}

/** A release that is not in force here. */
export interface RefusedRelease {
  readonly revision: number
  readonly cause: string
}

/**
 * Follows the releases of a stage: opens their models beside those in force, and lets them take over between two batches.
 *
 * 1. Revisions only go up. What cannot be opened is refused, loudly, and tried again; the models in force go on.
 * 2. The engine says when it is time (`switchModels`): no restore is in the middle of a state of the models before.
 * 3. By which release a batch was scored is told by its frame, and so by its lineage record.
 */
export class ModelTurns {
  refused: RefusedRelease | undefined
  readonly #options: ModelTurnsOptions
  readonly #limits: ModelTurnsLimits
  readonly #changed = new Condition()
  readonly #stopper = new AbortController()
  #retryAtMs = 0
  #newest: StageModels | undefined
  #switchModels: ((takeOver: () => Promise<void>) => Promise<void>) | undefined

  constructor(options: ModelTurnsOptions) {
    this.#options = options
    this.#limits = { ...modelTurnsLimits, ...options.limits }
  }

  start(switchModels: (takeOver: () => Promise<void>) => Promise<void>): void {
    this.#switchModels = switchModels
    if (!this.#stopper.signal.aborted) void this.#run()
  }

  get guardrails(): Guardrails | undefined {
    return this.#options.guardrails
  }

  /** A batch has committed, and still has its frame. */
  committed(batch: Batch): void {
    this.#options.guardrails?.committed(batch, this.#options.clock.nowMs())
  }

  /** Models that are still being opened are let go of when they are. */
  async stop(): Promise<void> {
    this.#stopper.abort()
    this.#changed.notify()
    await this.#options.source.close()
  }

  /** Fulfilled when this release, or a later one, is in force; or when it is not to be had here, which is said. */
  async reached(release: number, signal: AbortSignal): Promise<void> {
    const { scorer, clock, logger } = this.#options
    const isReached = (): boolean => scorer.inForce.release >= release
    if (isReached()) return
    const ended = (): boolean => isReached() || signal.aborted || this.#stopper.signal.aborted || (this.refused?.revision ?? -1) >= release
    const stop = (): void => this.#changed.notify()
    signal.addEventListener('abort', stop, { once: true })
    await this.#changed.within(ended, this.#limits.reachMsMax, clock)
    signal.removeEventListener('abort', stop)
    signal.throwIfAborted()
    if (!isReached()) logger.log('error', 'a partition goes back to an older release: the one that has scored it is not to be had here', { release, inForce: scorer.inForce.release, cause: this.refused?.cause ?? 'it has not come' })
  }

  async #run(): Promise<void> {
    const { source, clock, logger, scorer } = this.#options
    const { signal } = this.#stopper
    let toldMs = -Infinity
    while (!signal.aborted) {
      try {
        this.#newest = (await source.poll(signal)) ?? this.#newest
      } catch (error) {
        if (!signal.aborted && clock.monotonicMs() - toldMs > this.#limits.tellMs) {
          toldMs = clock.monotonicMs()
          logger.log('warn', 'releases cannot be read; the models in force go on', { cause: messageOf(error) })
        }
      }
      const released = this.#newest
      const isDue = released !== undefined && released.revision > scorer.inForce.release
      if (isDue && (released.revision !== this.refused?.revision || clock.monotonicMs() >= this.#retryAtMs)) await this.#takeTurn(released)
      await clock.sleep(this.#limits.pollMs, signal)
    }
  }

  async #takeTurn(released: StageModels): Promise<void> {
    const { scorer, usesOf, clock, logger } = this.#options
    const { revision, actor, reason } = released
    const startedMs = clock.monotonicMs()
    this.#options.guardrails?.released(released)
    try {
      const wereOpen = scorer.models.map(({ reference }) => reference)
      const opened = await scorer.openModels(await usesOf(released), revision)
      if (this.#stopper.signal.aborted) return opened.abandon()
      const openedMs = clock.monotonicMs()
      await this.#switchModels!(() => opened.takeOver())
      this.refused = undefined
      this.#options.onInForce?.()
      tellOpened(scorer.models.filter(({ reference }) => !wereOpen.includes(reference)), logger)
      const models = scorer.models.map(({ reference, role, share }) => (role === 'challenger' ? `${reference} ${role} ${share * 100}%` : `${reference} ${role}`))
      logger.log('info', 'a release is in force', { revision, models, champion: scorer.models[0]?.reference, before: wereOpen[0], actor, reason, openMs: Math.round(openedMs - startedMs), switchMs: Math.round(clock.monotonicMs() - openedMs) })
    } catch (error) {
      if (this.#stopper.signal.aborted) return
      const again = this.refused?.revision === revision
      this.refused = { revision, cause: messageOf(error) }
      this.#retryAtMs = clock.monotonicMs() + this.#limits.retryMs
      const remedy = error instanceof HarrierError ? error.remedy : undefined
      if (!again) logger.log('error', 'a release is refused; the models in force go on', { revision, cause: messageOf(error), remedy, inForce: scorer.inForce.release, actor })
    } finally {
      this.#changed.notify()
    }
  }
}
