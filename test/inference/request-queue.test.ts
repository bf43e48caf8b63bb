import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HarrierError } from '../../src/base/errors.js'
import { queueLimitsDefault, RequestQueue, type Waiting } from '../../src/inference/serving/request-queue.js'

interface Item extends Waiting {
  readonly name: string
}

const item = (name: string, more: Partial<Waiting> = {}): Item => ({ name, rows: 1, bytes: 10, priority: 2, arrivedMs: 0, expiresMs: 1000, ...more })
const names = (items: readonly Item[]): string => items.map(({ name }) => name).join('')
const isOverloaded = (error: unknown): boolean => error instanceof HarrierError && error.code === 'OVERLOADED' && error.retryAfterMs === 7

describe('the queue of a served model', () => {
  it('gives batches of whole requests in the order of arrival, as many rows as fit', () => {
    const queue = new RequestQueue<Item>(queueLimitsDefault)
    for (const [name, rows] of [['a', 3], ['b', 4], ['c', 2], ['d', 9]] as const) queue.add(item(name, { rows }), 0)
    assert.equal(names(queue.take(8)), 'ab')
    assert.equal(names(queue.take(8)), 'c')
    assert.equal(names(queue.take(8)), 'd', 'larger than a batch: alone')
    assert.deepEqual([queue.requests, queue.rows, queue.bytes], [0, 0, 0])
  })

  it('lets higher priorities go first, and lower ones overtake nothing that did not fit', () => {
    const queue = new RequestQueue<Item>(queueLimitsDefault)
    queue.add(item('c', { priority: 3 }), 0)
    queue.add(item('b', { rows: 6 }), 0)
    queue.add(item('a', { priority: 1, rows: 5 }), 0)
    assert.equal(names(queue.take(8)), 'a')
    assert.equal(names(queue.take(8)), 'bc')
  })

  it('takes back what was taken, before all others of its priority and beyond its limits', () => {
    const queue = new RequestQueue<Item>({ ...queueLimitsDefault, requestsMax: 2 })
    for (const name of ['a', 'b']) queue.add(item(name), 0)
    const taken = queue.take(8)
    for (const name of ['c', 'd']) queue.add(item(name), 0)
    queue.putBack(taken)
    assert.deepEqual([queue.requests, queue.rows, queue.bytes], [4, 4, 40])
    assert.equal(names(queue.take(8)), 'abcd')
  })

  it('refuses what goes beyond requests, rows or bytes, at once and with a time to come back', () => {
    const queue = new RequestQueue<Item>({ ...queueLimitsDefault, requestsMax: 2, rowsMax: 10, bytesMax: 100 })
    queue.add(item('a', { rows: 9 }), 7)
    assert.throws(() => queue.add(item('b', { rows: 2 }), 7), isOverloaded)
    assert.throws(() => queue.add(item('b', { bytes: 91 }), 7), isOverloaded)
    queue.add(item('b'), 7)
    assert.throws(() => queue.add(item('c'), 7), isOverloaded)
    assert.equal(names(queue.take(100)), 'ab')
    queue.add(item('larger than all limits, but alone', { rows: 50 }), 7)
  })

  it('is due when a batch is full or its oldest has waited the delay', () => {
    const queue = new RequestQueue<Item>({ ...queueLimitsDefault, delayMs: 5 })
    assert.equal(queue.dueMs(4), Infinity)
    queue.add(item('a', { arrivedMs: 100 }), 0)
    queue.add(item('b', { arrivedMs: 90, priority: 1 }), 0)
    assert.equal(queue.dueMs(4), 95)
    queue.add(item('c', { rows: 2 }), 0)
    assert.equal(queue.dueMs(4), -Infinity)
  })

  it('gives up what has waited too long and what nobody waits for', () => {
    const queue = new RequestQueue<Item>(queueLimitsDefault)
    const [a, b, c] = [item('a', { expiresMs: 10 }), item('b', { expiresMs: 30, priority: 1 }), item('c', { expiresMs: 20 })]
    for (const each of [a, b, c]) queue.add(each, 0)
    assert.equal(names(queue.expired(20)), 'ac')
    assert.equal(queue.remove(b), true)
    assert.equal(queue.remove(b), false)
    assert.deepEqual([queue.requests, queue.rows, queue.bytes], [0, 0, 0])
  })
})
