import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/base/digest.js'
import { durationSchema, formatDuration, parseDurationMs } from '../../src/base/durations.js'
import { Prng } from '../../src/base/prng.js'

describe('durations', () => {
  it('are read with their unit', () => {
    assert.deepEqual(['250ms', '5s', '10m', '1h', '30d', '1.5s', 7].map(parseDurationMs), [250, 5000, 600_000, 3_600_000, 2_592_000_000, 1500, 7])
    for (const text of ['', '5', 's', '-1s', '5 sec', '1h30m']) assert.throws(() => parseDurationMs(text), /is not a duration/)
    assert.equal(durationSchema.safeParse('5 sec').success, false)
  })

  it('are written in the shortest exact form, and read back', () => {
    assert.deepEqual([86_400_000, 90_000, 1500, 0].map(formatDuration), ['1d', '90s', '1500ms', '0ms'])
    fc.assert(fc.property(fc.nat(), (ms) => assert.equal(parseDurationMs(formatDuration(ms)), ms)))
  })
})

describe('digests', () => {
  it('do not depend on the order of keys, nor on members that are undefined', () => {
    assert.equal(digestOf({ a: 1, b: [{ c: 2, d: null }] }), digestOf({ b: [{ d: null, c: 2 }], a: 1, e: undefined }))
    assert.notEqual(digestOf({ a: [1, 2] }), digestOf({ a: [2, 1] }))
    assert.notEqual(digestOf({ a: 1 }), digestOf({ a: '1' }))
  })
})

describe('seeded numbers', () => {
  it('are the same for a seed, and different for another', () => {
    const draw = (seed: number): number[] => {
      const prng = new Prng(seed)
      return Array.from({ length: 5 }, () => prng.uint32())
    }
    assert.deepEqual(draw(1), draw(1))
    assert.notDeepEqual(draw(1), draw(2))
  })

  it('are uniform enough', () => {
    const prng = new Prng(42)
    const counts = new Array<number>(10).fill(0)
    for (let i = 0; i < 100_000; i++) counts[prng.below(10)]!++
    for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, `${count}`)
    let sum = 0
    let squares = 0
    for (let i = 0; i < 100_000; i++) {
      const value = prng.normal()
      sum += value
      squares += value * value
    }
    assert.ok(Math.abs(sum / 100_000) < 0.02 && Math.abs(squares / 100_000 - 1) < 0.03)
  })
})
