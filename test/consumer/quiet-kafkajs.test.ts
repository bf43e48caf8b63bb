import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { quietKafkajs, type RequestQueue } from '../../src/consumer/quiet-kafkajs.js'

interface Timed extends RequestQueue {
  throttleCheckTimeoutId: NodeJS.Timeout | null
}

/** The queue of a connection that is open, with the timer that it sets. */
function scheduled(state: Pick<RequestQueue, 'pending' | 'throttledUntil'>): NodeJS.Timeout | null {
  const queue = Object.assign(Object.create(quietKafkajs()) as Timed, { throttleCheckTimeoutId: null, ...state })
  queue.scheduleCheckPendingRequests()
  const timer = queue.throttleCheckTimeoutId
  if (timer) clearTimeout(timer)
  return timer
}

describe('a connection of kafkajs', () => {
  it('sets a timer only while something waits to be sent, or a broker throttles', () => {
    assert.equal(scheduled({ pending: [], throttledUntil: -1 }), null)
    assert.notEqual(scheduled({ pending: ['a request'], throttledUntil: -1 }), null)
    assert.notEqual(scheduled({ pending: [], throttledUntil: systemClock.nowMs() + 1000 }), null)
  })
})
