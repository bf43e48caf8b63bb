import { assert } from '../base/assert.js'
import { withTimeout } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { IdleCores } from '../base/idle-cores.js'
import { silentLogger } from '../base/logger.js'
import { Turns } from '../base/turns.js'
import type { Frame, ModelFailure } from './frame.js'
import type { FrameOutcome, ProcessOptions } from './frame-processor.js'
import { describeModel } from './inline-scorer.js'
import { openingKey } from './open-model.js'
import { WorkerState, type FromWorker } from './protocol.js'
import { RestartPolicy } from './restart-policy.js'
import { ScorerBase, skippedModels, thrownBy } from './scorer-base.js'
import type { ModelSwitch, ModelUse, ScoreOptions, ScorerOptions } from './scorer.js'
import { sharingOf } from './sharing.js'
import { undoFrame } from './undo.js'
import { WorkerOpener, type OpenedWorkers } from './worker-opener.js'
import { WorkerRule, workerRuleLimits } from './worker-rule.js'
import type { WorkerThread } from './worker-thread.js'

/** How often the watchdog looks, as a part of the shortest time-out of a model. */
const watchdogParts = 5
const watchdogMsMin = 5
const watchdogMsMax = 250

interface Pending {
  readonly frame: Frame
  readonly stateOnly: boolean
  readonly skip: readonly number[]
  readonly explain: ScoreOptions['explain']
  readonly calledMs: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  id: number
  /** Failures that all workers were told of when the frame was given to them. */
  announced: Map<number, ModelFailure>
  /** Failures met by a worker that could not answer. */
  readonly lost: Map<number, ModelFailure>
  outcomes: (FrameOutcome | null)[]
}

/**
 * Scores in worker threads: rows of slot s belong to worker s % workers, and every worker takes the frames in order.
 *
 * Owns: the workers and the queue of frames in flight. Talks to: workers, by protocol.ts.
 * 1. Frames settle in the order of the `score` calls.
 * 2. A failure that was not announced changes state (marks) after the fact, so the frames behind it are undone, newest
 *    first, and given out again. That needs every worker to have answered for them: until then nothing new is given out.
 * 3. A worker that is over time is condemned in the middle of a run (never while it changes memory), its rows of the frame
 *    are undone, and a fresh worker takes the frame again without the model.
 * 4. While other models are opened there are two sets of workers: one that scores, one that opens its models. The second takes over
 *    when every frame that was given out has settled; frames that come meanwhile wait for that, and for no opening of a model.
 * 5. When the scorer is lost or closed every pending call is rejected.
 */
export class PooledScorer extends ScorerBase {
  #threads: (WorkerThread | null)[]
  /** Condemned threads that have not ended yet: their native run goes on. */
  readonly #abandoned = new Set<WorkerThread>()
  readonly #queue: Pending[] = []
  #restarts: RestartPolicy
  #stopWatchdog: () => void = () => undefined
  #stopRule: () => void = () => undefined
  #resizing: Promise<void> | null = null
  #nextId = 1
  #draining = false
  /** Takes over when no frame is given out; while it is set none is. */
  #handOver: (() => void) | null = null
  /** The workers that scored last, at rest, and what each has open: models that come back need not be opened. */
  #resting: { readonly threads: readonly WorkerThread[]; readonly open: ReadonlySet<string> } | null = null
  /** What the workers that score have open. */
  #open: ReadonlySet<string>
  readonly #opener: WorkerOpener
  /** Who takes the workers' place, one after another. */
  readonly #takeOvers = new Turns()
  #over: Error | null = null

  private constructor(options: ScorerOptions) {
    super(options)
    assert(options.workers > 0, 'a pooled scorer has workers')
    this.#threads = Array.from({ length: options.workers }, () => null)
    this.#restarts = new RestartPolicy(this.limits, options.models.length)
    this.#open = keysOf(options.models)
    this.#opener = new WorkerOpener({
      options: () => this.options, limits: this.limits, layout: () => this.memory.layout, shapeFor: (uses) => this.shapeFor(uses),
      scored: (worker, message) => this.#scored(worker, message), ended: (worker, thread, cause) => this.#ended(worker, thread, cause),
    })
  }

  /** Errors: MODEL_INVALID, DEVICE_UNAVAILABLE. */
  static async create(options: ScorerOptions): Promise<PooledScorer> {
    const scorer = new PooledScorer(options)
    const { threads, models } = await scorer.#opener.open(options.models, options.workers)
    scorer.#threads = threads
    scorer.inForce = { release: options.release ?? 0, models: options.models.map((use, index) => describeModel(use, models[index]!)) }
    scorer.#startWatchdog()
    scorer.#startRule()
    return scorer
  }

  protected get framesInFlight(): number {
    return this.#queue.length
  }

  protected override get workers(): number {
    return this.#threads.length
  }

  score(frame: Frame, options: ScoreOptions = {}): Promise<void> {
    if (this.#over) return Promise.reject(this.#over)
    assert(!this.#queue.some((pending) => pending.frame === frame), 'a frame is scored once at a time')
    this.begin(frame)
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        frame, stateOnly: options.stateOnly ?? false, skip: options.skip ?? [], explain: options.explain, calledMs: this.options.clock.monotonicMs(), resolve, reject,
        id: 0, announced: new Map(), lost: new Map(), outcomes: [],
      }
      this.#queue.push(pending)
      if (!this.#draining && this.#handOver === null) this.#give(pending)
    })
  }

  async openModels(uses: readonly ModelUse[], release: number): Promise<ModelSwitch> {
    if (this.#over) throw this.#over
    this.checkUses(uses)
    const rested = this.#takeRested(uses)
    let opened: OpenedWorkers
    try {
      opened = rested ? { threads: [...rested.threads], models: await this.#opener.renew(rested.threads, uses) } : await this.#opener.open(uses, this.#threads.length)
    } catch (error) {
      for (const thread of rested?.threads ?? []) this.#retire(thread)
      throw error
    }
    const abandon = (): void => opened.threads.forEach((thread) => this.#retire(thread))
    const over = this.#endedBy()
    if (over) {
      abandon()
      throw over
    }
    const install = (): void => {
      this.install(uses, uses.map((use, index) => describeModel(use, opened.models[index]!)), release)
      this.#restarts = new RestartPolicy(this.limits, uses.length)
      const retired = { threads: this.#threads, open: this.#open }
      this.#open = keysOf(uses)
      this.#rest(retired)
    }
    return { takeOver: () => this.#takeOvers.take(() => this.#takeOverBy(opened.threads, install)), abandon }
  }

  /** Opens as many workers as there should be beside those that score, with the same models. */
  async #resize(count: number, rule: WorkerRule): Promise<void> {
    const { clock, logger = silentLogger, models } = this.options
    const before = this.inForce
    const workers = this.#threads.length
    try {
      const { threads } = await this.#opener.open(models, count)
      await this.#takeOvers.take(async () => {
        // Other models may have taken over meanwhile, with as many workers as before.
        if (this.inForce === before && this.#over === null) return await this.#takeOverBy(threads, () => this.#threads.forEach((thread) => this.#retire(thread)))
        threads.forEach((thread) => this.#retire(thread))
        rule.abandoned(clock.monotonicMs())
      })
      if (this.#threads.length === count) logger.log('info', 'threads that run models', { workers: count, before: workers })
    } catch (error) {
      rule.abandoned(clock.monotonicMs())
      if (this.#over === null) logger.log('warn', 'threads that run models could not be opened', { workers: count, before: workers, cause: messageOf(error) })
    }
  }

  /** Looks at what the workers do, and opens or retires some. A GPU is one, however many wait for it. */
  #startRule(): void {
    const { workers, workersMax = workers, workerRule, clock } = this.options
    if (workersMax <= workers) return
    const limits = { ...workerRuleLimits, ...workerRule }
    const rule = new WorkerRule(workers, workersMax, limits)
    const idleCores = new IdleCores()
    let [lastMs, lastRows, lastComputeMs] = [clock.monotonicMs(), 0, 0]
    this.#stopRule = clock.every(limits.intervalMs, () => {
      const nowMs = clock.monotonicMs()
      const { rows, computeMs } = this.counters
      const load = { ms: nowMs - lastMs, rows: rows - lastRows, computeMs: computeMs - lastComputeMs, idleCores: idleCores.look() }
      lastMs = nowMs
      lastRows = rows
      lastComputeMs = computeMs
      if (this.#resizing || load.ms <= 0 || this.#over !== null || this.models.some(({ device }) => device !== 'cpu')) return
      const count = rule.next(this.#threads.length, load, nowMs)
      if (count === this.#threads.length) return
      this.#resizing = this.#resize(count, rule).finally(() => (this.#resizing = null))
    })
  }

  /** Whatever happened while something was waited for. */
  #endedBy(): Error | null {
    return this.#over
  }

  /** `install`: what else changes at that moment, while the workers of before still stand in their places. */
  #takeOverBy(fresh: WorkerThread[], install: () => void): Promise<void> {
    assert(this.#handOver === null, 'one set of workers takes over at a time')
    return new Promise<void>((resolve, reject) => {
      this.#handOver = () => {
        if (this.#over || fresh.some((thread) => thread.hasEnded)) {
          for (const thread of fresh) thread.abandon()
          return reject(this.#over ?? new HarrierError('MODEL_FAILED', 'a worker ended before it took over'))
        }
        install()
        this.#threads = fresh
        this.#startWatchdog()
        resolve()
      }
      this.#settle()
    })
  }

  /**
   * The workers that scored until now keep their sessions, so that whoever goes back to their models need not wait for them to be opened:
   * one set, of models of `restingBytesMax` at most. Those that rested before end.
   */
  #rest({ threads, open }: { threads: readonly (WorkerThread | null)[]; open: ReadonlySet<string> }): void {
    const before = this.#resting
    this.#resting = null
    for (const thread of before?.threads ?? []) this.#retire(thread)
    const living = threads.filter((thread) => thread !== null && !thread.hasEnded) as WorkerThread[]
    const bytes = this.#opener.bytesOf(open) * threads.length
    if (living.length < threads.length || bytes > this.limits.restingBytesMax) return living.forEach((thread) => this.#retire(thread))
    for (const thread of living) thread.post({ kind: 'rest' })
    this.#resting = { threads: living, open }
  }

  /** The workers at rest, if they have these models open and no others, which would stay open with them. */
  #takeRested(uses: readonly ModelUse[]): { readonly threads: readonly WorkerThread[]; readonly open: ReadonlySet<string> } | null {
    const resting = this.#resting
    const wanted = keysOf(uses)
    if (!resting || resting.threads.length !== this.#threads.length || resting.threads.some((thread) => thread.hasEnded) || resting.open.size !== wanted.size || [...wanted].some((key) => !resting.open.has(key))) return null
    this.#resting = null
    return resting
  }

  /** Lets go of a worker; until it has ended `close` waits for it. */
  #retire(thread: WorkerThread | null): void {
    if (!thread) return
    thread.abandon()
    this.#abandoned.add(thread)
    void thread.ended.then(() => this.#abandoned.delete(thread))
  }

  #startWatchdog(): void {
    this.#stopWatchdog()
    const { models, clock } = this.options
    const timeoutMsMin = Math.min(...models.map(({ model }) => model.manifest.limits.timeoutMs), Infinity)
    const watchdogMs = Math.min(watchdogMsMax, Math.max(watchdogMsMin, timeoutMsMin / watchdogParts))
    this.#stopWatchdog = clock.every(watchdogMs, () => this.#watch())
  }

  async close(): Promise<void> {
    if (this.#over === null) this.#end(new HarrierError('MODEL_FAILED', 'the scorer was closed'))
    this.#stopWatchdog()
    this.#stopRule()
    // Threads that are being opened are let go of when they are.
    if (this.#resizing) await withTimeout(this.#resizing, this.limits.closeMsMax, () => new Error('too slow')).catch(() => undefined)
    await Promise.all([...this.#threads, ...(this.#resting?.threads ?? []), ...this.#abandoned].map((thread) => thread?.close(this.limits.closeMsMax)))
  }

  /** Gives a frame to every worker. */
  #give(pending: Pending): void {
    pending.id = this.#nextId++
    // a model that has cost a worker in this frame, before the frame was taken back, is not given the chance again
    pending.announced = new Map([...pending.lost, ...this.#restarts.setAside(this.options.clock.monotonicMs()), ...skippedModels(pending.skip)])
    pending.lost.clear()
    pending.outcomes = this.#threads.map(() => null)
    this.#threads.forEach((_, worker) => this.#send(pending, worker))
  }

  /** To one worker; to a worker that is being started again it is sent when that is ready. */
  #send(pending: Pending, worker: number): void {
    const skip = [...new Set([...pending.announced.keys(), ...pending.lost.keys()])]
    const explain = pending.explain && { ...pending.explain, sharing: sharingOf(pending.frame.models.models) }
    const options: ProcessOptions = { stateOnly: pending.stateOnly, skip, explain }
    const thread = this.#threads[worker]
    if (!thread) return
    const { index, memory } = pending.frame
    if (thread.frames[index] !== memory) thread.post({ kind: 'frame', index, memory })
    thread.frames[index] = memory
    const chunks = this.memory.chunks.slice(thread.chunks)
    if (chunks.length > 0) thread.post({ kind: 'chunks', chunks })
    thread.chunks += chunks.length
    thread.post({ kind: 'score', id: pending.id, frame: index, options })
  }

  #scored(worker: number, { id, outcome }: Extract<FromWorker, { kind: 'scored' }>): void {
    const pending = this.#queue.find((each) => each.id === id)
    assert(pending && pending.outcomes[worker] === null, 'a worker answers once for a frame')
    pending.outcomes[worker] = outcome
    this.#settle()
  }

  /** Settles frames at the head of the queue as far as they are done. */
  #settle(): void {
    for (;;) {
      const head = this.#queue[0]
      if (this.#handOver !== null && !this.#draining && (!head || head.id === 0)) this.#takeOver()
      if (!head || head.id === 0 || !isDone(head)) return
      const outcomes = head.outcomes as FrameOutcome[]
      const failed = new Map([...thrownBy(outcomes), ...head.lost])
      const behind = this.#queue.slice(1).filter((pending) => pending.id !== 0)
      if (failed.size > 0 && behind.length > 0) {
        this.#draining = true
        if (!behind.every(isDone)) return
        for (const pending of behind.reverse()) {
          undoFrame(this.memory, pending.frame)
          pending.id = 0
        }
      }
      this.finish(head.frame, outcomes, head.stateOnly, head.announced, failed)
      this.#queue.shift()
      this.counters.queueMs += this.options.clock.monotonicMs() - head.calledMs - Math.max(0, ...outcomes.map((outcome) => outcome.computeMs))
      head.resolve()
      if (!this.#draining) continue
      this.#draining = false
      if (this.#handOver !== null) this.#takeOver()
      else this.#giveAll()
    }
  }

  /** No frame is given out: those that replace the workers take their place, and get the frames that waited. */
  #takeOver(): void {
    this.#handOver!()
    this.#handOver = null
    this.#giveAll()
  }

  #giveAll(): void {
    for (const pending of this.#queue) {
      this.begin(pending.frame)
      this.#give(pending)
    }
  }

  /** Looks for workers that are over a model's time. */
  #watch(): void {
    const nowMs = this.options.clock.monotonicMs()
    this.#threads.forEach((thread, worker) => {
      if (!thread) return
      const phaseMs = thread.phaseMs(nowMs)
      const model = this.options.models[thread.model]?.model
      if (!model || phaseMs <= model.manifest.limits.timeoutMs || !thread.condemn()) return
      this.#retire(thread)
      const message = `${model.reference} took more than ${model.manifest.limits.timeoutMs} ms`
      this.#replace(worker, { model: thread.model, kind: 'timed-out', message })
    })
  }

  /** A thread ended by itself. In a run that is the model's failure; while it changed memory, state is lost. */
  #ended(worker: number, thread: WorkerThread, cause: string): void {
    // one that has not taken over yet: `takeOver` sees that it has ended
    if (this.#threads[worker] !== thread) return
    if (thread.state === WorkerState.mutating) {
      return this.#end(new HarrierError('MODEL_FAILED', `a scoring worker ended while it changed state: ${cause}`))
    }
    const inRun = thread.state === WorkerState.running
    this.#replace(worker, inRun ? { model: thread.model, kind: 'threw', message: `its worker ended: ${cause}` } : null)
  }

  /** Undoes what a dead worker did with its unfinished frame, and gives its frames to a fresh one. */
  #replace(worker: number, failure: ModelFailure | null): void {
    const logger = this.options.logger ?? silentLogger
    logger.log('warn', 'a scoring worker is replaced', { worker, cause: failure?.message ?? 'it ended' })
    this.#threads[worker] = null
    this.counters.workerRestarts++
    const allowed = this.#restarts.record(this.options.clock.monotonicMs(), failure)
    const unfinished = this.#queue.find((pending) => pending.id !== 0 && pending.outcomes[worker] === null)
    if (unfinished && failure) {
      undoFrame(this.memory, unfinished.frame, worker, this.#threads.length)
      unfinished.lost.set(failure.model, failure)
    }
    if (!allowed) {
      const remedy = 'look at the log for what ended them'
      return this.#end(new HarrierError('MODEL_FAILED', 'scoring workers end again and again', { remedy }))
    }
    const threads = this.#threads
    this.#opener.openOne(worker, threads.length, this.options.models, this.models).then(
      ({ thread }) => {
        // over, or all workers have been replaced meanwhile
        if (this.#over || this.#threads !== threads) return thread.abandon()
        threads[worker] = thread
        for (const pending of this.#queue) if (pending.id !== 0 && pending.outcomes[worker] === null) this.#send(pending, worker)
      },
      (error: unknown) => {
        if (this.#threads === threads) this.#end(error instanceof Error ? error : new Error(String(error)))
      },
    )
  }

  /** The scorer is lost or closed: nothing stays pending. */
  #end(error: Error): void {
    this.#over ??= error
    this.#handOver?.()
    this.#handOver = null
    for (const pending of this.#queue.splice(0)) pending.reject(this.#over)
  }
}

function keysOf(uses: readonly ModelUse[]): ReadonlySet<string> {
  return new Set(uses.map(({ model }) => openingKey(model)))
}

function isDone(pending: Pending): boolean {
  return pending.outcomes.every((outcome) => outcome !== null)
}
