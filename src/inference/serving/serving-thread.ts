import { Worker } from 'node:worker_threads'
import { withTimeout } from '../../base/clock.js'
import { HarrierError, messageOf } from '../../base/errors.js'
import type { FromServing, OpenedModel, ServingInit, ToServing } from './serving-protocol.js'

export type RunOutcome = Extract<FromServing, { kind: 'ran' | 'failed' }>

export interface ServingEvents {
  done(outcome: RunOutcome): void
  /** The thread ended although nobody asked it to. */
  ended(cause: string): void
}

/** A thread that serves one model version, as the main thread sees it. */
export class ServingThread {
  readonly #worker: Worker
  #closing = false
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>

  private constructor(init: ServingInit) {
    const { reference } = init.model.model
    this.#worker = new Worker(new URL('./serving-worker.js', import.meta.url), { workerData: init, name: `harrier serving ${reference}` })
    this.ended = new Promise((resolve) => this.#worker.once('exit', () => resolve()))
  }

  /** Starts a thread and waits until its model is open. Errors: those of `openModel`; DEVICE_UNAVAILABLE when it takes too long. */
  static async start(init: ServingInit, startMsMax: number, events: ServingEvents): Promise<{ thread: ServingThread; opened: OpenedModel }> {
    const thread = new ServingThread(init)
    const ready = new Promise<OpenedModel>((resolve, reject) => {
      let isReady = false
      let cause = 'it ended'
      thread.#worker.on('message', (message: FromServing) => {
        if (message.kind === 'ready') {
          isReady = true
          resolve(message.opened)
        } else if (message.kind === 'not-ready') {
          const { code, message: text, remedy } = message.error
          reject(code === null ? new Error(text) : new HarrierError(code, text, remedy === null ? {} : { remedy }))
        } else if (!thread.#closing) events.done(message)
      })
      thread.#worker.on('error', (error) => (cause = messageOf(error)))
      thread.#worker.on('exit', () => {
        if (!isReady) reject(new HarrierError('MODEL_FAILED', `a serving thread ended before it was ready: ${cause}`))
        else if (!thread.#closing) events.ended(cause)
      })
    })
    try {
      const tooLong = (): Error => new HarrierError('DEVICE_UNAVAILABLE', `${init.model.model.reference} was not open within ${startMsMax} ms`)
      return { thread, opened: await withTimeout(ready, startMsMax, tooLong) }
    } catch (error) {
      thread.abandon()
      throw error
    }
  }

  post(message: ToServing, transfer: readonly ArrayBuffer[]): void {
    this.#worker.postMessage(message, transfer)
  }

  /** Lets go of it: it ends by itself when it is out of its native call (see worker-thread.ts), and keeps no process alive. */
  abandon(): void {
    this.#closing = true
    this.#worker.postMessage({ kind: 'close' } satisfies ToServing)
    this.#worker.unref()
  }

  /** Waits, so long at most, until the session is released and the thread has ended. */
  async close(closeMsMax: number): Promise<void> {
    this.abandon()
    await withTimeout(this.ended, closeMsMax, () => new Error('too slow')).catch(() => undefined)
  }
}
