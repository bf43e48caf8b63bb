import type { Clock } from '../../base/clock.js'
import { HarrierError, messageOf } from '../../base/errors.js'
import type { Logger } from '../../base/logger.js'
import type { DevicePolicy } from '../device.js'
import type { LoadedModel } from '../loaded-model.js'
import { RestartPolicy } from '../restart-policy.js'
import { scorerLimitsDefault } from '../scorer.js'
import { modelFileBytes } from '../loaded-model.js'
import { joinInputs, rowsOf, splitOutputs } from './batch-tensors.js'
import { RequestQueue, type QueueLimits, type Waiting } from './request-queue.js'
import { ServingCounters } from './serving-counters.js'
import type { OpenedModel } from './serving-protocol.js'
import { ServingThread, type RunOutcome } from './serving-thread.js'
import type { TensorValue } from './tensor-value.js'

export interface InferRequest {
  readonly inputs: readonly TensorValue[]
  /** Names of outputs; null = all. */
  readonly outputs: readonly string[] | null
  readonly priority: number
  /** How long it may wait; the queue's limit holds besides. */
  readonly timeoutMs: number
  /** Fires when nobody waits for the answer any more. */
  readonly signal?: AbortSignal | undefined
}

export interface InferAnswer {
  readonly outputs: readonly TensorValue[]
  readonly rows: number
  readonly queueMs: number
  /** Of the batch that it was in. */
  readonly computeMs: number
  readonly batchRows: number
}

export interface ServedModelOptions {
  readonly model: LoadedModel
  readonly device: DevicePolicy
  readonly threads: number
  readonly queue: QueueLimits
  readonly clock: Clock
  readonly logger: Logger
}

interface Pending extends Waiting {
  readonly request: InferRequest
  readonly resolve: (answer: InferAnswer) => void
  readonly reject: (error: Error) => void
  readonly onGone: () => void
}

interface Running {
  readonly id: number
  readonly batch: readonly Pending[]
  readonly rows: number
  /** When its thread began with it. */
  sinceMs: number
}

interface Place {
  thread: ServingThread | null
  opening: boolean
  running: Running | null
  /** Lies with the thread already, and runs when that has ended. */
  ahead: Running | null
}

/** When a batch lies with a busy thread already. */
const aheadLimits = {
  /** It has so many rows, or as many as it may have: more make no row cheaper. */
  rowsMin: 256,
  /** Batches take less on average: a pause between longer ones is not worth it, and what lies ahead does not expire. */
  computeMsMax: 50,
} as const

/**
 * One model version that answers requests, in threads of its own: each holds a session, and ends with the model.
 *
 * Owns: its threads and the queue before them. Talks to: threads, by serving-protocol.ts.
 * 1. A thread runs one batch at a time. What comes meanwhile waits and is the next batch: dynamic batching without a delay; with
 *    `delayMs` a free thread waits that long for a batch to fill. A large one lies with a thread that is still busy (aheadLimits),
 *    so that this is not idle between two.
 * 2. Every request is settled: answered, refused by a limit, expired in the queue, or failed with its batch.
 * 3. A batch that takes longer than the model's `limits.timeoutMs` fails, and a fresh thread takes the place of the one that hangs.
 *    After three such ends in a minute the model is set aside for a minute.
 */
export class ServedModel {
  readonly model: LoadedModel
  readonly counters = new ServingCounters()
  readonly fileBytes: number
  readonly #options: ServedModelOptions
  readonly #queue: RequestQueue<Pending>
  readonly #places: Place[]
  /** Threads that were let go of and whose native run goes on. */
  readonly #abandoned = new Set<ServingThread>()
  readonly #restarts = new RestartPolicy(scorerLimitsDefault, 1)
  #opened: OpenedModel | undefined
  #nextId = 1
  #wakeMs = Infinity
  #waker = new AbortController()
  #closed = false

  constructor(options: ServedModelOptions) {
    this.#options = options
    this.model = options.model
    this.fileBytes = modelFileBytes(options.model)
    this.#queue = new RequestQueue(options.queue)
    this.#places = Array.from({ length: options.threads }, () => ({ thread: null, opening: false, running: null, ahead: null }))
  }

  get reference(): string {
    return this.model.reference
  }

  /** What was opened. Only after `open`. */
  get opened(): OpenedModel {
    if (!this.#opened) throw new HarrierError('MODEL_FAILED', `${this.reference} is not open`)
    return this.#opened
  }

  get isOpen(): boolean {
    return this.#opened !== undefined
  }

  /** Threads that were let go of because they hung, and have not ended yet. */
  get hangingThreads(): number {
    return this.#abandoned.size
  }

  get isReady(): boolean {
    return !this.#closed && this.#opened !== undefined && this.#places.some(({ thread }) => thread !== null) && this.#setAside() === undefined
  }

  get queued(): { readonly requests: number; readonly rows: number; readonly bytes: number } {
    return this.#queue
  }

  /** Rows of a batch. */
  get batchRowsMax(): number {
    return this.opened.graph.fixedBatch ?? this.model.manifest.limits.batchRowsMax
  }

  /** Errors: MODEL_INVALID, DEVICE_UNAVAILABLE. */
  async open(): Promise<void> {
    for (const place of this.#places) await this.#open(place)
  }

  /** Rows of a request. Errors: REQUEST_INVALID when it does not fit the model; counted as a failure. */
  rowsOf(request: InferRequest): number {
    try {
      return rowsOf(this.opened, this.reference, request)
    } catch (error) {
      this.counters.failures.invalid++
      throw error
    }
  }

  /** Errors: REQUEST_INVALID, OVERLOADED, MODEL_FAILED. */
  infer(request: InferRequest): Promise<InferAnswer> {
    const { clock, queue } = this.#options
    let rows: number
    try {
      rows = this.rowsOf(request)
      const reason = this.#closed ? 'it is being closed' : this.#setAside()
      if (reason !== undefined) throw new HarrierError('MODEL_FAILED', `${this.reference}: ${reason}`, { retryAfterMs: scorerLimitsDefault.modelRetryAfterMs })
    } catch (error) {
      if (!(error instanceof HarrierError && error.code === 'REQUEST_INVALID')) this.counters.failures.model++
      return Promise.reject(error instanceof Error ? error : new Error(messageOf(error)))
    }
    const arrivedMs = clock.monotonicMs()
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        rows, request, resolve, reject, arrivedMs,
        bytes: request.inputs.reduce((sum, { data }) => sum + data.byteLength, 0),
        priority: request.priority,
        expiresMs: arrivedMs + Math.min(request.timeoutMs, queue.timeoutMsMax),
        onGone: () => {
          if (!this.#queue.remove(pending)) return
          this.counters.failures.cancelled++
          reject(new HarrierError('OVERLOADED', 'nobody waits for the answer any more'))
        },
      }
      try {
        this.#queue.add(pending, this.#waitMs())
      } catch (error) {
        this.counters.failures.overloaded++
        return reject(error instanceof Error ? error : new Error(messageOf(error)))
      }
      request.signal?.addEventListener('abort', pending.onGone, { once: true })
      this.#dispatch()
    })
  }

  /** Looks for requests that have waited and batches that have run too long, and for places without a thread. */
  watch(): void {
    const { clock, logger } = this.#options
    const nowMs = clock.monotonicMs()
    this.#expire(nowMs)
    const { timeoutMs } = this.model.manifest.limits
    for (const place of this.#places) {
      if (place.running && nowMs - place.running.sinceMs > timeoutMs) {
        if (place.thread) this.#abandon(place.thread)
        this.#lost(place, `a batch took more than ${timeoutMs} ms`)
      }
      if (place.thread || place.opening || this.#closed || !this.#opened || this.#setAside() !== undefined) continue
      this.#open(place).catch((error: unknown) => {
        this.#blame(messageOf(error))
        logger.log('error', 'a serving thread could not be started again', { model: this.reference, cause: messageOf(error) })
      })
    }
    this.#dispatch()
  }

  /** What waits is refused; batches that run are waited for by `closeMsMax` at most. */
  async close(): Promise<void> {
    this.#closed = true
    this.#waker.abort()
    for (const pending of this.#queue.expired(Infinity)) this.#reject(pending, new HarrierError('OVERLOADED', `${this.reference} is being closed`, { retryAfterMs: 1000 }))
    await Promise.all([...this.#places.map(({ thread }) => thread), ...this.#abandoned].map((thread) => thread?.close(scorerLimitsDefault.closeMsMax)))
    for (const pending of this.#places.flatMap(({ running, ahead }) => [running, ahead]).flatMap((given) => given?.batch ?? [])) this.#reject(pending, new HarrierError('MODEL_FAILED', `${this.reference} was closed`))
  }

  async #open(place: Place): Promise<void> {
    const { model, device, threads } = this.#options
    place.opening = true
    try {
      const decided = this.#opened
      const started = await ServingThread.start(
        { model: { model, epoch: 1, policy: decided?.device ?? device, rowsMultiple: decided?.rowsMultiple ?? null, load: { rows: model.manifest.limits.batchRowsMax, workers: threads } } },
        scorerLimitsDefault.workerStartMsMax,
        { done: (outcome) => this.#done(place, outcome), ended: (cause) => place.thread === started.thread && this.#lost(place, `its thread ended: ${cause}`) },
      )
      this.#opened ??= started.opened
      place.thread = started.thread
    } finally {
      place.opening = false
    }
    if (this.#closed) await place.thread.close(scorerLimitsDefault.closeMsMax)
    else this.#dispatch()
  }

  /** Lets go of a thread that hangs; until it has ended `close` waits for it: a process that ends around a native run aborts. */
  #abandon(thread: ServingThread): void {
    thread.abandon()
    this.#abandoned.add(thread)
    void thread.ended.then(() => this.#abandoned.delete(thread))
  }

  #expire(nowMs: number): void {
    for (const pending of this.#queue.expired(nowMs)) {
      this.counters.failures.expired++
      const waitedMs = Math.round(nowMs - pending.arrivedMs)
      const limitMs = Math.round(pending.expiresMs - pending.arrivedMs)
      this.#reject(pending, new HarrierError('OVERLOADED', `it has waited ${waitedMs} ms for ${this.reference} (at most ${limitMs} ms)`, { retryAfterMs: this.#waitMs() }))
    }
  }

  /** Gives batches to free threads, or sets a time to look again; large ones to threads that will be free. */
  #dispatch(): void {
    const { clock } = this.#options
    for (const place of this.#places) {
      if (!place.thread || place.running) continue
      const nowMs = clock.monotonicMs()
      const dueMs = this.#queue.dueMs(this.batchRowsMax)
      if (dueMs > nowMs) {
        if (dueMs !== Infinity) this.#wakeAt(dueMs, nowMs)
        return
      }
      this.#expire(nowMs)
      if (this.#queue.requests === 0) return
      place.running = this.#give(place.thread, nowMs)
    }
    const { batches, computeMs } = this.counters
    if (batches === 0 || computeMs / batches > aheadLimits.computeMsMax) return
    for (const place of this.#places) {
      if (!place.thread || !place.running || place.ahead) continue
      const nowMs = clock.monotonicMs()
      this.#expire(nowMs)
      if (this.#queue.rows < Math.min(aheadLimits.rowsMin, this.batchRowsMax)) return
      place.ahead = this.#give(place.thread, nowMs)
    }
  }

  #wakeAt(atMs: number, nowMs: number): void {
    if (this.#wakeMs <= atMs && this.#wakeMs > nowMs) return
    this.#waker.abort()
    const waker = (this.#waker = new AbortController())
    this.#wakeMs = atMs
    void this.#options.clock.sleep(Math.max(1, Math.ceil(atMs - nowMs)), waker.signal).then(() => {
      if (waker.signal.aborted) return
      this.#wakeMs = Infinity
      this.#dispatch()
    })
  }

  #give(thread: ServingThread, nowMs: number): Running {
    const batch = this.#queue.take(this.batchRowsMax)
    const rows = batch.reduce((sum, pending) => sum + pending.rows, 0)
    const inputs = joinInputs(this.opened, batch.map(({ rows: count, request }) => ({ rows: count, inputs: request.inputs })), rows)
    const names = this.opened.outputs.map(({ name }) => name)
    const outputs = batch.some(({ request }) => request.outputs === null) ? names : names.filter((name) => batch.some(({ request }) => request.outputs!.includes(name)))
    const id = this.#nextId++
    thread.post({ kind: 'run', id, rows, inputs, outputs }, inputs.map(({ data }) => data.buffer as ArrayBuffer))
    return { id, batch, rows, sinceMs: nowMs }
  }

  #done(place: Place, outcome: RunOutcome): void {
    const { running } = place
    if (running?.id !== outcome.id) return
    const nowMs = this.#options.clock.monotonicMs()
    place.running = place.ahead
    place.ahead = null
    if (place.running) place.running.sinceMs = nowMs
    this.#dispatch()
    if (outcome.kind === 'failed') return this.#fail(running, `${this.reference} failed: ${outcome.message}`)
    const { computeMs, runs } = outcome
    this.counters.batch(running.rows, runs, computeMs)
    let at = 0
    for (const pending of running.batch) {
      const { rows, request, arrivedMs, resolve } = pending
      const queueMs = Math.max(0, running.sinceMs - arrivedMs)
      this.#settled(pending)
      this.counters.request(rows, queueMs, computeMs, this.#options.clock.nowMs())
      resolve({ outputs: splitOutputs(this.opened, outcome.outputs, request.outputs, running.rows, at, rows), rows, queueMs, computeMs: Math.min(computeMs, nowMs - running.sinceMs), batchRows: running.rows })
      at += rows
    }
  }

  #fail({ batch, sinceMs }: Running, message: string): void {
    for (const pending of batch) {
      this.counters.failures.model++
      this.counters.failedMs += this.#options.clock.monotonicMs() - sinceMs
      this.#reject(pending, new HarrierError('MODEL_FAILED', message))
    }
  }

  /** The thread of a place hangs or has ended; `watch` starts another. */
  #lost(place: Place, cause: string): void {
    this.#options.logger.log('warn', 'a serving thread is replaced', { model: this.reference, cause })
    const { running, ahead } = place
    place.thread = null
    place.running = null
    place.ahead = null
    if (ahead) this.#queue.putBack(ahead.batch)
    this.#blame(cause)
    if (running) this.#fail(running, `${this.reference}: ${cause}`)
  }

  #blame(message: string): void {
    this.#restarts.record(this.#options.clock.monotonicMs(), { model: 0, kind: 'threw', message })
  }

  /** Why the model is set aside, if it is. */
  #setAside(): string | undefined {
    return this.#restarts.setAside(this.#options.clock.monotonicMs()).get(0)?.message
  }

  #settled({ request, onGone }: Pending): void {
    request.signal?.removeEventListener('abort', onGone)
  }

  #reject(pending: Pending, error: Error): void {
    this.#settled(pending)
    pending.reject(error)
  }

  /** About how long what is waiting will take, from the rows per ms of before. */
  #waitMs(): number {
    const { rows, computeMs } = this.counters
    const perRowMs = rows > 0 ? computeMs / rows : 1
    return Math.max(1000, Math.min(30_000, (this.#queue.rows * perRowMs) / this.#places.length))
  }
}
