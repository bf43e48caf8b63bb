/**
 * Stream times of the tasks that a later stage's events come from, by their partition, as they came with the records.
 * A stage after the first goes by the slowest of them, so that partitions which are read at different speeds make no
 * event late; but no further behind the fastest than `skewMs`, since one of them may have fallen silent.
 */
export class UpstreamTimes {
  /** ms since 1970; 0 before the first record of a task. */
  readonly times: Float64Array
  readonly #skewMs: number
  #slowest = 0
  #fastest = 0

  constructor(tasks: number, skewMs: number) {
    this.times = new Float64Array(tasks)
    this.#skewMs = skewMs
  }

  /** A record of this upstream task. Returns the time that all have reached, ms. */
  advance(task: number, timeMs: number): number {
    const before = this.times[task]!
    if (timeMs > before) {
      this.times[task] = timeMs
      if (timeMs > this.#fastest) this.#fastest = timeMs
      if (before === this.#slowest) this.#slowest = this.times.reduce((least, time) => Math.min(least, time))
    }
    return Math.max(this.#slowest, this.#fastest - this.#skewMs)
  }

  set(times: ArrayLike<number>): void {
    this.times.set(times)
    this.#slowest = this.times.reduce((least, time) => Math.min(least, time))
    this.#fastest = this.times.reduce((most, time) => Math.max(most, time))
  }
}
