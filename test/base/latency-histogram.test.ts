import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { LatencyHistogram } from '../../src/base/latency-histogram.js'

const durations = fc.array(fc.double({ min: 0.02, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 300 })
const fill = (values: readonly number[]): LatencyHistogram => {
  const histogram = new LatencyHistogram()
  for (const value of values) histogram.add(value)
  return histogram
}

describe('latency histogram', () => {
  it('quantiles lie within 2.5 % of the exact ones', () => {
    fc.assert(
      fc.property(durations, fc.constantFrom(0.5, 0.9, 0.99, 0.999, 1), (values, q) => {
        const exact = [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(q * values.length) - 1)]!
        const estimate = fill(values).quantile(q)
        assert.ok(Math.abs(estimate - exact) <= 0.0251 * exact, `${estimate} for ${exact}`)
      }),
    )
  })

  it('is nothing without values, and never above the largest', () => {
    assert.ok(Number.isNaN(new LatencyHistogram().quantile(0.5)))
    assert.equal(fill([5]).quantile(0.999), Math.min(5, fill([5]).quantile(0.5)))
    assert.ok(fill([5, 5, 5]).quantile(1) <= 5)
  })

  it('merged histograms are the histogram of all values, by way of JSON too', () => {
    fc.assert(
      fc.property(durations, durations, (a, b) => {
        const merged = fill(a)
        merged.merge(fill(b))
        const read = LatencyHistogram.fromJSON(JSON.parse(JSON.stringify(fill([...a, ...b]))) as [number, number][])
        assert.deepEqual(merged.toJSON(), fill([...a, ...b]).toJSON())
        assert.deepEqual(read.toJSON(), merged.toJSON())
        assert.equal(read.count, a.length + b.length)
      }),
    )
  })

  it('is empty after a reset', () => {
    const histogram = fill([1, 2, 3])
    histogram.reset()
    assert.deepEqual([histogram.count, histogram.maxMs, histogram.toJSON()], [0, 0, []])
  })
})
