/** One piece of work for several callers. It is aborted when all of them have given up, not when the first has. */
export class SharedRequest<T> {
  readonly result: Promise<T>
  readonly #abort = new AbortController()
  #waiting = 0

  constructor(work: (signal: AbortSignal) => Promise<T>) {
    this.result = work(this.#abort.signal)
    // Each caller hears of a failure by `join`; nobody listens to a result that all have given up.
    this.result.catch(() => undefined)
  }

  /** The result, or a rejection with `givenUp()` as soon as `signal` aborts. */
  join(signal: AbortSignal | undefined, givenUp: () => Error): Promise<T> {
    if (!signal) {
      this.#waiting++
      return this.result
    }
    return new Promise<T>((resolve, reject) => {
      const leave = (): void => {
        if (--this.#waiting === 0) this.#abort.abort()
        reject(givenUp())
      }
      this.#waiting++
      if (signal.aborted) return leave()
      signal.addEventListener('abort', leave, { once: true })
      this.result.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
    })
  }
}
