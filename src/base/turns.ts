/** Pieces of work that are done one at a time, in the order in which they came; one that fails holds up none of those behind it. */
export class Turns {
  readonly #limit: { readonly max: number; refuse(waiting: number): Error } | undefined
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  /** `limit`: most that wait, the one at work included, and what the next one is told. */
  constructor(limit?: { readonly max: number; refuse(waiting: number): Error }) {
    this.#limit = limit
  }

  /** Errors: that of the limit, those of the work. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#limit && this.#waiting >= this.#limit.max) throw this.#limit.refuse(this.#waiting)
    this.#waiting++
    const done = this.#last.then(work).finally(() => this.#waiting--)
    this.#last = done.catch(() => undefined)
    return await done
  }

  /** Resolves when all that was taken until now has ended, well or not. */
  ended(): Promise<unknown> {
    return this.#last
  }
}
