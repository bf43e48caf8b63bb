import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RestartPolicy } from '../../src/inference/restart-policy.js'

const limits = { workerRestartsPerMinuteMax: 3, modelRetryAfterMs: 10_000 }
const failure = { model: 1, kind: 'timed-out', message: 'slow' } as const

test('a model is set aside after its third restart in a minute, and comes back after the named time', () => {
  const policy = new RestartPolicy(limits, 2)
  for (const atMs of [0, 50_000, 61_000]) assert.equal(policy.record(atMs, failure), true)
  assert.equal(policy.setAside(61_000).size, 0, 'the first is older than a minute')
  policy.record(70_000, failure)
  assert.equal(policy.setAside(79_999).get(1)?.kind, 'set-aside')
  assert.equal(policy.setAside(80_000).size, 0)
})

test('workers that end again and again without a model to blame are given up', () => {
  const policy = new RestartPolicy(limits, 2)
  assert.deepEqual([0, 1, 2].map((atMs) => policy.record(atMs, null)), [true, true, false])
})
