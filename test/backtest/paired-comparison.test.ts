import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { comparePaired, recommend, type PairedEvents } from '../../src/backtest/paired-comparison.js'
import { Ranking } from '../../src/backtest/ranking.js'
import { Prng } from '../../src/base/prng.js'

/** Events of which one in `oneIn` is a fraud; a model sees it with `signal` of its own. */
function events(seed: number, count: number, signals: readonly [number, number], oneIn = 20): PairedEvents {
  const prng = new Prng(seed)
  const fraud = Uint8Array.from({ length: count }, () => (prng.below(oneIn) === 0 ? 1 : 0))
  const scored = (signal: number): Float32Array => Float32Array.from(fraud, (is) => Math.round(100 / (1 + Math.exp(-(prng.normal() + is * signal)))) / 100)
  return { scores: [scored(signals[0]), scored(signals[1])], fraud, entity: Int32Array.from({ length: count }, () => prng.below(count / 5)), entities: count / 5, days: 10 }
}

describe('a paired comparison', () => {
  it('has the figures of the backtest, ties included', () => {
    const sample = events(3, 4000, [1.5, 1])
    const figures = comparePaired(sample, { alertsADay: 20, resamples: 2, seed: 1 })
    for (const [model, name] of (['a', 'b'] as const).entries()) {
      const frauds = sample.fraud.reduce((sum, is) => sum + is, 0)
      const ranking = new Ranking({ totals: { events: 4000, frauds, loss: 0, days: 10 }, reviewCost: 1, alertsADay: 20, thresholds: [] })
      const groups = new Map<number, { events: number; frauds: number }>()
      sample.scores[model]!.forEach((score, row) => {
        const group = groups.get(score) ?? { events: 0, frauds: 0 }
        groups.set(score, { events: group.events + 1, frauds: group.frauds + sample.fraud[row]! })
      })
      for (const [score, group] of [...groups].sort(([x], [y]) => y - x)) ranking.add({ score, ...group, loss: 0 })
      const expected = ranking.figures()
      assert.ok(Math.abs(figures.aucRoc[name].value - expected.aucRoc) < 1e-12)
      assert.ok(Math.abs(figures.averagePrecision[name].value - expected.averagePrecision) < 1e-12)
      assert.equal(figures.recallAtBudget[name].value, expected.atBudget.recall)
    }
  })

  it('tells a better model from a worse one, and neither from itself', () => {
    const names = ['a@1', 'b@1'] as const
    const verdict = (signals: readonly [number, number], count = 6000): string => {
      const sample = events(7, count, signals)
      return recommend(comparePaired(sample, { alertsADay: 30, resamples: 100, seed: 1 }), sample.fraud.reduce((sum, is) => sum + is, 0), names).verdict
    }
    assert.equal(verdict([1, 3]), 'better')
    assert.equal(verdict([3, 1]), 'worse')
    assert.equal(verdict([1.5, 1.5]), 'no difference')
    assert.equal(verdict([1, 3], 200), 'too few labels')
  })

  it('covers the difference of two equal models about 19 times of 20, and the same seed gives the same figures', () => {
    let covered = 0
    for (let seed = 1; seed <= 40; seed++) {
      const { difference } = comparePaired(events(seed, 1500, [1.5, 1.5]), { alertsADay: 30, resamples: 100, seed: 9 }).averagePrecision
      if (difference.low <= 0 && difference.high >= 0) covered++
    }
    assert.ok(covered >= 33, `${covered} of 40`)
    const sample = events(1, 1500, [1, 2])
    assert.deepEqual(comparePaired(sample, { alertsADay: 5, resamples: 20, seed: 4 }), comparePaired(sample, { alertsADay: 5, resamples: 20, seed: 4 }))
  })
})
