import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { readGolden, testGolden } from '../../src/inference/golden.js'
import { ModelStore } from '../../src/inference/model-store.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { TopologyTestDriver } from '../../src/topology/test-driver.js'
import { repositoryRoot } from './repository-root.js'

// The models of docs/models.md: made by Keras, PyTorch and XGBoost with the scripts in docs/examples/models, kept as files, so
// that neither Python nor those frameworks are needed here.

const examples = join(repositoryRoot(), 'docs', 'examples', 'models')
const folder = join(examples, 'models')
const models = new ModelStore(folder)
const topology = loadTopology(join(examples, 'authorisations.yaml'))
const start = Date.UTC(2024, 4, 2, 9)

interface Authorisation {
  readonly id: string
  readonly time: number
  readonly card: string
  readonly amount_cents: number
  readonly channel: string | null
  readonly merchant_code: number
}

/** 400 authorisations of 7 cards, some out of order, some of a channel or a merchant that no model knows. */
const events = Array.from({ length: 400 }, (_, i): Authorisation => {
  const channels = ['CHIP', 'CONTACTLESS', 'ECOM', 'ATM', 'PHONE', null]
  const merchants = [5411, 5812, 5541, 6011, 5732, 7995, 4242]
  const time = start + i * 200_000 - (i % 11 === 0 ? 500_000 : 0)
  return { id: `e${i}`, time, card: `c${(i * i) % 7}`, amount_cents: 100 + ((i * 7919) % 9000), channel: channels[(i * 5) % 6]!, merchant_code: merchants[(i * 3) % 7]! }
})

for (const reference of models.list()) {
  test(`${reference} gives its framework's scores for its golden rows`, async () => {
    const report = await testGolden(models.load(reference).folder, { device: 'cpu', clock: systemClock })
    assert.equal(report.compared, 96)
    assert.deepEqual(report.misses, [])
    assert.equal(report.dependent, 0)
    assert.ok(report.passed)
  })
}

test('every example folder has a model, and every model golden rows with frauds and ordinary payments', () => {
  assert.deepEqual(readdirSync(folder).sort(), ['auth-attention', 'auth-cnn', 'auth-gru', 'auth-trees'])
  for (const reference of models.list()) {
    const scores = readGolden(models.load(reference)).sequences.flatMap((sequence) => sequence.scores)
    assert.ok(Math.max(...scores.map(Number)) > 0.8 && Math.min(...scores.map(Number)) < 0.01, reference)
  }
})

async function scoresOf(parts: readonly (readonly Authorisation[])[], workers: number): Promise<Map<string, Record<string, number>>> {
  const driver = await TopologyTestDriver.open({ topology, models: folder, workers })
  try {
    const found = new Map<string, Record<string, number>>()
    for (const part of parts) {
      const { scored, deadLetters } = await driver.pipe(part.map((value) => ({ key: value.card, value })))
      assert.deepEqual(deadLetters, [])
      for (const { value } of scored) {
        const event = value as { event_id: string; scores: { model: string; score: number }[] }
        found.set(event.event_id, Object.fromEntries(event.scores.map(({ model, score }) => [model, score])))
      }
    }
    return found
  } finally {
    await driver.close()
  }
}

test('in a topology all four score every event, the same bits for any batches and any number of workers', async () => {
  const whole = await scoresOf([events], 0)
  assert.equal(whole.size, events.length)
  for (const [id, scores] of whole) {
    assert.deepEqual(Object.keys(scores).sort(), ['auth-attention@1', 'auth-cnn@1', 'auth-gru@1', 'auth-trees@1'], id)
    for (const [model, score] of Object.entries(scores)) assert.ok(score >= 0 && score <= 1, `${model} gives ${id} ${score}`)
  }
  const pieces = [events.slice(0, 1), events.slice(1, 3), events.slice(3, 140), events.slice(140, 141), events.slice(141)]
  assert.deepEqual(await scoresOf(pieces, 0), whole)
  assert.deepEqual(await scoresOf(pieces, 3), whole)
})

test('a channel that is not in the vocabulary scores as one that is not there, and otherwise than one that is', async () => {
  const one = await scoresOf([[{ ...events[0]!, channel: 'PHONE' }]], 0)
  const none = await scoresOf([[{ ...events[0]!, channel: null }]], 0)
  const known = await scoresOf([[{ ...events[0]!, channel: 'ATM' }]], 0)
  assert.deepEqual(one, none)
  assert.notDeepEqual(one, known)
})
