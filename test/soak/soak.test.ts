import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/base/clock.js'
import { RegistryClient } from '../../src/codec/registry-client.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import type { Step, StepKind } from '../../src/soak/schedule.js'
import { soak, type SoakGroupResult } from '../../src/soak/soak.js'
import { startTestStack, type TestStack } from '../broker/test-stack.js'

const program = fileURLToPath(new URL('../../../bin/harrier.js', import.meta.url))

function harrier(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { maxBuffer: 16 << 20 }, (error, stdout, stderr) => resolve({ code: error ? Number(error.code) : 0, stdout, stderr }))
  })
}

describe('harrier soak', () => {
  let stack: TestStack
  before(async () => void (stack = await startTestStack()))
  after(() => stack.stop())

  it('loses, doubles and changes nothing over six kills', { timeout: 300_000 }, async () => {
    const { code, stdout, stderr } = await harrier('soak', '--kills', '6', '--seed', '5', '--events', '3000', '--instances', '2', '--json', '--brokers', stack.brokers, '--registry', stack.registryUrl)
    assert.equal(code, 0, stderr)
    const { kills, events, lost, doubled, changed, unproved, disorder, deaths, restores, seed } = JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, number>
    assert.deepEqual({ kills, events, lost, doubled, changed, unproved, disorder, deaths, seed }, { kills: 6, events: 3000, lost: 0, doubled: 0, changed: 0, unproved: 0, disorder: 0, deaths: 0, seed: 5 })
    assert.ok(restores! > 6, `${restores} tasks restored`)
    assert.match(stderr, /broker restarts are left out/)
  })

  it('one process uninterrupted, one that is restarted, and three between which partitions move score the same events, bit for bit', { timeout: 400_000 }, async (t) => {
    const step = (kind: StepKind, index: number): Step => ({ kind, target: 0.4, moment: 0.3, after: 0.1 + index * 0.1, pauseMs: 700 })
    const { groups } = await soak({
      connections: { brokers: stack.brokers, registryUrl: stack.registryUrl, source: 'local' },
      ...{ kills: 4, seed: 17, events: 4000, groups: 2, instances: 3, partitions: 6, workers: 1, keep: false, restartBroker: undefined },
      plans: [
        { instances: 1, kills: 2, steps: (['working', 'leaving', 'working', 'leaving'] as const).map(step) },
        { instances: 3, kills: 2, steps: (['joining', 'leaving', 'takeover', 'leaving'] as const).map(step) },
      ],
      signal: new AbortController().signal,
      onProgress: () => undefined,
    })
    const [uninterrupted, restarted, three] = groups as [SoakGroupResult, SoakGroupResult, SoakGroupResult]
    for (const { name, outcome, examples, lost, doubled, changed, unproved, disorder } of groups) {
      assert.equal(outcome.stalled, undefined, name)
      const told = [...examples, ...outcome.deaths.map(({ instanceId, how, lastLines }) => [`${instanceId}: ${how}`, ...lastLines].join('\n'))].join('\n')
      assert.deepEqual({ lost, doubled, changed, unproved, disorder, deaths: outcome.deaths.length }, { lost: 0, doubled: 0, changed: 0, unproved: 0, disorder: 0, deaths: 0 }, `${name}: ${told}`)
    }
    assert.equal(uninterrupted.outcome.restores, 6, 'each of the six partitions was taken once')
    assert.deepEqual(restarted.outcome.steps, { working: 2, leaving: 2 })
    // It may be ended again before it has taken all.
    assert.ok(restarted.outcome.restores > 6, `${restarted.outcome.restores} restores`)
    assert.deepEqual(three.outcome.steps, { joining: 1, leaving: 2, takeover: 1 })
    assert.ok(three.outcome.added >= 1 && three.outcome.restores > 6, `${three.outcome.added} added, ${three.outcome.restores} restores`)
    t.diagnostic(groups.map(({ name, outcome }) => `${name}: ${outcome.restores} restores, ${outcome.restoredRecords} records folded again`).join('; '))
  })

  // Found by a soak.
  it('processes that start at once on a new topic register its schema, though the registry tells the slower ones of a conflict', async () => {
    for (let round = 0; round < 10; round++) {
      const clients = Array.from({ length: 4 }, () => new RegistryClient(stack.registryUrl, { clock: systemClock }))
      const ids = await Promise.all(clients.map((client) => client.register(`at-once-${round}-value`, loadOwnSchema('alert'))))
      assert.equal(new Set(ids).size, 1)
    }
  })
})

describe('harrier soak refuses', () => {
  for (const [what, args, message] of [
    ['no kills', ['--kills', '0'], /at least 1/],
    ['more groups than kills', ['--kills', '2', '--groups', '3'], /more than --kills/],
    ['a stack of its own and a configured one', ['--own-stack', '--brokers', 'localhost:1'], /exclude each other/],
  ] as const) {
    it(what, async () => {
      const { code, stderr } = await harrier('soak', ...args)
      assert.notEqual(code, 0)
      assert.match(stderr, message)
    })
  }
})
