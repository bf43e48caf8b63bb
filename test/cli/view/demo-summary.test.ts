import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isClean, resultAsJson, summaryLines } from '../../../src/cli/view/demo-summary.js'
import type { DemoResult } from '../../../src/cli/view/demo.js'
import type { DemoState } from '../../../src/cli/view/demo-state.js'
import { plainLines } from '../../../src/cli/view/plain-lines.js'
import type { Connections } from '../../../src/stack/connections.js'
import { matchesGolden } from '../golden.js'
import { fixedState } from './fixed-state.js'

function result(changes: Partial<DemoState> = {}): DemoResult {
  return { state: fixedState({ phase: 'ended', ...changes }), complete: false, seconds: 42.5, eventsPerSecond: 12_345, delayMs: { p50: 7.938, p99: 31.2 }, death: undefined }
}

const local: Connections = { brokers: '127.0.0.1:19092', registryUrl: 'http://127.0.0.1:19081', source: 'local' }

const form = { columns: 80, harrier: 'npx harrier' }

describe('the end of the demo', () => {
  it('is told as the golden text, in lines that fit', () => {
    const lines = summaryLines(result(), local, form)
    for (const line of lines) assert.ok(line.length <= 80, line)
    matchesGolden('demo-summary', `${lines.join('\n')}\n`)
  })

  it('names the stack that goes on only where it is ours', () => {
    assert.ok(summaryLines(result(), local, form).join('\n').includes('harrier stack down'))
    const own = summaryLines(result(), { ...local, source: 'configured' }, form).join('\n')
    assert.ok(!own.includes('stack down'))
    assert.ok(own.includes('stay on 127.0.0.1:19092'))
  })

  it('names commands with the connection of the run, so that they find a secured cluster', () => {
    const file = "/etc/harrier/bank's file.yaml"
    const secured = summaryLines(result(), { ...local, source: 'configured', file }, form).filter((line) => line.includes('npx harrier'))
    const there = `--connection '/etc/harrier/bank'\\''s file.yaml'`
    for (const command of ['run', 'tail alerts', 'tail lineage', 'doctor']) {
      assert.ok(secured.some((line) => line.includes(`npx harrier ${command}`) && line.includes(there)), command)
    }
    const open = summaryLines(result(), { ...local, source: 'configured' }, form).join('\n')
    assert.match(open, /tail alerts --namespace \S+ --brokers 127\.0\.0\.1:19092 --registry http/)
    assert.ok(!summaryLines(result(), local, form).join('\n').includes('19092 --registry'))
  })

  it('has every figure as a number in JSON, and null for a delay that was never measured', () => {
    const json = resultAsJson({ ...result(), delayMs: { p50: NaN, p99: NaN } })
    assert.deepEqual(
      ['produced', 'scored', 'alerts', 'deadLetters', 'missing', 'duplicates', 'eventsPerSecond', 'delayMsP50', 'delayMsP99', 'frauds', 'fraudsCaught', 'falseAlerts', 'kills'].map((name) => json[name]),
      [301_918, 301_901, 681, 2, 0, 0, 12_345, null, null, 1_857, 657, 24, 1],
    )
  })

  it('is clean only with nothing missing, doubled or from nowhere', () => {
    assert.equal(isClean(result()), true)
    for (const field of ['missing', 'duplicates', 'unexpected']) assert.equal(isClean(result({ [field]: 1 })), false, field)
  })
})

describe('plain lines', () => {
  it('are as the golden text, the newest alerts before the figures', () => {
    matchesGolden('demo-plain', `${plainLines(fixedState(), 600).join('\n')}\n`)
    assert.equal(plainLines(fixedState(), 681).length, 1)
  })
})
