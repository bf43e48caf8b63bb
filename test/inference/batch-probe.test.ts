import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Prng } from '../../src/base/prng.js'
import { systemClock } from '../../src/base/clock.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import { Frame } from '../../src/inference/frame.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import { ModelStore } from '../../src/inference/model-store.js'
import type { Scorer } from '../../src/inference/scorer.js'
import { F, gruOperator, gruStep, poisonable, rowModel, TestStore, windowDense, windowGru } from './test-models.js'

const rows = 520

/** Scores the same rows, each of its own entity, in frames of `size`; entity after entity four events. */
async function scoresAt(scorer: Scorer, features: number, size: number, firstSlot: number): Promise<Int32Array[]> {
  const prng = new Prng(77)
  const all = Float32Array.from({ length: 4 * rows * features }, () => 1.5 * prng.normal())
  const bits = scorer.models.map(() => new Int32Array(4 * rows))
  for (let from = 0; from < 4 * rows; from += size) {
    const frame = scorer.acquireFrame()!
    frame.count = Math.min(size, 4 * rows - from)
    for (let row = 0; row < frame.count; row++) {
      const at = from + row
      frame.slot[row] = firstSlot + (at % rows)
      frame.eventTime[row] = at
      frame.flags[row] = at < rows ? 1 : 0
    }
    frame.rows.set(all.subarray(from * features, (from + frame.count) * features))
    await scorer.score(frame)
    frame.scores.forEach((scores, model) => bits[model]!.set(new Int32Array(scores.buffer, scores.byteOffset, frame.count), from))
    scorer.releaseFrame(frame)
  }
  return bits
}

describe('a score has the same bits at every batch size', () => {
  const store = new TestStore()
  after(() => store.remove())

  async function check(models: readonly LoadedModel[], features: readonly string[], window: number): Promise<void> {
    const uses = models.map((model) => ({ model, role: 'shadow' as const }))
    const limits = { rowsMax: 4 * rows }
    const scorer = await createScorer({ features, window, models: uses, device: 'cpu', workers: 0, clock: systemClock, limits })
    const expected = await scoresAt(scorer, features.length, 4 * rows, 0)
    // sizes around those at which kernels change their path, and chunks that wrap
    for (const [index, size] of [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 256, 511].entries()) {
      const scores = await scoresAt(scorer, features.length, size, (index + 1) * rows)
      scores.forEach((bits, model) => assert.deepEqual(bits, expected[model], `${models[model]!.reference} at batch size ${size}`))
    }
    await scorer.close()
  }

  test('of the models that come with Harrier', async () => {
    const models = new ModelStore(fileURLToPath(new URL('../../../models', import.meta.url)))
    const loaded = models.list().map((reference) => models.load(reference))
    // Those of one stage at a time: they read the same features.
    const stages = new Set(loaded.map(({ manifest }) => manifest.features.join(' ')))
    assert.ok(stages.size >= 2)
    for (const features of stages) await check(loaded.filter(({ manifest }) => manifest.features.join(' ') === features), features.split(' '), 32)
  })

  test('of Gemm and GRU models of every kind, and of one with Log in it, which is padded where its bits need it', async () => {
    const models = [gruStep(), gruOperator(), windowDense(), windowGru(), rowModel(), rowModel(7, true), poisonable()]
    await check(models.map((model, index) => store.add(`m${index}`, model)), Array.from({ length: F }, (_, index) => `f${index}`), 8)
  })
})

test('a frame refuses more rows than its limit', () => {
  assert.throws(() => new Frame({ rowsMax: 20_000, features: 1, models: 0, hiddenFloats: [] }), /1 to 16384 rows/)
  const frame = new Frame({ rowsMax: 2, features: 1, models: 0, hiddenFloats: [] })
  assert.throws(() => (frame.count = 3), /at most 2 rows/)
})
