import type { Clock } from '../../src/base/clock.js'

interface Sleeper {
  readonly atMs: number
  readonly order: number
  readonly wake: () => void
}

/** Time that passes only when everybody sleeps. Sleepers wake by deadline, equal ones in the order in which they lay down. */
export class VirtualClock implements Clock {
  #nowMs = 0
  #order = 0
  #sleepers: Sleeper[] = []

  nowMs = (): number => this.#nowMs
  monotonicMs = (): number => this.#nowMs

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = (): void => {
        signal?.removeEventListener('abort', done)
        resolve()
      }
      this.#add(durationMs, done)
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  every(intervalMs: number, tick: () => void): () => void {
    let stopped = false
    const arm = (): void =>
      this.#add(intervalMs, () => {
        if (stopped) return
        tick()
        arm()
      })
    arm()
    return () => {
      stopped = true
    }
  }

  /** Lets coroutines run until `done`; false when nobody is left to wake, or after `limitMs` of virtual time. */
  async runUntil(done: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs
    for (;;) {
      // All work of a simulation is in microtasks: one turn of the loop runs it to its end.
      await new Promise((resolve) => setImmediate(resolve))
      if (done()) return true
      const next = this.#take()
      if (!next || next.atMs > endMs) return false
      this.#nowMs = next.atMs
      next.wake()
    }
  }

  #add(durationMs: number, wake: () => void): void {
    const sleeper = { atMs: this.#nowMs + Math.max(0, durationMs), order: this.#order++, wake }
    let at = this.#sleepers.length
    while (at > 0 && later(this.#sleepers[at - 1]!, sleeper)) at--
    this.#sleepers.splice(at, 0, sleeper)
  }

  #take(): Sleeper | undefined {
    return this.#sleepers.shift()
  }
}

function later(a: Sleeper, b: Sleeper): boolean {
  return a.atMs > b.atMs || (a.atMs === b.atMs && a.order > b.order)
}
