import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { demoEpochMs, heldOutDay, planDemo } from '../../../src/cli/view/demo-plan.js'
import { generatePublished } from '../../../src/simulator/published-transactions.js'

const dayMs = 86_400_000

describe('what the demo plays', () => {
  const table = generatePublished({ customers: 200, terminals: 400 })
  const heldOutRow = table.firstRowOfDay(heldOutDay)

  it('is 30 days of history, then all held-out days', () => {
    const { fromDay, ...plan } = planDemo(table, { events: undefined, historyDays: 30 })
    assert.equal(Math.floor(fromDay), 99)
    assert.deepEqual(plan, { pacedDay: heldOutDay, firstRow: table.firstRowOfDay(99), pacedRow: heldOutRow, endRow: table.rows })
  })

  it('has exactly the events that are wanted, at most half of them and at most 30 days as history', () => {
    for (const events of [1, 2, 3, 100, 5_000, 20_000, 30_000, 40_000, table.rows - 1, table.rows]) {
      const { fromDay, pacedDay, firstRow, pacedRow, endRow } = planDemo(table, { events, historyDays: 30 })
      // A plan begins with a second, so it may take one or two more rows of that second into history.
      assert.equal(endRow - firstRow, events)
      assert.ok(pacedRow - firstRow <= events / 2 + 2, `${events}: ${pacedRow - firstRow}`)
      assert.ok(pacedDay - fromDay <= 30.001, `${events}: ${pacedDay - fromDay} days`)
      assert.equal(table.firstRowOfDay(fromDay), firstRow)
      assert.equal(table.firstRowOfDay(pacedDay), pacedRow)
    }
  })

  it('is new to the models from the fast-forward on', () => {
    assert.equal(planDemo(table, { events: 5_000, historyDays: 30 }).pacedRow, heldOutRow)
    for (const model of readdirSync('models')) {
      const manifest = parse(readFileSync(join('models', model, '1', 'model.yaml'), 'utf8')) as { training: { split: { test: string } }; metrics: { heldOut: { stream?: unknown } } }
      // Those of days score no payment.
      if (!manifest.metrics.heldOut.stream) continue
      const firstTestDay = Date.parse(manifest.training.split.test.split('..')[0]!)
      assert.equal((firstTestDay - demoEpochMs) / dayMs, heldOutDay, model)
    }
  })

  it('asks for no more than there is', () => {
    const { firstRow, endRow } = planDemo(table, { events: 1e9, historyDays: 30 })
    assert.deepEqual([firstRow, endRow], [0, table.rows])
  })
})
