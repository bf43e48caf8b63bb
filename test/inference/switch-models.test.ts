import assert from 'node:assert/strict'
import { appendFileSync, readdirSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import type { ModelUse, Scorer } from '../../src/inference/scorer.js'
import { allBytes, contents, cut, fill, makeSchedule, scoreParts, switchModels, type ScheduledEvent } from './schedule.js'
import { F, features, gruOperator, gruStep, rowModel, TestStore, windowDense } from './test-models.js'

const entities = 9
const rowsMax = 20

/** Threads end in their own time. */
async function settled(done: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !done(); tries++) {
    assert.ok(tries < 2000, what)
    await systemClock.sleep(5)
  }
}

describe('models that take the place of others', () => {
  const store = new TestStore()
  const scorers: Scorer[] = []
  let row: LoadedModel
  let otherRow: LoadedModel
  let window: LoadedModel
  let gru: LoadedModel
  let otherGru: LoadedModel
  let wideGru: LoadedModel
  const open = async (models: readonly ModelUse[], workers: number): Promise<Scorer> => {
    const scorer = await createScorer({ features, window: 8, models, device: 'cpu', workers, clock: systemClock, limits: { rowsMax, framesMax: 4 }, chunkSlots: 16 })
    scorers.push(scorer)
    return scorer
  }
  const partsOf = (seed: number): { before: ScheduledEvent[][]; after: ScheduledEvent[][] } => {
    const events = makeSchedule(seed, { events: 240, entities, features: F, firstSlot: 0 })
    return { before: cut(events.slice(0, 120), seed, rowsMax), after: cut(events.slice(120), seed + 1, rowsMax) }
  }
  const use = (model: LoadedModel, epoch = 1, role: ModelUse['role'] = 'shadow'): ModelUse => ({ model, role, epoch })

  before(() => {
    row = store.add('row', rowModel(6))
    otherRow = store.add('other-row', rowModel(61))
    window = store.add('window', windowDense())
    gru = store.add('gru', gruStep(1))
    otherGru = store.add('other-gru', gruStep(12))
    wideGru = store.add('wide-gru', gruOperator(3))
  })
  after(async () => {
    for (const scorer of scorers) await scorer.close()
    store.remove()
  })

  for (const workers of [0, 1, 3]) {
    test(`of any kind and number: those that stay go on, the others score as if they had run over the ring (${workers} workers)`, async () => {
      const { before, after } = partsOf(31)
      const scorer = await open([use(gru, 1, 'champion'), use(row)], workers)
      const old = await open([use(gru, 1, 'champion'), use(row)], 0)
      assert.deepEqual((await scoreParts(scorer, before)).scores, (await scoreParts(old, before)).scores)
      // One that had all of them from the start, whose states are then forgotten but for those that stay.
      const fresh = await open([use(wideGru, 4, 'champion'), use(window, 4), use(otherGru, 4), use(gru)], 0)
      await scoreParts(fresh, before)
      fresh.memory.ensureSlots(entities)
      for (let slot = 0; slot < entities; slot++) for (const hidden of [0, 1]) fresh.memory.markHiddenOf(hidden, slot)
      await switchModels(scorer, [use(wideGru, 4, 'champion'), use(window, 4), use(otherGru, 4), use(gru)], 3)
      assert.deepEqual(scorer.models.map(({ reference, role, epoch }) => `${reference} ${role} ${epoch}`), ['wide-gru@1 champion 4', 'window@1 shadow 4', 'other-gru@1 shadow 4', 'gru@1 shadow 1'])
      assert.equal(scorer.inForce.release, 3)
      assert.deepEqual(contents(scorer, 0, entities), contents(fresh, 0, entities))
      assert.deepEqual((await scoreParts(scorer, after)).scores, (await scoreParts(fresh, after)).scores)
      assert.deepEqual(contents(scorer, 0, entities), contents(fresh, 0, entities), 'what goes on the changelog is of the models in force')
    })

    test(`a model that comes back is warmed, whatever states it has left (${workers} workers)`, async () => {
      const { before, after } = partsOf(57)
      const scorer = await open([use(gru, 1, 'champion')], workers)
      await scoreParts(scorer, before)
      await switchModels(scorer, [use(otherGru, 2, 'champion')])
      await switchModels(scorer, [use(gru, 3, 'champion')])
      const fresh = await open([use(gru, 3, 'champion')], 0)
      await scoreParts(fresh, before)
      fresh.memory.ensureSlots(entities)
      for (let slot = 0; slot < entities; slot++) fresh.memory.markHidden(slot)
      assert.deepEqual((await scoreParts(scorer, after)).scores, (await scoreParts(fresh, after)).scores)
    })
  }

  for (const workers of [0, 2]) {
    test(`frames of the models before are undone to the bit after others have taken over (${workers} workers)`, async () => {
      const { before, after } = partsOf(83)
      const events = after.flat().slice(0, rowsMax)
      const scorer = await open([use(gru, 1, 'champion'), use(otherGru)], workers)
      await scoreParts(scorer, before)
      const wasBytes = allBytes(scorer)
      const slabs = scorer.memory.hidden
      const words = slabs.map((slab) => slab.words.map((each) => each.slice()))
      const [first, second] = [scorer.acquireFrame()!, scorer.acquireFrame()!]
      fill(first, events)
      await scorer.score(first)
      await switchModels(scorer, [use(wideGru, 2, 'champion'), use(gru), use(row)])
      fill(second, events)
      await scorer.score(second)
      assert.deepEqual([first, second].map(({ models }) => models.models.map(({ reference }) => reference)), [['gru@1', 'other-gru@1'], ['wide-gru@1', 'gru@1', 'row@1']])
      assert.equal(second.scores.length, 3)
      scorer.undo(second)
      scorer.undo(first)
      scorer.releaseFrame(second)
      scorer.releaseFrame(first)
      slabs.forEach((slab, index) => assert.deepEqual(slab.words, words[index], `states of model ${index}`))
      assert.ok(Buffer.from(new Uint8Array(scorer.memory.chunks[0]!.ring)).equals(wasBytes.subarray(0, scorer.memory.chunks[0]!.ring.byteLength)))
    })
  }

  test('workers come and go by the rule, and under it releases: the bits are those of one thread', async () => {
    const models = [use(gru, 1, 'champion'), use(window), use(row)]
    const next = [use(gru, 1, 'champion'), use(otherGru, 2)]
    const parts = cut(makeSchedule(19, { events: 2000, entities, features: F, firstSlot: 0 }), 19, rowsMax)
    const inline = await open(models, 0)
    // Whatever they do, one more comes, and goes again when fewer rows came through after it.
    const workerRule = { intervalMs: 5, busyMin: 0, busyIntervals: 1, idleCoresMin: 0, keepMin: 1, trialIntervals: 1, warmUpIntervals: 0, retryMs: 0, idleMax: 0 }
    const scorer = await createScorer({ features, window: 8, models, device: 'cpu', workers: 1, workersMax: 3, workerRule, clock: systemClock, limits: { rowsMax, framesMax: 4 }, chunkSlots: 16 })
    scorers.push(scorer)
    const counts = new Set<number>()
    const half = parts.length >> 1
    const scoresOf = async (which: Scorer, from: number, to: number): Promise<number[][]> => {
      const scores: number[][] = []
      for (let at = from; at < to; at += 4) {
        scores.push(...(await scoreParts(which, parts.slice(at, Math.min(to, at + 4)))).scores)
        counts.add(which.metrics().workers)
        if (which === scorer) await systemClock.sleep(20)
      }
      return scores
    }
    assert.deepEqual(await scoresOf(scorer, 0, half), await scoresOf(inline, 0, half))
    await Promise.all([switchModels(scorer, next, 5), switchModels(inline, next, 5)])
    assert.equal(scorer.inForce.release, 5)
    assert.deepEqual(await scoresOf(scorer, half, parts.length), await scoresOf(inline, half, parts.length))
    assert.ok(counts.has(2), `workers: ${[...counts].join(', ')}`)
    assert.deepEqual(contents(scorer, 0, entities), contents(inline, 0, entities))
  })

  test('lose, double and delay no frame: those that come while they are opened are scored by the ones before', async () => {
    const scorer = await open([{ model: row, role: 'champion' }], 2)
    const events = makeSchedule(77, { events: 20, entities, features: F, firstSlot: 0 })
    const [before] = [(await scoreParts(scorer, [events])).scores]
    let replaced = false
    const replacing = switchModels(scorer, [{ model: otherRow, role: 'champion' }]).then(() => (replaced = true))
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

  test('that scored before come back without being opened again, and only as the files that they were', async () => {
    const { before, after } = partsOf(91)
    const scorer = await open([use(gru, 1, 'champion'), use(row)], 2)
    const fresh = await open([use(row, 3, 'champion'), use(gru, 3)], 0)
    await scoreParts(scorer, before)
    await scoreParts(fresh, before)
    // Linux tells the threads of a process.
    const threads = (): number => readdirSync('/proc/self/task').length
    const first = threads()
    await switchModels(scorer, [use(otherRow, 2, 'champion')])
    assert.equal(threads(), first + 2, 'the old workers rest')
    // in other roles and another order, by another epoch: they are warmed from the ring
    await switchModels(scorer, [use(row, 3, 'champion'), use(gru, 3)])
    assert.equal(threads(), first + 2, 'and score again')
    fresh.memory.ensureSlots(entities)
    for (let slot = 0; slot < entities; slot++) fresh.memory.markHidden(slot)
    assert.deepEqual((await scoreParts(scorer, after)).scores, (await scoreParts(fresh, after)).scores)
    assert.deepEqual(contents(scorer, 0, entities), contents(fresh, 0, entities))
    for (const [index, model] of [otherRow, gru, otherRow, wideGru, otherGru, row].entries()) await switchModels(scorer, [use(model, 4 + index, 'champion')])
    await settled(() => threads() === first + 2, 'one set of workers rests, however many releases there were')
    const altered = store.add('altered-later', rowModel(8))
    await switchModels(scorer, [use(altered, 20, 'champion')])
    await switchModels(scorer, [use(row, 21, 'champion')])
    appendFileSync(altered.file, 'x')
    await assert.rejects(switchModels(scorer, [use(altered, 22, 'champion')]), { code: 'MODEL_INVALID', message: /sha256/ })
    assert.deepEqual((await scoreParts(scorer, after.slice(0, 1))).failed, [[]])
  })

  test('do not when one of them cannot: an altered file, a missing feature, a window longer than the ring', async () => {
    for (const workers of [0, 2]) {
      const scorer = await open([{ model: row, role: 'champion' }, { model: gru, role: 'shadow' }], workers)
      const altered = store.add(`altered-${workers}`, rowModel(5))
      appendFileSync(altered.file, 'x')
      await assert.rejects(switchModels(scorer, [use(otherRow), use(altered)]), { code: 'MODEL_INVALID', message: /sha256/ })
      const other = { ...row, manifest: { ...row.manifest, features: ['f0', 'f1', 'f2', 'f3', 'g'] } }
      await assert.rejects(switchModels(scorer, [use(other)]), { code: 'MODEL_INVALID', message: /does not have: g/ })
      const long = { ...window, manifest: { ...window.manifest, window: 40 } }
      await assert.rejects(switchModels(scorer, [use(row), use(long)]), { code: 'MODEL_INVALID', message: /window of 40 rows/ })
      assert.deepEqual(scorer.models.map((model) => model.reference), ['row@1', 'gru@1'])
      const { failed } = await scoreParts(scorer, [makeSchedule(5, { events: 20, entities, features: F, firstSlot: 0 })])
      assert.deepEqual(failed, [[]])
    }
  })

  test('that are open are let go of, and those of a scorer that is closed meanwhile', async () => {
    const scorer = await open([{ model: row, role: 'champion' }], 2)
    const abandoned = await scorer.openModels([use(otherRow, 1, 'champion')], 1)
    abandoned.abandon()
    assert.deepEqual(scorer.models.map((model) => model.reference), ['row@1'])
    const replacing = switchModels(scorer, [{ model: otherRow, role: 'champion' }])
    const rejected = assert.rejects(replacing, /closed/)
    await scorer.close()
    await rejected
  })
})
