import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '../../src/base/clock.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import { logOdds, type Explanation } from '../../src/inference/explainer.js'
import { NO_UPDATE, RESET } from '../../src/inference/frame.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import { reasonLimits } from '../../src/inference/reason-limits.js'
import type { Scorer, ScorerOptions } from '../../src/inference/scorer.js'
import { contents, cut, makeSchedule, scoreParts, type ScheduledEvent } from './schedule.js'
import { exactShapley } from './shapley.js'
import { F, features, gruOperator, gruStep, rowModel, TestStore, windowDense, windowGru } from './test-models.js'

const entities = 5
const ring = 12
const explainAll = { explain: { from: 0, top: reasonLimits.topMax, eventsMax: 1000 } }
const reference = { f0: 0.5, f1: -0.25, f3: 1 }
const referenceRow = [0.5, -0.25, 0, 1, 0]
const reasons = {
  reference,
  parts: [{ name: 'first two', features: ['f0', 'f1'], text: 'f0 {f0:1}, f1 {f1:0}' }],
  pastEvent: 'f2 {f2:3} {ago} before',
  pastEvents: 3,
  orderPairs: 8,
}

describe('reasons', () => {
  const store = new TestStore()
  const models = new Map<string, LoadedModel>()
  const scorers: Scorer[] = []
  let nextSlot = 0
  const few = { reference: {}, parts: [], pastEvents: 2 }
  before(() => {
    models.set('row', store.add('row', rowModel(), { reasons }))
    models.set('window', store.add('window', windowDense(), { reasons }))
    models.set('step', store.add('step', gruStep(), { reasons }))
    models.set('time-major', store.add('time-major', windowGru(), { reasons: few }))
    models.set('stacked', store.add('stacked', gruOperator(), { reasons: few, score: { meaning: 'logit' } }))
    models.set('plain', store.add('plain', gruStep()))
    models.set('right', store.add('right', windowDense(), { reasons, padding: 'right' }))
  })
  after(async () => {
    for (const scorer of scorers) await scorer.close()
    store.remove()
  })

  async function open(name: string, more: Partial<ScorerOptions> = {}): Promise<Scorer> {
    const options = { features, window: ring, models: [{ model: models.get(name)!, role: 'champion' as const }], device: 'cpu' as const, workers: 0, clock: systemClock, chunkSlots: 4, limits: { rowsMax: 64 } }
    const scorer = await createScorer({ ...options, ...more })
    scorers.push(scorer)
    return scorer
  }

  /** The score of the last row, after the others, of an entity of its own: by the scorer's everyday path. */
  async function scoreOf(scorer: Scorer, rows: readonly (readonly number[])[]): Promise<number> {
    const slot = nextSlot++
    const events = rows.map((row, index) => ({ slot, eventTime: index, flags: index === 0 ? RESET : 0, row: [...row] }))
    const { scores } = await scoreParts(scorer, [events])
    return scores.at(-1)![0]!
  }

  // The models' weights are drawn, so that features and events interact in every way.
  for (const [name, errorMax, firstMin] of [['row', 0.05, 0.9], ['window', 0.1, 0.9], ['right', 0.1, 0.9], ['step', 0.1, 0.9]] as const) {
    test(`${name}: sum and ranking of contributions against exact Shapley values`, async () => {
      const scorer = await open(name)
      const pastMax = name === 'row' ? 0 : 3
      let agreeing = 0
      let squares = 0
      let errors = 0
      const seeds = 40
      for (let seed = 1; seed <= seeds; seed++) {
        nextSlot += 1
        const rows = makeSchedule(seed, { events: pastMax + 1, entities: 1, features: F, firstSlot: 0 }).map(({ row }) => row)
        const slot = nextSlot++
        const { explanations, scores } = await scoreParts(scorer, [rows.map((row, index) => ({ slot, eventTime: 60_000 * index, flags: index === 0 ? RESET : 0, row }))], 1, () => explainAll)
        const explanation = explanations.at(-1)!
        // players: the part of two features, the other three, and the past from the newest on
        const parts = [[0, 1], [2], [3], [4]]
        const players = parts.length + pastMax
        const value: number[] = []
        for (let set = 0; set < 1 << players; set++) {
          const own = [...rows.at(-1)!]
          parts.forEach((columns, part) => {
            if ((set & (1 << part)) === 0) for (const column of columns) own[column] = referenceRow[column]!
          })
          const past = rows.slice(0, pastMax).map((row, index) => ((set & (1 << (parts.length + pastMax - 1 - index))) !== 0 ? row : referenceRow))
          value.push(logOdds(await scoreOf(scorer, [...past, own])))
        }
        const exact = exactShapley(players, value)
        const score = scores.at(-1)![0]!
        assert.equal(logOdds(score), value.at(-1), 'all players together are the score itself')
        assert.equal(logOdds(explanation.referenceScore), value[0], 'none of them is the reference')
        const told = explanation.top.reduce((sum, { contribution }) => sum + contribution, explanation.rest)
        assert.ok(Math.abs(told - exact.reduce((sum, each) => sum + each, 0)) < 1e-9, 'they sum up to the difference')
        const names = ['first two', 'f2', 'f3', 'f4', ...Array.from({ length: pastMax }, (_, age) => `past ${60_000 * (pastMax - 1 - age)}`)]
        const nameOf = ({ name: part, eventTime }: Explanation['top'][number]): string => (eventTime === null ? part : `past ${eventTime}`)
        for (const each of explanation.top) {
          const value = exact[names.indexOf(nameOf(each))]!
          squares += value * value
          errors += (each.contribution - value) ** 2
        }
        const [first] = explanation.top
        const highest = Math.max(...exact)
        if (first ? exact[names.indexOf(nameOf(first))]! >= 0.95 * highest : highest <= 0) agreeing++
      }
      const error = Math.sqrt(errors / squares)
      assert.ok(error < errorMax, `contributions are off by ${error} of their size`)
      assert.ok(agreeing >= firstMin * seeds, `the first reason is that of the exact values in ${agreeing} of ${seeds}`)
    })
  }

  test('are the same bits for any cut into frames, any number of frames in flight and of workers, and change no score and no state', async () => {
    for (const name of ['window', 'step', 'time-major', 'stacked', 'row']) {
      const pool = [await open(name), await open(name, { workers: 1 }), await open(name, { workers: 3 })]
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 3 }), async (seed, ahead) => {
          const firstSlot = (nextSlot += 2 * entities)
          const events = makeSchedule(seed, { events: 100, entities, features: F, firstSlot })
          const reset = events.map((event, index) => ({ ...event, flags: events.findIndex(({ slot }) => slot === event.slot) === index ? event.flags | RESET : event.flags }))
          const from = 0.5
          const options = { explain: { from, top: 3, eventsMax: 1000 } }
          const one = await scoreParts(pool[0]!, reset.map((event) => [event]), 1, () => options)
          const state = contents(pool[0]!, firstSlot, entities)
          one.scores.forEach(([score], index) => assert.equal(one.explanations[index] !== null, score! >= from))
          const shifted = reset.map((event) => ({ ...event, slot: event.slot + entities }))
          const without = await scoreParts(pool[0]!, cut(shifted, seed, 64))
          assert.deepEqual(without.scores, one.scores)
          assert.deepEqual(contents(pool[0]!, firstSlot + entities, entities), state)
          for (const scorer of pool.slice(1)) {
            const many = await scoreParts(scorer, cut(reset, seed + 1, 64), ahead, () => options)
            assert.deepEqual(many, { ...one, failed: many.failed })
            assert.deepEqual(contents(scorer, firstSlot, entities), state)
          }
        }),
        { numRuns: 6 },
      )
    }
  })

  test('of a carried state that knows more than the ring, say so: the sum holds, and within the ring nothing is carried', async () => {
    const scorer = await open('step')
    const slot = (nextSlot += 10)
    const events: ScheduledEvent[] = makeSchedule(5, { events: 40, entities: 1, features: F, firstSlot: slot }).map((event, index) => ({ ...event, slot, eventTime: 1000 * index, flags: index === 0 ? RESET : 0 }))
    const { explanations, scores } = await scoreParts(scorer, cut(events, 3, 9), 2, () => explainAll)
    explanations.forEach((explanation, index) => {
      const told = explanation!.top.reduce((sum, { contribution }) => sum + contribution, explanation!.rest)
      assert.ok(Math.abs(told - (logOdds(scores[index]![0]!) - logOdds(explanation!.referenceScore))) < 1e-9)
      if (index <= ring) assert.ok(explanation!.top.every(({ name }) => name !== 'carried'), `event ${index}`)
    })
    const all = explanations.flatMap((explanation) => explanation!.top)
    assert.ok(all.some(({ name, text }) => name === 'carried' && text === `what is carried from before the last ${ring} events`))
    assert.ok(all.some(({ name, text }) => name === 'earlier' && /^the \d+ events before those$/.test(text)))
    assert.ok(all.some(({ name, text, eventTime }) => name === 'past-event' && eventTime !== null && /^f2 -?\d\.\d{3} \d s before$/.test(text)))
    assert.ok(all.some(({ name, text }) => name === 'first two' && /^f0 -?\d\.\d, f1 -?\d$/.test(text)))
  })

  test('keep their limits: so many events, so many reasons, those that raised the score, the first one most', async () => {
    const scorer = await open('plain')
    const firstSlot = (nextSlot += 100)
    nextSlot += 64
    const events = makeSchedule(9, { events: 60, entities: 60, features: F, firstSlot }).map((event, index) => ({ ...event, slot: firstSlot + index, flags: RESET }))
    const { explanations } = await scoreParts(scorer, [events], 1, () => ({ explain: { from: 0, top: 2, eventsMax: 50 } }))
    assert.deepEqual(explanations.map((each) => each !== null), events.map((_, index) => index < 50))
    for (const explanation of explanations.slice(0, 50)) {
      const { top } = explanation!
      assert.ok(top.length <= 2 && top.every(({ contribution }) => contribution > 0) && (top.length < 2 || top[0]!.contribution >= top[1]!.contribution))
    }
    const { explained } = scorer.metrics()
    // five features in two pairs of orders: more extra rows than are prepared at once would go in several parts
    assert.deepEqual({ events: explained.events, rows: explained.rows }, { events: 50, rows: 50 * (2 + 4 * 4) })
  })

  test('of a late event are about what it was scored on', async () => {
    const scorer = await open('window')
    const slot = (nextSlot += 10)
    const rows = makeSchedule(2, { events: 3, entities: 1, features: F, firstSlot: slot }).map(({ row }) => row)
    const flags = [RESET, 0, NO_UPDATE]
    const late = await scoreParts(scorer, [rows.map((row, index) => ({ slot, row, eventTime: [10, 20, 5][index]!, flags: flags[index]! }))], 1, () => explainAll)
    const other = (nextSlot += 10)
    const newest = await scoreParts(scorer, [rows.map((row, index) => ({ slot: other, row, eventTime: 10 * index, flags: index === 0 ? RESET : 0 }))], 1, () => explainAll)
    const bare = (explanation: Omit<Explanation, 'row'>): unknown => ({ ...explanation, top: explanation.top.map(({ contribution, name }) => ({ contribution, name })) })
    assert.deepEqual(bare(late.explanations[2]!), bare(newest.explanations[2]!))
  })
})
