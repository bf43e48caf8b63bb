/** The only door to real time. Everything that waits or reads the time takes a `Clock`. */
export interface Clock {
  /** Wall-clock time in ms since 1970. */
  nowMs(): number
  /** Monotonic time in ms, with fractions; its origin means nothing. */
  monotonicMs(): number
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>
  /** Calls `tick` each `intervalMs` until the returned function is called. Does not keep the process alive. */
  every(intervalMs: number, tick: () => void): () => void
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (durationMs, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, durationMs)
      signal?.addEventListener('abort', done, { once: true })
    }),
  every: (intervalMs, tick) => {
    const timer = setInterval(tick, intervalMs)
    timer.unref()
    return () => clearInterval(timer)
  },
}

/** A clock that a test moves by hand. Sleepers wake in the order of their deadlines. */
export class ManualClock implements Clock {
  #nowMs: number
  #sleepers: { atMs: number; wake: () => void }[] = []

  constructor(startMs = 0) {
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = (): void => {
        signal?.removeEventListener('abort', done)
        resolve()
      }
      this.#sleepers.push({ atMs: this.#nowMs + durationMs, wake: done })
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  every(intervalMs: number, tick: () => void): () => void {
    let stopped = false
    const arm = (atMs: number): void => {
      this.#sleepers.push({
        atMs,
        wake: () => {
          if (stopped) return
          tick()
          arm(atMs + intervalMs)
        },
      })
    }
    arm(this.#nowMs + intervalMs)
    return () => {
      stopped = true
    }
  }

  advance(durationMs: number): void {
    const endMs = this.#nowMs + durationMs
    for (;;) {
      this.#sleepers.sort((a, b) => a.atMs - b.atMs)
      const next = this.#sleepers[0]
      if (!next || next.atMs > endMs) break
      this.#sleepers.shift()
      this.#nowMs = next.atMs
      next.wake()
    }
    this.#nowMs = endMs
  }
}

/** Rejects with `onTimeout()` when `work` takes longer than `limitMs`. The work itself is not stopped. */
export function withTimeout<T>(work: Promise<T>, limitMs: number, onTimeout: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(onTimeout()), limitMs)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
