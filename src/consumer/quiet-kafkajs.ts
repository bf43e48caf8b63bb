import { createRequire } from 'node:module'
import { systemClock } from '../base/clock.js'

export interface RequestQueue {
  readonly pending: readonly unknown[]
  /** ms since 1970; a broker that is asked too much says until when. */
  readonly throttledUntil: number
  scheduleCheckPendingRequests(): void
}

let isQuiet = false

/**
 * kafkajs 2.2.4 sets a timer of 1 ms again and again for each open connection, also when nothing waits to be sent, which costs an idle
 * engine as much as all the rest. From here on it sets one only while something waits, or a broker throttles. Returns what it changed.
 */
export function quietKafkajs(): RequestQueue {
  const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as { prototype: RequestQueue }
  if (isQuiet) return prototype
  isQuiet = true
  const schedule = prototype.scheduleCheckPendingRequests
  prototype.scheduleCheckPendingRequests = function (this: RequestQueue): void {
    if (this.pending.length > 0 || this.throttledUntil > systemClock.nowMs()) schedule.call(this)
  }
  return prototype
}
