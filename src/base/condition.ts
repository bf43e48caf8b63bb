import type { Clock } from './clock.js'

/** Lets coroutines of one thread wait for a change: `while (!ready()) await condition.changed()`. */
export class Condition {
  #waiters: (() => void)[] = []

  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  notify(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
  }

  async until(ready: () => boolean): Promise<void> {
    while (!ready()) await this.changed()
  }

  /** As `until`, but no longer than `limitMs`. Whether it has come to be. */
  async within(ready: () => boolean, limitMs: number, clock: Clock): Promise<boolean> {
    if (ready()) return true
    const timer = new AbortController()
    let isOver = false
    void clock.sleep(limitMs, timer.signal).then(() => {
      isOver = true
      this.notify()
    })
    await this.until(() => isOver || ready())
    timer.abort()
    return ready()
  }
}
