import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { runBacktest, type BacktestResult } from '../../src/backtest/backtest.js'
import type { BacktestOptions } from '../../src/backtest/backtest-options.js'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { changeTopology, modelSettings } from '../../src/topology/change-topology.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { TopologyTestDriver } from '../../src/topology/test-driver.js'
import { delayMs, epochMs, paymentRecords, payments, paymentsCsv } from '../topology/labelled-payments.js'

interface StreamedEvent {
  readonly event_id: string
  readonly decision: string
  readonly scores: readonly { readonly model: string; readonly score: number }[]
}

const rows = payments(1500)
const folder = mkdtempSync(join(tmpdir(), 'harrier-backtest-'))
const csv = join(folder, 'payments.csv')
writeFileSync(csv, paymentsCsv(rows))
after(() => rmSync(folder, { recursive: true, force: true }))

function optionsFor(out: string, more: Partial<BacktestOptions> = {}): BacktestOptions {
  return {
    topology: loadTopology('card-terminal'), whatIf: undefined, from: csv, sinceMs: undefined, untilMs: undefined, warmUpMs: undefined, offsets: [], labelsFrom: undefined, labelDelayMs: delayMs,
    columns: {}, epochMs, models: undefined, device: undefined, workers: 1, out: join(folder, out), reviewCost: 5, loss: { field: 'amount', factor: 0.01 }, alertsADay: 5, cardsADay: 10, compareWith: undefined,
    connections: undefined, clock: systemClock, logger: silentLogger, signal: new AbortController().signal, onProgress: () => undefined, ...more,
  }
}

async function parquet(out: string, sql = 'SELECT *'): Promise<Record<string, unknown>[]> {
  const duck = await DuckDBInstance.create(':memory:')
  const connection = await duck.connect()
  try {
    return (await connection.runAndReadAll(`${sql} FROM '${join(folder, out, 'scores.parquet')}'`)).getRowObjectsJS()
  } finally {
    connection.closeSync()
    duck.closeSync()
  }
}

/** What the stream gives for the same payments and labels. */
async function streamed(): Promise<Map<string, StreamedEvent>> {
  const driver = await TopologyTestDriver.open({ topology: loadTopology('card-terminal'), partitions: 1, startMs: epochMs })
  const { events, labels } = paymentRecords(rows)
  await driver.label(labels)
  const { scored } = await driver.pipe(events, 131)
  await driver.close()
  return new Map(scored.map(({ value }) => [(value as StreamedEvent).event_id, value as StreamedEvent]))
}

describe('a backtest over a table', () => {
  let stream: Map<string, StreamedEvent>
  let result: BacktestResult
  before(async () => {
    stream = await streamed()
    result = await runBacktest(optionsFor('whole'))
  })

  it('gives the scores and decisions of the stream to the bit, through two stages and with labels', async () => {
    const found = await parquet('whole')
    assert.equal(found.length, rows.length)
    const models = result.models.map(({ model }) => model)
    assert.ok(models.length >= 5)
    for (const row of found) {
      const live = stream.get(String(row.event_id))!
      assert.equal(row.decision, live.decision)
      for (const { model, score } of live.scores) assert.equal(row[model], Math.fround(score), `${String(row.event_id)} ${model}`)
    }
    assert.deepEqual(found.map((row) => row.is_fraud), rows.map((row) => row.is_fraud === 1))
  })

  it('leaves warm-up out of the figures and out of nothing else', async () => {
    const sinceMs = epochMs + rows[900]!.seconds * 1000
    const untilMs = epochMs + rows[1400]!.seconds * 1000
    const measured = await runBacktest(optionsFor('measured', { sinceMs, untilMs }))
    assert.deepEqual([measured.warmUp, measured.figures.events], [900, 500])
    const whole = new Map((await parquet('whole')).map((row) => [row.event_id, row]))
    for (const row of await parquet('measured')) assert.deepEqual(row, whole.get(row.event_id))
    const short = await runBacktest(optionsFor('short', { sinceMs, untilMs, warmUpMs: 3_600_000 * 24 }))
    assert.ok(short.warmUp < 900 && short.warmUp > 0)
    assert.ok(short.notes.some((note) => note.includes('warm-up is shorter')))
  })

  it('runs other models in one pass, the first of them deciding', async () => {
    const topology = changeTopology('card-terminal', [...modelSettings('card-terminal', ['terminal-row@1', 'card-terminal@1']), 'source.fields.customer.personal=true'])
    const other = await runBacktest(optionsFor('models', { topology }))
    // Whose field the schema or the topology marks is named in no report.
    assert.ok(other.figures.disagreements[0]!.top.length > 0 && other.figures.disagreements[0]!.top.every(({ card }) => card.startsWith('•••')))
    assert.deepEqual(other.models.map(({ model }) => model), ['terminal-row@1', 'card-terminal@1'])
    const whole = new Map((await parquet('whole')).map((row) => [row.event_id, row]))
    for (const row of await parquet('models')) {
      assert.equal(row['terminal-row@1'], whole.get(row.event_id)!['terminal-row@1'])
      assert.equal(row['card-terminal@1'], whole.get(row.event_id)!['card-terminal@1'])
      assert.equal(row.decided_by, 'terminal-row@1')
    }
  })

  it('decides a second time under another threshold, without scoring again', async () => {
    const topology = changeTopology('card-terminal', ['stages.terminal.policy.review=0.3'])
    const changed = await runBacktest(optionsFor('threshold', { whatIf: { topology, text: 'review=0.3' } }))
    const found = await parquet('threshold')
    const champion = changed.models[0]!.model
    for (const row of found) assert.equal(row.what_if_decision, (row[champion] as number) >= 0.57 ? 'DECLINE' : (row[champion] as number) >= 0.3 ? 'REVIEW' : 'APPROVE')
    assert.ok(changed.changes.some(({ from, to }) => from === 'REVIEW' && to === 'APPROVE'))
    assert.equal(changed.changes.reduce((sum, { events }) => sum + events, 0), rows.length)
    assert.ok(!Object.keys(found[0]!).some((name) => name.includes('what if')), 'one run of the models')
  })

  it('scores a what-if whose features differ in a run of its own, beside the first', async () => {
    const topology = changeTopology('card-terminal', ['stages.terminal.ring=31', 'stages.terminal.models.champion=terminal-row@1', 'stages.terminal.models.shadows=[]', 'stages.terminal.policy.fallback=review'])
    const changed = await runBacktest(optionsFor('rings', { whatIf: { topology, text: 'ring=31' } }))
    assert.deepEqual(changed.figures.models.at(-1)!.name, 'terminal-row@1 (what if)')
    for (const row of await parquet('rings')) assert.equal(row['terminal-row@1 (what if)'], row['terminal-row@1'], 'a model of one row does not look at the ring')
  })

  it('writes one page that needs nothing else, with every plot', () => {
    const html = readFileSync(join(folder, 'whole', 'report.html'), 'utf8')
    for (const wanted of ['ROC', 'Precision and recall', 'Calibration', 'Cost', 'Scores', 'Alerts and caught frauds by day', 'Where they disagree most']) assert.ok(html.includes(wanted), wanted)
    assert.ok(!/<script|<link|src=|https?:\/\//.test(html), 'no script and no request')
    assert.ok((html.match(/<svg /g) ?? []).length >= 4 + 2 * result.figures.models.length)
    assert.equal((html.match(/NaN/g) ?? []).length, 0)
    assert.deepEqual(readdirSync(join(folder, 'whole')).sort(), ['report.html', 'scores.parquet', 'summary.json'])
    assert.deepEqual(JSON.parse(readFileSync(join(folder, 'whole', 'summary.json'), 'utf8')), JSON.parse(JSON.stringify(result)))
  })

  it('measures an amount of loss, and says what alerts at the cheapest threshold cost', () => {
    for (const { ranking } of result.figures.models) {
      assert.ok(ranking!.cheapest!.costADay <= ranking!.cost[0]!.costADay)
      const lost = rows.filter(({ is_fraud }) => is_fraud === 1).reduce((sum, { amount_cents }) => sum + amount_cents * 0.01, 0)
      assert.ok(Math.abs(ranking!.cost[0]!.costADay * result.figures.days - lost) < 1e-6)
    }
  })

  it('says what is wrong before it reads anything', async () => {
    await assert.rejects(runBacktest(optionsFor('wrong', { from: join(folder, 'absent.csv') })), /there is no file/)
    await assert.rejects(runBacktest(optionsFor('wrong', { loss: { field: 'terminal', factor: 1 } })), /"terminal" is not a number field/)
    await assert.rejects(runBacktest(optionsFor('wrong', { sinceMs: 5, untilMs: 5 })), /--until is not after --since/)
    assert.ok(!existsSync(join(folder, 'wrong')))
    await assert.rejects(runBacktest(optionsFor('empty', { sinceMs: epochMs * 2 })), /none of the 1,500 records gave an event of the measured range/)
    assert.ok(!existsSync(join(folder, 'empty', 'backtest.gathering')))
    assert.throws(() => changeTopology('card-terminal', ['name.review=1']), /has no place for it/)
    assert.throws(() => changeTopology('card-terminal', ['stages.terminal.policy.review=0.9']), /review must not be above decline/)
  })
})
