import { HarrierError } from '../../base/errors.js'

/** Of one model version. */
export interface QueueLimits {
  /** Requests that may wait. */
  readonly requestsMax: number
  /** Rows that may wait. */
  readonly rowsMax: number
  /** Bytes of tensors that may wait. */
  readonly bytesMax: number
  /** How long the first request of a batch waits for others while a thread is free. */
  readonly delayMs: number
  /** How long a request waits at most, whatever it asks for. */
  readonly timeoutMsMax: number
}

export const queueLimitsDefault: QueueLimits = { requestsMax: 1024, rowsMax: 65_536, bytesMax: 64 << 20, delayMs: 0, timeoutMsMax: 1000 }

/** 1 goes first. Within a priority the order is that of arrival. */
export const priorities = 3
export const priorityDefault = 2

export interface Waiting {
  readonly rows: number
  readonly bytes: number
  /** 1 to `priorities`. */
  readonly priority: number
  readonly arrivedMs: number
  readonly expiresMs: number
}

/**
 * What waits for a model version: the policy of dynamic batching, without threads and timers.
 *
 * 1. Never more than `requestsMax`, `rowsMax` and `bytesMax` wait; what comes beyond that is refused at once.
 * 2. Higher priorities go first; a batch takes whole requests, as many as fit, and a request larger than a batch goes alone.
 */
export class RequestQueue<T extends Waiting> {
  readonly #limits: QueueLimits
  readonly #lanes: T[][] = Array.from({ length: priorities }, () => [])
  requests = 0
  rows = 0
  bytes = 0

  constructor(limits: QueueLimits) {
    this.#limits = limits
  }

  /** Errors: OVERLOADED. `retryAfterMs`: about how long what is waiting will take. */
  add(item: T, retryAfterMs: number): void {
    const { requestsMax, rowsMax, bytesMax } = this.#limits
    const full = this.requests >= requestsMax || (this.requests > 0 && (this.rows + item.rows > rowsMax || this.bytes + item.bytes > bytesMax))
    if (full) throw new HarrierError('OVERLOADED', `${this.requests} requests with ${this.rows} rows are waiting, and no more may`, { retryAfterMs })
    this.#lanes[item.priority - 1]!.push(item)
    this.#came(item)
  }

  /** Until when a free thread should wait for more: a time that may have passed; Infinity = nothing is waiting. */
  dueMs(batchRows: number): number {
    if (this.requests === 0) return Infinity
    if (this.rows >= batchRows) return -Infinity
    let oldestMs = Infinity
    for (const lane of this.#lanes) if (lane.length > 0) oldestMs = Math.min(oldestMs, lane[0]!.arrivedMs)
    return oldestMs + this.#limits.delayMs
  }

  /** The next batch, of at most `batchRows` rows unless its first request alone has more. */
  take(batchRows: number): T[] {
    const batch: T[] = []
    let rows = 0
    for (const lane of this.#lanes) {
      let count = 0
      while (count < lane.length && (rows === 0 || rows + lane[count]!.rows <= batchRows)) rows += lane[count++]!.rows
      for (const item of lane.splice(0, count)) batch.push(item)
      // those of lower priority do not overtake what did not fit
      if (lane.length > 0) break
    }
    for (const item of batch) this.#left(item)
    return batch
  }

  /** What was taken and not begun waits again, before all others of its priority, whatever waits by now. */
  putBack(batch: readonly T[]): void {
    for (const item of [...batch].reverse()) {
      this.#lanes[item.priority - 1]!.unshift(item)
      this.#came(item)
    }
  }

  /** Takes out what has waited too long. */
  expired(nowMs: number): T[] {
    const gone: T[] = []
    for (const [index, lane] of this.#lanes.entries()) {
      if (!lane.some(({ expiresMs }) => expiresMs <= nowMs)) continue
      this.#lanes[index] = lane.filter((item) => item.expiresMs > nowMs || gone.push(item) === 0)
    }
    for (const item of gone) this.#left(item)
    return gone
  }

  /** Whoever asked has gone. False when it is not waiting any more. */
  remove(item: T): boolean {
    const lane = this.#lanes[item.priority - 1]!
    const at = lane.indexOf(item)
    if (at < 0) return false
    lane.splice(at, 1)
    this.#left(item)
    return true
  }

  #came({ rows, bytes }: T): void {
    this.requests++
    this.rows += rows
    this.bytes += bytes
  }

  #left({ rows, bytes }: T): void {
    this.requests--
    this.rows -= rows
    this.bytes -= bytes
  }
}
