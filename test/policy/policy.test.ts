import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Decision } from '../../src/codec/outcome-columns.js'
import { decide, decideByRule, policySchema } from '../../src/policy/policy.js'

const { approve, review, decline } = Decision

describe('policy', () => {
  it('a threshold belongs to the upper class', () => {
    const policy = policySchema.parse({ decline: 0.9, review: 0.5 })
    assert.equal(decide(0, policy), approve)
    assert.equal(decide(0.4999999, policy), approve)
    assert.equal(decide(0.5, policy), review)
    assert.equal(decide(0.8999999, policy), review)
    assert.equal(decide(0.9, policy), decline)
    assert.equal(decide(1, policy), decline)
  })

  it('without a word about it a missing score means review, and no field is passed on', () => {
    const policy = policySchema.parse({ decline: 0.9, review: 0.5 })
    assert.equal(policy.fallback, 'review')
    assert.deepEqual(policy.attributes, [])
  })

  it('a rule may decline, review or both; what it does not name is approved', () => {
    assert.deepEqual([99, 100, 1000].map((value) => decideByRule(value, { reviewFrom: 100, declineFrom: 1000 })), [approve, review, decline])
    assert.deepEqual([0, 1000].map((value) => decideByRule(value, { declineFrom: 1000 })), [approve, decline])
    assert.deepEqual([0, 100].map((value) => decideByRule(value, { reviewFrom: 100 })), [approve, review])
    assert.equal(decideByRule(1e9, {}), approve)
  })

  it('refuses thresholds that contradict each other or lie outside of 0 to 1', () => {
    assert.equal(policySchema.safeParse({ decline: 0.5, review: 0.5 }).success, true)
    assert.equal(policySchema.safeParse({ decline: 0.4, review: 0.5 }).success, false)
    assert.equal(policySchema.safeParse({ decline: 1.1, review: 0.5 }).success, false)
    assert.equal(policySchema.safeParse({ decline: 0.9, review: -0.1 }).success, false)
    assert.equal(policySchema.safeParse({ decline: 0.9, review: 0.5, fallback: { model: 'no-version' } }).success, false)
    assert.equal(policySchema.safeParse({ decline: 0.9, review: 0.5, declin: 1 }).success, false)
  })
})
