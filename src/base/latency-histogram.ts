const growth = 1.05
const smallestMs = 0.01
const buckets = 420
const logGrowth = Math.log(growth)

/**
 * Durations in buckets that grow by 5 %: quantiles within 2.5 % of the value, from 0.01 ms to some hours, in 1.7 KB.
 */
export class LatencyHistogram {
  readonly #counts = new Uint32Array(buckets)
  count = 0
  maxMs = 0
  /** Of all values; of those read by `fromJSON` an estimate. */
  sumMs = 0

  add(durationMs: number): void {
    const index = durationMs <= smallestMs ? 0 : Math.min(buckets - 1, 1 + Math.floor(Math.log(durationMs / smallestMs) / logGrowth))
    this.#counts[index]!++
    this.count++
    this.sumMs += durationMs
    if (durationMs > this.maxMs) this.maxMs = durationMs
  }

  /** The q-quantile in ms, 0 <= q <= 1; NaN without values. */
  quantile(q: number): number {
    if (this.count === 0) return NaN
    let left = Math.ceil(q * this.count)
    for (let index = 0; index < buckets; index++) {
      left -= this.#counts[index]!
      // The middle of the bucket, but never above the largest value seen.
      if (left <= 0) return Math.min(this.maxMs, index === 0 ? smallestMs : smallestMs * Math.exp((index - 0.5) * logGrowth))
    }
    return this.maxMs
  }

  /** Values up to each limit, within the 5 % of a bucket; limits ascend. */
  countsUpTo(limitsMs: readonly number[]): number[] {
    let index = 0
    let total = 0
    return limitsMs.map((limitMs) => {
      const last = limitMs <= smallestMs ? 0 : Math.min(buckets - 1, 1 + Math.floor(Math.log(limitMs / smallestMs) / logGrowth))
      while (index <= last) total += this.#counts[index++]!
      return total
    })
  }

  merge(other: LatencyHistogram): void {
    for (let index = 0; index < buckets; index++) this.#counts[index]! += other.#counts[index]!
    this.count += other.count
    this.sumMs += other.sumMs
    this.maxMs = Math.max(this.maxMs, other.maxMs)
  }

  /** [bucket, count] of the buckets in use: histograms of several processes or seconds merge exactly. */
  toJSON(): [number, number][] {
    return [...this.#counts].flatMap((count, index): [number, number][] => (count > 0 ? [[index, count]] : []))
  }

  static fromJSON(entries: readonly (readonly [number, number])[]): LatencyHistogram {
    const histogram = new LatencyHistogram()
    for (const [index, count] of entries) {
      histogram.#counts[index] = count
      histogram.count += count
      histogram.sumMs += count * smallestMs * Math.exp(Math.max(0, index - 0.5) * logGrowth)
      histogram.maxMs = Math.max(histogram.maxMs, smallestMs * Math.exp(index * logGrowth))
    }
    return histogram
  }

  reset(): void {
    this.#counts.fill(0)
    this.count = 0
    this.sumMs = 0
    this.maxMs = 0
  }
}
