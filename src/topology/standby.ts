import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Changelog } from './changelog.js'
import type { Stage } from './stage.js'
import type { Task } from './task.js'

export interface StandbyLimits {
  /** Between two looks at the changelogs. */
  readonly pollMs: number
  /** Between two questions who owns what. */
  readonly planMs: number
  /** A copy that could not be read on is begun anew after so long. */
  readonly retryMs: number
  /** Deletions stay on a changelog for a day: a copy that has not been read on for so long is begun anew. */
  readonly staleMsMax: number
  /** A process that joins a living group warms its copies first, at most so long. */
  readonly warmMsMax: number
}

export const standbyLimits: StandbyLimits = { pollMs: 500, planMs: 5000, retryMs: 60_000, staleMsMax: 3_600_000, warmMsMax: 900_000 }

/** Whose partitions this process should be ready to take over. */
export interface StandbyPlan {
  /** Those that would come here if one of the other members died; undefined while the group is not settled. */
  wanted(): Promise<readonly number[] | undefined>
  /** Those that may come when this process joins: all, unless it is the only one. */
  wantedBeforeJoining(): Promise<readonly number[]>
  close(): Promise<void>
}

export interface StandbyOptions {
  readonly stage: Stage
  readonly changelog: Changelog
  readonly plan: StandbyPlan
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: Partial<StandbyLimits>
}

/**
 * Warm copies of the state of partitions that other processes own: each follows its changelog, and holds what that
 * holds. When such a partition is assigned here its restore has only the end of the changelog left to read, and the input
 * since. A copy is never needed: whatever goes wrong with one costs time at a take-over, not state.
 */
export class Standby {
  readonly #options: StandbyOptions
  readonly #limits: StandbyLimits
  readonly #copies = new Map<number, Task>()
  readonly #failedAtMs = new Map<number, number>()
  readonly #stopper = new AbortController()
  /** The read under way, to be ended when its partition is taken. */
  #reading: { readonly partition: number; readonly stopper: AbortController } | undefined
  #running: Promise<void> = Promise.resolve()
  #stopped: Promise<void> | undefined

  constructor(options: StandbyOptions) {
    this.#options = options
    this.#limits = { ...standbyLimits, ...options.limits }
  }

  get partitions(): number {
    return this.#copies.size
  }

  get entities(): number {
    let entities = 0
    for (const copy of this.#copies.values()) entities += copy.index.size
    return entities
  }

  /** Before the group is joined: partitions that come at once would otherwise wait for their whole changelog. */
  async warm(): Promise<void> {
    const { clock, logger, plan } = this.#options
    const { signal } = this.#stopper
    const startedMs = clock.monotonicMs()
    try {
      const wanted = await plan.wantedBeforeJoining()
      this.#follow(wanted)
      for (const partition of wanted) {
        if (signal.aborted || clock.monotonicMs() - startedMs > this.#limits.warmMsMax) return
        await this.#read(partition)
      }
      if (wanted.length > 0) logger.log('info', 'standby copies are warm', { partitions: this.partitions, entities: this.entities, ms: Math.round(clock.monotonicMs() - startedMs) })
    } catch (error) {
      logger.log('warn', 'standby copies could not be warmed; joining without them', { cause: messageOf(error) })
    }
  }

  start(): void {
    if (!this.#stopper.signal.aborted) this.#running = this.#run()
  }

  stop(): Promise<void> {
    this.#stopper.abort()
    this.#reading?.stopper.abort()
    this.#stopped ??= this.#running.then(() => this.#options.plan.close())
    return this.#stopped
  }

  /** The copy of a partition that is this process's now; nobody else changes it from here on. */
  take(partition: number): Task | undefined {
    const copy = this.#copies.get(partition)
    this.#copies.delete(partition)
    if (this.#reading?.partition === partition) this.#reading.stopper.abort()
    if (copy && this.#isStale(copy)) {
      this.#options.stage.releaseTask(copy)
      return undefined
    }
    return copy
  }

  /** Other models take over: hidden states of theirs that the copies have read were passed over. They are begun anew. */
  forget(): void {
    this.#reading?.stopper.abort()
    for (const [partition, copy] of this.#copies) this.#drop(partition, copy)
  }

  async #run(): Promise<void> {
    const { clock, logger, plan } = this.#options
    const { signal } = this.#stopper
    let plannedMs = -Infinity
    while (!signal.aborted) {
      if (clock.monotonicMs() - plannedMs >= this.#limits.planMs) {
        plannedMs = clock.monotonicMs()
        try {
          const wanted = await plan.wanted()
          if (wanted && !signal.aborted) this.#follow(wanted)
        } catch (error) {
          logger.log('warn', 'who owns what could not be asked; standby copies stay as they are', { cause: messageOf(error) })
        }
      }
      for (const partition of [...this.#copies.keys()]) if (!signal.aborted) await this.#read(partition)
      await clock.sleep(this.#limits.pollMs, signal)
    }
  }

  #follow(wanted: readonly number[]): void {
    const { stage, clock } = this.#options
    for (const [partition, copy] of this.#copies) {
      if (!wanted.includes(partition) || this.#isStale(copy)) this.#drop(partition, copy)
    }
    for (const partition of wanted) {
      const failedAtMs = this.#failedAtMs.get(partition) ?? -Infinity
      if (this.#copies.has(partition) || stage.tasks[partition] || clock.monotonicMs() - failedAtMs < this.#limits.retryMs) continue
      const copy = stage.makeTask(partition)
      copy.changelog.readAtMs = clock.monotonicMs()
      this.#copies.set(partition, copy)
    }
  }

  #isStale({ changelog }: Task): boolean {
    return this.#options.clock.monotonicMs() - changelog.readAtMs > this.#limits.staleMsMax
  }

  async #read(partition: number): Promise<void> {
    const { stage, changelog, clock, logger } = this.#options
    const copy = this.#copies.get(partition)
    if (!copy) return
    const stopper = new AbortController()
    this.#reading = { partition, stopper }
    try {
      await changelog.read(stage, copy, 'stable-end', { signal: stopper.signal })
      copy.changelog.readAtMs = clock.monotonicMs()
    } catch (error) {
      if (this.#copies.get(partition) !== copy) return
      logger.log('warn', 'a standby copy is given up for now', { partition, cause: messageOf(error) })
      this.#failedAtMs.set(partition, clock.monotonicMs())
      this.#drop(partition, copy)
    } finally {
      this.#reading = undefined
    }
  }

  #drop(partition: number, copy: Task): void {
    this.#copies.delete(partition)
    this.#options.stage.releaseTask(copy)
  }
}
