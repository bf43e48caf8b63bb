import { Worker } from 'node:worker_threads'
import { withTimeout } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { Control, WorkerState, type ErrorMessage, type FromWorker, type ToWorker, type WorkerInit } from './protocol.js'

export type ReadyModels = Extract<FromWorker, { kind: 'ready' }>['models']

export interface WorkerEvents {
  scored(message: Extract<FromWorker, { kind: 'scored' }>): void
  /** The thread ended although nobody asked it to. */
  ended(cause: string): void
}

/** One worker thread as the main thread sees it. */
export class WorkerThread {
  readonly #worker: Worker
  readonly #control: Int32Array
  /** Chunks of sequence memory that it has. */
  chunks: number
  /** By index: the memory of the frames that it knows. */
  readonly frames: (SharedArrayBuffer | undefined)[] = []
  #stopping = false
  /** Who waits for it to be ready. */
  #readiness: { resolve(models: ReadyModels): void; reject(error: Error): void } | null = null
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>
  hasEnded = false
  // the watchdog's memory: the phase it saw last, and since when
  #phase = -1
  #phaseSinceMs = 0

  private constructor(init: WorkerInit) {
    this.#control = new Int32Array(init.control)
    this.chunks = init.chunks.length
    this.#worker = new Worker(new URL('./scoring-worker.js', import.meta.url), { workerData: init, name: `harrier scoring ${init.worker}` })
    this.ended = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.hasEnded = true
        resolve()
      })
    })
  }

  /** Starts a worker and waits until its models are open. Errors: those of `openModel`; DEVICE_UNAVAILABLE when it takes too long. */
  static async start(init: WorkerInit, startMsMax: number, events: WorkerEvents): Promise<{ thread: WorkerThread; models: ReadyModels }> {
    const thread = new WorkerThread(init)
    const worker = thread.#worker
    let cause = 'it ended'
    worker.on('message', (message: FromWorker) => {
      if (message.kind === 'scored') {
        if (!thread.#stopping) events.scored(message)
        return
      }
      const waiting = thread.#readiness
      thread.#readiness = null
      if (message.kind === 'ready') waiting?.resolve(message.models)
      else waiting?.reject(asError(message.error))
    })
    worker.on('error', (error) => (cause = messageOf(error)))
    worker.on('exit', () => {
      const waiting = thread.#readiness
      thread.#readiness = null
      if (waiting) waiting.reject(new HarrierError('MODEL_FAILED', `a scoring worker ended before it was ready: ${cause}`))
      else if (!thread.#stopping) events.ended(cause)
    })
    return { thread, models: await thread.#untilReady(startMsMax) }
  }

  /** After a rest it scores again, with models that it has open. Errors: MODEL_INVALID where their files are not there any more, or are others. */
  renew({ control: _own, ...init }: WorkerInit, startMsMax: number): Promise<ReadyModels> {
    this.chunks = init.chunks.length
    this.frames.length = 0
    this.post({ kind: 'renew', init })
    return this.#untilReady(startMsMax)
  }

  async #untilReady(startMsMax: number): Promise<ReadyModels> {
    const ready = new Promise<ReadyModels>((resolve, reject) => (this.#readiness = { resolve, reject }))
    try {
      const tooLong = (): Error => new HarrierError('DEVICE_UNAVAILABLE', `a scoring worker did not open its models within ${startMsMax} ms`)
      return await withTimeout(ready, startMsMax, tooLong)
    } catch (error) {
      this.abandon()
      throw error
    }
  }

  post(message: ToWorker): void {
    this.#worker.postMessage(message)
  }

  /** The state word of the control buffer. */
  get state(): number {
    return Atomics.load(this.#control, Control.state)
  }

  /** The model whose run the worker is in, or was in last. */
  get model(): number {
    return Atomics.load(this.#control, Control.model)
  }

  /** For the watchdog: how long the worker has been with the same model of the same frame; 0 when it is idle. */
  phaseMs(nowMs: number): number {
    const phase = Atomics.load(this.#control, Control.phase)
    if (phase !== this.#phase || this.state === WorkerState.idle) {
      this.#phase = phase
      this.#phaseSinceMs = nowMs
    }
    return nowMs - this.#phaseSinceMs
  }

  /** Takes the worker's right to touch memory, if it is inside a run; then it is safe to abandon it. */
  condemn(): boolean {
    return Atomics.compareExchange(this.#control, Control.state, WorkerState.running, WorkerState.condemned) === WorkerState.running
  }

  /**
   * Lets go of the thread: it ends by itself as soon as it is out of its native call, and does not keep the process alive.
   * It is never terminated: a thread that is terminated inside onnxruntime-node aborts the process (an uncaught Napi::Error).
   */
  abandon(): void {
    this.#stopping = true
    this.post({ kind: 'close' })
    this.#worker.unref()
  }

  /** Lets the worker finish its frame, release its sessions and end. After `closeMsMax` it is let go of. */
  async close(closeMsMax: number): Promise<void> {
    this.abandon()
    await withTimeout(this.ended, closeMsMax, () => new Error('too slow')).catch(() => undefined)
  }
}

function asError({ code, message, remedy }: ErrorMessage): Error {
  return code === null ? new Error(message) : new HarrierError(code, message, remedy === null ? {} : { remedy })
}
