import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { renderDemo } from '../../../src/cli/view/demo-screen.js'
import { matchesGolden } from '../golden.js'
import { fixedState } from './fixed-state.js'

const text = (lines: readonly string[]): string => `${lines.join('\n')}\n`
const starting = fixedState({
  phase: 'catching-up',
  scored: 0,
  deadLetters: 0,
  waiting: 288_061,
  produced: 288_061,
  perSecond: [],
  delayMs: { p50: NaN, p99: NaN },
  engine: { state: 'starting', upMs: 1_234 },
  models: [],
  tasks: [],
  frauds: [0, 0, 0],
  fraudsCaught: [0, 0, 0],
  alerts: 0,
  falseAlerts: 0,
  alertRows: [],
})

describe('the live view', () => {
  it('looks as the golden text at 80 by 24', () => {
    matchesGolden('demo-80x24', text(renderDemo(fixedState(), { columns: 80, rows: 24 }, false)))
  })

  it('looks as the golden text at 120 by 40', () => {
    matchesGolden('demo-120x40', text(renderDemo(fixedState(), { columns: 120, rows: 40 }, false)))
  })

  it('looks as the golden text while the engine starts', () => {
    matchesGolden('demo-starting-80x24', text(renderDemo(starting, { columns: 80, rows: 24 }, false)))
  })

  it('fills every screen exactly and is never wider than it', () => {
    const states = [fixedState(), starting, fixedState({ missing: 123_456_789, duplicates: 1e9, kills: 1e6, engine: { state: 'restoring', upMs: 1e8 } })]
    for (const state of states) {
      for (let columns = 1; columns <= 240; columns += 7) {
        for (let rows = 1; rows <= 70; rows += 3) {
          const lines = renderDemo(state, { columns, rows }, false)
          assert.equal(lines.length, rows, `${columns}x${rows}`)
          for (const line of lines) assert.ok(line.length <= columns, `${columns}x${rows}: ${line}`)
        }
      }
    }
  })

  it('says the same in colours, and no line lets a colour run on', () => {
    const size = { columns: 80, rows: 24 }
    const plain = renderDemo(fixedState(), size, false)
    const coloured = renderDemo(fixedState(), size, true)
    // eslint-disable-next-line no-control-regex
    assert.deepEqual(coloured.map((line) => line.replace(/\x1b\[[0-9;]*m/g, '').trimEnd()), plain)
    // eslint-disable-next-line no-control-regex
    for (const line of coloured) assert.equal((line.match(/\x1b\[[1-9][0-9;]*m/g) ?? []).length, (line.match(/\x1b\[0m/g) ?? []).length)
  })

  it('shows a loss in the colour of trouble', () => {
    const lines = renderDemo(fixedState({ missing: 3 }), { columns: 80, rows: 24 }, true)
    assert.ok(lines.some((line) => line.includes('missing') && line.includes('\x1b[1;31m') && / 3\b/.test(line)))
  })
})
