import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Prng } from '../../src/base/prng.js'
import { populationStability, ScoreHistogram } from '../../src/monitor/score-histogram.js'

function histogram(count: number, score: () => number): ScoreHistogram {
  const made = new ScoreHistogram()
  for (let i = 0; i < count; i++) made.add(score())
  return made
}

describe('score histogram', () => {
  it('scores from edge to edge of [0, 1], and beyond it, have a bin each in their order', () => {
    const scores = [-1, 0, 0.000011, 0.0011, 0.0013, 0.4999, 0.5, 0.98, 0.9991, 1, 7]
    const bins = scores.map((score) => histogram(1, () => score).counts.indexOf(1))
    assert.deepEqual(bins, [...bins].sort((a, b) => a - b))
    assert.equal(new Set(bins).size, 9, bins.join(' '))
  })

  it('scores of one distribution are not shifted, those of another are, and a bad model whose scores lie where none lay is', () => {
    const prng = new Prng(3)
    const low = (): number => (prng.below(1000) * prng.below(1000) * 0.02) / 1_000_000
    const reference = histogram(10_000, low)
    assert.ok(populationStability(reference, histogram(1000, low)) < 0.05)
    assert.ok(populationStability(reference, histogram(1000, () => low() * 3)) > 0.25)
    assert.ok(populationStability(reference, histogram(1000, () => 0.9)) > 5)
    assert.ok(Number.isNaN(populationStability(new ScoreHistogram(), reference)))
  })

  it('is the index by hand: two groups, 1 of 4 and 3 of 4 of the reference against half and half', () => {
    const reference = histogram(0, () => 0)
    const scores = histogram(0, () => 0)
    for (let i = 0; i < 250_000; i++) reference.add(0.1)
    for (let i = 0; i < 750_000; i++) reference.add(0.9)
    for (let i = 0; i < 500_000; i++) scores.add(0.1), scores.add(0.9)
    const byHand = (0.5 - 0.25) * Math.log(0.5 / 0.25) + (0.5 - 0.75) * Math.log(0.5 / 0.75)
    assert.ok(Math.abs(populationStability(reference, scores) - byHand) < 1e-5)
  })

  it('merged histograms count what both counted', () => {
    const both = histogram(3, () => 0.2)
    both.merge(histogram(2, () => 0.7))
    assert.equal(both.total, 5)
    both.reset()
    assert.equal(both.counts.reduce((sum, count) => sum + count, 0) + both.total, 0)
  })
})
