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
  #stopping = false
  #onClosed: () => void = () => undefined
  // the watchdog's memory: the phase it saw last, and since when
  #phase = -1
  #phaseSinceMs = 0

  private constructor(init: WorkerInit) {
    this.#control = new Int32Array(init.control)
    this.chunks = init.chunks.length
    this.#worker = new Worker(new URL('./scoring-worker.js', import.meta.url), { workerData: init, name: `harrier scoring ${init.worker}` })
  }

  /** Starts a worker and waits until its models are open. Errors: those of `openModel`; DEVICE_UNAVAILABLE when it takes too long. */
  static async start(init: WorkerInit, startMsMax: number, events: WorkerEvents): Promise<{ thread: WorkerThread; models: ReadyModels }> {
    const thread = new WorkerThread(init)
    const worker = thread.#worker
    const ready = new Promise<ReadyModels>((resolve, reject) => {
      let isReady = false
      let cause = 'it ended'
      worker.on('message', (message: FromWorker) => {
        if (message.kind === 'ready') {
          isReady = true
          resolve(message.models)
        } else if (message.kind === 'not-ready') reject(asError(message.error))
        else if (message.kind === 'closed') thread.#onClosed()
        else if (!thread.#stopping) events.scored(message)
      })
      worker.on('error', (error) => (cause = messageOf(error)))
      worker.on('exit', () => {
        thread.#onClosed()
        if (!isReady) reject(new HarrierError('MODEL_FAILED', `a scoring worker ended before it was ready: ${cause}`))
        else if (!thread.#stopping) events.ended(cause)
      })
    })
    try {
      const tooLong = (): Error => new HarrierError('DEVICE_UNAVAILABLE', `a scoring worker did not open its models within ${startMsMax} ms`)
      return { thread, models: await withTimeout(ready, startMsMax, tooLong) }
    } catch (error) {
      thread.abandon()
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

  /** Ends the thread without waiting: a native run ends first, its JavaScript does not go on. */
  abandon(): void {
    this.#stopping = true
    this.#worker.terminate().catch(() => undefined)
  }

  /** Lets the worker release its sessions and end; terminates it after `closeMsMax`. */
  async close(closeMsMax: number): Promise<void> {
    this.#stopping = true
    const closed = new Promise<void>((resolve) => (this.#onClosed = resolve))
    this.post({ kind: 'close' })
    await withTimeout(closed, closeMsMax, () => new Error('too slow')).catch(() => undefined)
    await this.#worker.terminate()
  }
}

function asError({ code, message, remedy }: ErrorMessage): Error {
  return code === null ? new Error(message) : new HarrierError(code, message, remedy === null ? {} : { remedy })
}
