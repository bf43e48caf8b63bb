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
}
