import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock, systemClock, withTimeout } from '../../src/base/clock.js'
import { Condition } from '../../src/base/condition.js'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('clock', () => {
  it('a manual clock wakes sleepers in the order of their deadlines, at their deadlines', async () => {
    const clock = new ManualClock(1000)
    const woken: string[] = []
    const sleep = (name: string, ms: number): void => void clock.sleep(ms).then(() => woken.push(name))
    sleep('late', 30)
    sleep('early', 10)
    clock.advance(9)
    await turn()
    assert.deepEqual(woken, [])
    clock.advance(21)
    await turn()
    assert.deepEqual(woken, ['early', 'late'])
    assert.equal(clock.nowMs(), 1030)
  })

  it('a tick comes once an interval until it is stopped', () => {
    const clock = new ManualClock()
    let ticks = 0
    const stop = clock.every(10, () => ticks++)
    clock.advance(35)
    assert.equal(ticks, 3)
    stop()
    clock.advance(100)
    assert.equal(ticks, 3)
  })

  it('an aborted sleep ends at once, on either clock', async () => {
    for (const clock of [systemClock, new ManualClock()]) {
      const stopper = new AbortController()
      const sleeping = clock.sleep(3_600_000, stopper.signal)
      stopper.abort()
      await sleeping
      await clock.sleep(3_600_000, stopper.signal)
    }
  })

  it('work within its time limit gives its result, else its error', async () => {
    assert.equal(await withTimeout(Promise.resolve(5), 1000, () => new Error('too late')), 5)
    await assert.rejects(withTimeout(new Promise(() => undefined), 5, () => new Error('too late')), /too late/)
  })
})

describe('condition', () => {
  it('wakes everybody who waits, and each looks again', async () => {
    const condition = new Condition()
    let value = 0
    const seen: number[] = []
    for (const wanted of [1, 2, 2]) void condition.until(() => value >= wanted).then(() => seen.push(wanted))
    value = 1
    condition.notify()
    await turn()
    assert.deepEqual(seen, [1])
    value = 2
    condition.notify()
    await turn()
    assert.deepEqual(seen, [1, 2, 2])
  })
})
