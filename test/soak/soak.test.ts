import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/base/clock.js'
import { RegistryClient } from '../../src/codec/registry-client.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
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
