import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { logOdds } from '../../src/inference/explainer.js'
import { modelDigest } from '../../src/inference/manifest.js'
import { ModelStore } from '../../src/inference/model-store.js'
import type { StageModels } from '../../src/registry/release.js'
import { loadTopology, type Topology } from '../../src/topology/load-topology.js'
import { TopologyTestDriver, type TestOutput, type TestRecord } from '../../src/topology/test-driver.js'
import { rowModel, gruStep, TestStore } from '../inference/test-models.js'
import { card, cardRecord, dayMs, hourMs, minuteMs, randomCards, smallTopology, startMs } from './card-events.js'

interface Explained {
  event_id: string
  score: number
  decision: string
  model: string
  reasons: string[]
  explanation: { reference_score: number; rest: number; reasons: { name: string; contribution: number; text: string; event_time: string | null }[] } | null
}

const valueOf = ({ value }: TestOutput): Explained => value as Explained

describe('reasons of alerts', () => {
  const cardFraud = loadTopology('card-fraud')
  const store = new TestStore()
  before(() => {
    store.add('gru', gruStep(4))
    store.add('row', rowModel())
    store.add('trapped', gruStep(1, true))
  })
  after(() => store.remove())

  /** A calm month of each of three cards, then payments of a hundred times the usual amount, some of them late or out of order. */
  const records: TestRecord[] = Array.from({ length: 60 }, (_, i) => ['anna', 'bert', 'carl'].map((name, c) => cardRecord(card(3 * i + c, name, startMs + i * 12 * hourMs + c, { amount_minor: 2_000 + i })))).flat()
  for (let i = 0; i < 40; i++) {
    const back = [0, 0, 5 * minuteMs, 3 * hourMs][i % 4]!
    records.push(cardRecord(card(1000 + i, ['anna', 'bert'][i % 2]!, startMs + 30 * dayMs + i * 10 * minuteMs - back, { amount_minor: i % 5 === 0 ? 3_000 : 250_000 })))
  }

  const bytesOf = (outputs: readonly TestOutput[]): Map<string, string> =>
    // all but the lineage's sequence, which names the batch
    new Map(outputs.map((output) => [valueOf(output).event_id, JSON.stringify({ ...valueOf(output), lineage: null })]))

  async function run(topology: Topology, options: { models?: string; batch?: number; workers?: number; restartAt?: number } = {}): Promise<{ scored: TestOutput[]; alerts: TestOutput[] }> {
    const { batch = 50, restartAt = 0, ...rest } = options
    let driver = await TopologyTestDriver.open({ topology, startMs, ...rest })
    const all: { scored: TestOutput[]; alerts: TestOutput[] } = { scored: [], alerts: [] }
    for (const part of restartAt > 0 ? [records.slice(0, restartAt), records.slice(restartAt)] : [records]) {
      const { scored, alerts } = await driver.pipe(part, batch)
      all.scored.push(...scored)
      all.alerts.push(...alerts)
      const next = part === records || part.length === records.length - restartAt ? null : await driver.restart()
      await driver.close()
      if (next) driver = next
    }
    return all
  }

  it('stand in each alert and its scored event, and in no other: what raised the score, with texts, adding up to it', async () => {
    const { scored, alerts } = await run(cardFraud)
    assert.ok(alerts.length > 10)
    const byId = new Map(scored.map((output) => [valueOf(output).event_id, valueOf(output)]))
    for (const output of scored) assert.equal(valueOf(output).explanation === null, valueOf(output).decision === 'APPROVE')
    for (const output of alerts) {
      const { event_id, explanation, score, model } = valueOf(output)
      assert.equal(model, 'card-gru@1')
      assert.deepEqual(explanation, byId.get(event_id)!.explanation)
      const { reasons, rest, reference_score } = explanation!
      assert.ok(reasons.length > 0 && reasons.length <= 3)
      assert.ok(reasons.every(({ contribution }, i) => contribution > 0 && (i === 0 || contribution <= reasons[i - 1]!.contribution)))
      const told = reasons.reduce((sum, { contribution }) => sum + contribution, rest)
      assert.ok(Math.abs(told - (logOdds(Math.fround(score)) - logOdds(Math.fround(reference_score)))) < 1e-9)
      assert.ok(reference_score < 0.04, 'an ordinary payment is no alert')
    }
    const texts = alerts.flatMap((output) => valueOf(output).explanation!.reasons.map(({ text }) => text))
    assert.ok(texts.some((text) => text === 'amount 2500.00'), texts.slice(0, 9).join('; '))
    assert.ok(texts.every((text) => !/[{}]|NaN|undefined/.test(text)))
  })

  it('are the same bytes whatever the borders of batches, the number of workers, and a restart in between', async () => {
    const whole = bytesOf((await run(cardFraud)).alerts)
    for (const other of [{ batch: 1 }, { batch: 7, workers: 1 }, { batch: 33, workers: 3 }, { batch: 9, restartAt: 197 }]) {
      assert.deepEqual(bytesOf((await run(cardFraud, other)).alerts), whole, JSON.stringify(other))
    }
  })

  it('leave scores, decisions and state as they are without reasons; none are computed when none are asked for', async () => {
    const silent: Topology = { ...cardFraud, stage: { ...cardFraud.stage, policy: { ...cardFraud.stage.policy, reasons: 0 } } }
    const drivers = [await TopologyTestDriver.open({ topology: cardFraud, startMs }), await TopologyTestDriver.open({ topology: silent, startMs })]
    const [told, untold] = [await drivers[0]!.pipe(records, 20), await drivers[1]!.pipe(records, 20)]
    assert.deepEqual(drivers[0]!.stateDigests(), drivers[1]!.stateDigests())
    assert.equal(drivers[1]!.stage.scorer.metrics().explained.rows, 0)
    assert.ok(drivers[0]!.stage.scorer.metrics().explained.events >= told.alerts.length)
    assert.deepEqual(told.scored.map((output) => ({ ...valueOf(output), explanation: null })), untold.scored.map(valueOf).map((value) => ({ ...value })))
    for (const driver of drivers) await driver.close()
  })

  it('keep explainedEventsMax: alerts of a batch behind it say that they have none', async () => {
    const topology = smallTopology({ champion: 'row@1', limits: 'explainedEventsMax: 2, batchRecordsMax: 64' })
    for (const workers of [0, 2]) {
      const driver = await TopologyTestDriver.open({ topology, models: store.root, startMs, workers })
      const { alerts } = await driver.pipe(randomCards(3, 64, { amountMax: 5 }), 64)
      await driver.close()
      assert.ok(alerts.length > 3)
      alerts.map(valueOf).forEach(({ explanation, reasons }, index) => {
        assert.equal(explanation !== null, index < 2)
        assert.equal(reasons.includes('no reasons were computed'), index >= 2)
      })
    }
  })

  it('have defaults: a manifest without reasons names the features and the past events', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology(), models: store.root, startMs })
    const { alerts } = await driver.pipe(randomCards(4, 200, { amountMax: 500 }), 64)
    await driver.close()
    const reasons = alerts.flatMap((output) => valueOf(output).explanation!.reasons)
    assert.ok(reasons.some(({ name, text }) => /^f[0-4]$/.test(name) && new RegExp(`^${name} -?\\d`).test(text)))
    assert.ok(reasons.some(({ name, text, event_time }) => name === 'past-event' && /^the event \d+ (s|min|h|days) before$/.test(text) && event_time !== null))
  })

  it('are those of the model that decided: of the challenger for its share, to the bit what it gives as champion', async () => {
    const cards = randomCards(4, 300, { amountMax: 500, customers: 20 })
    const released = { topology: 'small', stage: 'customer', revision: 1, actor: 'a', reason: 'r', time: 0 }
    const version = (model: string): { model: string; sha256: string } => ({ model, sha256: modelDigest(new ModelStore(store.root).find(model).manifest) })
    const canary = { ...released, models: [{ role: 'champion' as const, ...version('gru@1'), share: 0.5, epoch: 1 }, { role: 'challenger' as const, ...version('row@1'), share: 0.5, epoch: 2 }] }
    const run = async (options: { released?: StageModels; champion?: string; workers?: number; batch?: number }): Promise<Map<string, Explained>> => {
      const { champion = 'gru@1', batch = 64, ...rest } = options
      const driver = await TopologyTestDriver.open({ topology: smallTopology({ champion }), models: store.root, startMs, ...rest })
      const { alerts } = await driver.pipe(cards, batch)
      await driver.close()
      return new Map(alerts.map(valueOf).map((alert) => [alert.event_id, alert]))
    }
    const alone = { 'gru@1': await run({}), 'row@1': await run({ champion: 'row@1' }) }
    const [inline, threads] = [await run({ released: canary }), await run({ released: canary, workers: 3, batch: 17 })]
    const deciders = new Map<string, number>()
    for (const [id, { model, explanation }] of inline) {
      deciders.set(model, (deciders.get(model) ?? 0) + 1)
      assert.ok(explanation, `${id} by ${model}`)
      assert.deepEqual(explanation, alone[model as keyof typeof alone].get(id)!.explanation)
      assert.deepEqual(threads.get(id)!.explanation, explanation)
    }
    assert.ok([...deciders.values()].every((count) => count > 5) && deciders.size === 2, JSON.stringify([...deciders]))
  })

  it('are none where the fall-back decides: it stands in for a model without a score', async () => {
    const driver = await TopologyTestDriver.open({ topology: smallTopology({ champion: 'trapped@1', fallback: '{ model: row@1 }' }), models: store.root, startMs })
    const { alerts } = await driver.pipe(Array.from({ length: 6 }, (_, i) => cardRecord(card(i, 'a', startMs + i, { amount_minor: 100_000 }))), 3)
    await driver.close()
    for (const output of alerts) {
      assert.equal(valueOf(output).explanation, null)
      assert.match(valueOf(output).reasons.join(), /fall-back/)
    }
  })
})
