/** A restore that waits for its turn or has begun. */
interface Restoring {
  readonly stopper: AbortController
  started: boolean
  done: Promise<void>
}

/** Restores of partitions, one after the other in the order in which they were assigned. */
export class RestoreQueue {
  readonly #restore: (partition: number, signal: AbortSignal) => Promise<void>
  readonly #restoring = new Map<number, Restoring>()
  #turn: Promise<void> = Promise.resolve()
  #closed = false

  /** `restore` rejects soon after its signal has fired; that rejection is nobody's failure. */
  constructor(restore: (partition: number, signal: AbortSignal) => Promise<void>) {
    this.#restore = restore
  }

  /** Partitions that wait or are being restored. */
  get size(): number {
    return this.#restoring.size
  }

  has(partition: number): boolean {
    return this.#restoring.has(partition)
  }

  /** Fulfilled when all have been restored or cancelled; rejects when one of them has failed. */
  async add(partitions: readonly number[]): Promise<void> {
    await Promise.all(
      partitions.map((partition) => {
        const restoring: Restoring = { stopper: new AbortController(), started: false, done: Promise.resolve() }
        this.#restoring.set(partition, restoring)
        restoring.done = this.#turn.then(() => this.#begin(partition, restoring))
        this.#turn = restoring.done.catch(() => undefined)
        return restoring.done
      }),
    )
  }

  /** Fulfilled when none of them is being restored any more. */
  async cancel(partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) {
      const restoring = this.#restoring.get(partition)
      if (!restoring) continue
      restoring.stopper.abort()
      // One that has not begun sees that it is cancelled when its turn comes.
      if (restoring.started) await restoring.done.catch(() => undefined)
      this.#restoring.delete(partition)
    }
  }

  /**
   * Runs `work` while nothing is restored. Restores that had not ended are given up, and handed to `onAgain` after it, in one turn:
   * whoever cancels a partition meanwhile finds it as if it waited.
   */
  async standAside(work: () => Promise<void>, onAgain: (partitions: readonly number[]) => void): Promise<void> {
    const given = [...this.#restoring]
    for (const [, { stopper }] of given) stopper.abort()
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => undefined)
    try {
      await turn
    } finally {
      const again = given.filter(([partition, restoring]) => this.#restoring.get(partition) === restoring).map(([partition]) => partition)
      for (const partition of again) this.#restoring.delete(partition)
      if (!this.#closed) onAgain(again)
    }
  }

  /** Cancels all of them, and those that are added later. */
  close(): void {
    this.#closed = true
    for (const { stopper } of this.#restoring.values()) stopper.abort()
  }

  /** Fulfilled when the restores added so far have ended, however. */
  ended(): Promise<void> {
    return this.#turn
  }

  async #begin(partition: number, restoring: Restoring): Promise<void> {
    const { signal } = restoring.stopper
    if (signal.aborted || this.#closed) return
    restoring.started = true
    try {
      await this.#restore(partition, signal)
      if (!signal.aborted) this.#restoring.delete(partition)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }
}

/** The promise's outcome, or a rejection as soon as the signal fires. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => undefined)
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error)
    if (signal.aborted) return stop()
    signal.addEventListener('abort', stop, { once: true })
    promise.finally(() => signal.removeEventListener('abort', stop)).then(resolve, reject)
  })
}
