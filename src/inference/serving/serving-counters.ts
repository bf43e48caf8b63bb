import { LatencyHistogram } from '../../base/latency-histogram.js'

/** Batch sizes up to this are counted one by one, larger ones by the power of two above them. */
const exactBatchRowsMax = 32

interface Sum {
  count: number
  ms: number
}

/** What one model version has done since it was opened. Queue and compute are apart: `queue` ends where a batch is given to a thread. */
export class ServingCounters {
  /** Requests that were answered, and their rows. */
  requests = 0
  rows = 0
  /** Batches, and runs of the session: a batch larger than the model's limit takes several. */
  batches = 0
  runs = 0
  /** Requests that were not, by why. */
  readonly failures = { invalid: 0, overloaded: 0, expired: 0, cancelled: 0, model: 0 }
  lastAtMs = 0
  readonly queue = new LatencyHistogram()
  readonly compute = new LatencyHistogram()
  /** Rows of batches. */
  readonly batchRows = new LatencyHistogram()
  queueMs = 0
  computeMs = 0
  failedMs = 0
  readonly #batchSizes = new Map<number, Sum>()

  batch(rows: number, runs: number, computeMs: number): void {
    this.batches++
    this.runs += runs
    this.batchRows.add(rows)
    const size = rows <= exactBatchRowsMax ? rows : 2 << (31 - Math.clz32(rows - 1))
    const sum = this.#batchSizes.get(size) ?? { count: 0, ms: 0 }
    sum.count++
    sum.ms += computeMs
    this.#batchSizes.set(size, sum)
  }

  request(rows: number, queueMs: number, computeMs: number, nowMs: number): void {
    this.requests++
    this.rows += rows
    this.queueMs += queueMs
    this.computeMs += computeMs
    this.queue.add(queueMs)
    this.compute.add(computeMs)
    this.lastAtMs = nowMs
  }

  /** By rows of a batch, ascending. */
  batchSizes(): (Sum & { rows: number })[] {
    return [...this.#batchSizes].map(([rows, sum]) => ({ rows, ...sum })).sort((a, b) => a.rows - b.rows)
  }
}
