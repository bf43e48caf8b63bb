import assert from 'node:assert/strict'
import { appendFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import type { LoadedModel } from '../../src/inference/model-store.js'
import type { ModelUse, Scorer } from '../../src/inference/scorer.js'
import { cut, makeSchedule, scoreParts, type ScheduledEvent } from './schedule.js'
import { F, features, gruStep, H, rowModel, TestStore, windowDense } from './test-models.js'

const entities = 9
const rowsMax = 20

describe('a model that is replaced', () => {
  const store = new TestStore()
  const scorers: Scorer[] = []
  let row: LoadedModel
  let otherRow: LoadedModel
  let window: LoadedModel
  let gru: LoadedModel
  let otherGru: LoadedModel
  const open = async (models: readonly ModelUse[], workers: number): Promise<Scorer> => {
    const scorer = await createScorer({ features, window: 8, models, device: 'cpu', workers, clock: systemClock, limits: { rowsMax, framesMax: 3 }, chunkSlots: 16 })
    scorers.push(scorer)
    return scorer
  }
  const partsOf = (seed: number): { before: ScheduledEvent[][]; after: ScheduledEvent[][] } => {
    const events = makeSchedule(seed, { events: 240, entities, features: F, firstSlot: 0 })
    return { before: cut(events.slice(0, 120), seed, rowsMax), after: cut(events.slice(120), seed + 1, rowsMax) }
  }

  before(() => {
    row = store.add('row', rowModel(6))
    otherRow = store.add('other-row', rowModel(61))
    window = store.add('window', windowDense())
    gru = store.add('gru', gruStep(1))
    otherGru = store.add('other-gru', gruStep(12))
  })
  after(async () => {
    for (const scorer of scorers) await scorer.close()
    store.remove()
  })

  for (const workers of [0, 1, 3]) {
    test(`scores from then on as one that was there from the start, and the others go on unchanged (${workers} workers)`, async () => {
      const { before, after } = partsOf(31)
      const use = (model: LoadedModel, epoch = 1): ModelUse => ({ model, role: 'shadow', epoch })
      const replaced = await open([use(row), use(gru), use(gru)], workers)
      const old = await open([use(row), use(gru), use(gru)], 0)
      const fresh = await open([use(window), use(gru), use(otherGru)], 0)
      assert.deepEqual((await scoreParts(replaced, before)).scores, (await scoreParts(old, before)).scores)
      await scoreParts(fresh, before)
      // the fresh one has carried its state; in the replaced one it is warmed, over as many rows as the ring holds
      fresh.memory.ensureSlots(entities)
      for (let slot = 0; slot < entities; slot++) fresh.memory.markHiddenOf(1, slot)
      await replaced.replaceModel(0, use(window))
      await replaced.replaceModel(2, use(otherGru, 2))
      assert.deepEqual(replaced.models.map((model) => model.reference), ['window@1', 'gru@1', 'other-gru@1'])
      assert.equal(replaced.memory.layout.hidden[1]!.identity, otherGru.manifest.sha256)
      const actual = (await scoreParts(replaced, after)).scores
      const expected = (await scoreParts(fresh, after)).scores
      assert.deepEqual(actual, expected)
    })
  }

  test('loses, doubles and delays no frame: those that come while it opens are scored by the one before', async () => {
    const scorer = await open([{ model: row, role: 'champion' }], 2)
    const events = makeSchedule(77, { events: 20, entities, features: F, firstSlot: 0 })
    const [before] = [(await scoreParts(scorer, [events])).scores]
    let replaced = false
    const replacing = scorer.replaceModel(0, { model: otherRow, role: 'champion' }).then(() => (replaced = true))
    let meanwhile = 0
    while (!replaced) {
      const { scores, failed } = await scoreParts(scorer, [events, events, events], 3)
      assert.equal(scores.length, 60)
      assert.deepEqual(failed, [[], [], []])
      // each frame is scored by one of the two, and never by the old one after the new one
      const kinds = [0, 20, 40].map((at) => (JSON.stringify(scores.slice(at, at + 20)) === JSON.stringify(before) ? 'old' : 'new'))
      assert.deepEqual(kinds, [...kinds].sort().reverse())
      if (kinds.includes('old')) meanwhile++
    }
    await replacing
    assert.ok(meanwhile > 0, 'frames were scored while the model was opened')
    assert.notDeepEqual((await scoreParts(scorer, [events])).scores, before)
  })

  test('stays when the one that should follow cannot: another size of state, an altered file, a missing feature', async () => {
    for (const workers of [0, 2]) {
      const scorer = await open([{ model: row, role: 'champion' }, { model: gru, role: 'shadow' }], workers)
      const wide = store.add(`wide-${workers}`, { ...gruStep(3) }, { states: [{ shape: [H + 1] }] })
      await assert.rejects(scorer.replaceModel(1, { model: wide, role: 'shadow', epoch: 2 }), { code: 'MODEL_INVALID', message: /has 13 floats of state, gru@1 has 12/ })
      const altered = store.add(`altered-${workers}`, rowModel(5))
      appendFileSync(altered.file, 'x')
      await assert.rejects(scorer.replaceModel(0, { model: altered, role: 'champion' }), { code: 'MODEL_INVALID', message: /sha256/ })
      const other = { ...row, manifest: { ...row.manifest, features: ['f0', 'f1', 'f2', 'f3', 'g'] } }
      await assert.rejects(scorer.replaceModel(0, { model: other, role: 'champion' }), { code: 'MODEL_INVALID', message: /does not have: g/ })
      assert.deepEqual(scorer.models.map((model) => model.reference), ['row@1', 'gru@1'])
      const { failed } = await scoreParts(scorer, [makeSchedule(5, { events: 20, entities, features: F, firstSlot: 0 })])
      assert.deepEqual(failed, [[]])
    }
  })

  test('a scorer that is closed while it opens a model lets go of both', async () => {
    const scorer = await open([{ model: row, role: 'champion' }], 2)
    const replacing = scorer.replaceModel(0, { model: otherRow, role: 'champion' })
    const rejected = assert.rejects(replacing, /closed/)
    await scorer.close()
    await rejected
  })
})
