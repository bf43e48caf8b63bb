import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Prng } from '../../src/base/prng.js'
import { CardPrecision, type CardDay } from '../../src/backtest/card-precision.js'
import { Ranking, type ScoreGroup } from '../../src/backtest/ranking.js'

interface Event {
  readonly score: number
  readonly isFraud: boolean
  readonly loss: number
}

function events(seed: number, count: number, levels: number): Event[] {
  const prng = new Prng(seed)
  return Array.from({ length: count }, () => {
    const isFraud = prng.below(6) === 0
    const score = Math.min(0.999, (prng.below(levels) / levels) * 0.7 + (isFraud ? 0.2 : 0))
    return { score, isFraud, loss: isFraud ? 1 + prng.below(50) : 0 }
  })
}

function groupsOf(all: readonly Event[]): ScoreGroup[] {
  const scores = [...new Set(all.map(({ score }) => score))].sort((a, b) => b - a)
  return scores.map((score) => {
    const group = all.filter((each) => each.score === score)
    const frauds = group.filter(({ isFraud }) => isFraud)
    return { score, events: group.length, frauds: frauds.length, loss: frauds.reduce((sum, { loss }) => sum + loss, 0) }
  })
}

function ranked(all: readonly Event[], { days = 4, thresholds = [0.5], alertsADay = 10, reviewCost = 2 } = {}): ReturnType<Ranking['figures']> {
  const frauds = all.filter(({ isFraud }) => isFraud)
  const ranking = new Ranking({ totals: { events: all.length, frauds: frauds.length, loss: frauds.reduce((sum, { loss }) => sum + loss, 0), days }, reviewCost, alertsADay, thresholds })
  for (const group of groupsOf(all)) ranking.add(group)
  return ranking.figures()
}

const close = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`)

describe('figures of a ranking', () => {
  for (const seed of [1, 2, 3]) {
    const all = events(seed, 400, seed === 3 ? 7 : 1000)

    it(`give the area under the ROC that counting all pairs gives (seed ${seed})`, () => {
      let wins = 0
      let pairs = 0
      for (const fraud of all.filter(({ isFraud }) => isFraud)) {
        for (const genuine of all.filter(({ isFraud }) => !isFraud)) {
          pairs++
          wins += fraud.score > genuine.score ? 1 : fraud.score === genuine.score ? 0.5 : 0
        }
      }
      close(ranked(all).aucRoc, wins / pairs)
    })

    it(`give the average precision of its definition, ties taken together (seed ${seed})`, () => {
      const frauds = all.filter(({ isFraud }) => isFraud).length
      let sum = 0
      let before = 0
      for (const { score } of groupsOf(all)) {
        const above = all.filter((each) => each.score >= score)
        const found = above.filter(({ isFraud }) => isFraud).length
        sum += ((found - before) / frauds) * (found / above.length)
        before = found
      }
      close(ranked(all).averagePrecision, sum)
    })

    it(`give what a threshold and a budget of alerts find (seed ${seed})`, () => {
      const { atThresholds, atBudget } = ranked(all, { thresholds: [0.5], alertsADay: 10, days: 4 })
      const frauds = all.filter(({ isFraud }) => isFraud).length
      const alerts = all.filter(({ score }) => score >= 0.5)
      close(atThresholds[0]!.alertsADay, alerts.length / 4)
      close(atThresholds[0]!.recall, alerts.filter(({ isFraud }) => isFraud).length / frauds)
      close(atThresholds[0]!.precision!, alerts.filter(({ isFraud }) => isFraud).length / alerts.length)
      const within = groupsOf(all).map(({ score }) => all.filter((each) => each.score >= score)).filter((above) => above.length <= 40)
      close(atBudget.recall, (within.at(-1) ?? []).filter(({ isFraud }) => isFraud).length / frauds)
    })

    it(`put every event into one bin of the histogram and one band of the calibration (seed ${seed})`, () => {
      const { histogram, calibration } = ranked(all)
      const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
      assert.equal(sum(histogram.genuine) + sum(histogram.fraud), all.length)
      assert.equal(sum(calibration.map(({ events: count }) => count)), all.length)
      for (const { from, to, events: count, frauds } of calibration) {
        const inside = all.filter(({ score }) => score >= from && score < to)
        assert.deepEqual([count, frauds], [inside.length, inside.filter(({ isFraud }) => isFraud).length])
      }
    })

    it(`find the threshold of least cost among those that were looked at (seed ${seed})`, () => {
      const { cost, cheapest } = ranked(all, { reviewCost: 2, days: 4 })
      const costAt = (threshold: number): number => (2 * all.filter(({ score }) => score >= threshold).length + all.filter(({ score, isFraud }) => isFraud && score < threshold).reduce((total, { loss }) => total + loss, 0)) / 4
      for (const point of cost) close(point.costADay, costAt(point.threshold))
      close(cheapest!.costADay, Math.min(...cost.map(({ costADay }) => costADay)))
    })
  }
})

describe('card precision', () => {
  /** The definition, without a stream. */
  function naive(all: readonly CardDay[], top: number): number {
    const first = all[0]!.day
    const days = [...new Set(all.map(({ day }) => day))]
    const lastWhole = Math.floor((days.at(-1)! - first + 1) / 7) * 7
    const counted = lastWhole > 0 ? days.filter((day) => day < first + lastWhole) : days
    const shares = counted.map((day) => {
      const found = (of: number): Set<string> => new Set(blocked(of).filter(({ isFraud }) => isFraud).map(({ card }) => card))
      const blocked = (of: number): CardDay[] => {
        const week = Math.floor((of - first) / 7)
        const known = new Set<string>()
        for (const earlier of days.filter((each) => each < of && Math.floor((each - first) / 7) === week)) for (const card of found(earlier)) known.add(card)
        return all.filter((each) => each.day === of && !known.has(each.card)).slice(0, top)
      }
      return found(day).size / top
    })
    return shares.reduce((a, b) => a + b, 0) / shares.length
  }

  it('is the mean share of compromised cards among the top, without those found earlier in the week', () => {
    for (const [days, seed] of [[3, 1], [7, 2], [17, 3]] as const) {
      const prng = new Prng(seed)
      const all: CardDay[] = []
      for (let day = 100; day < 100 + days; day++) {
        const cards = Array.from({ length: 12 }, (_, i) => `c${i}`).sort(() => prng.below(3) - 1)
        for (const card of cards) all.push({ day, card, isFraud: prng.below(4) === 0 })
      }
      const precision = new CardPrecision(5)
      for (const each of all) precision.add(each)
      close(precision.value(), naive(all, 5))
    }
  })
})
