import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Prng } from '../../../src/base/prng.js'
import { OutputVerifier } from '../../../src/cli/view/output-verifier.js'

describe('the verifier of outputs', () => {
  it('finds nothing missing while partitions are at different places', () => {
    const verifier = new OutputVerifier(100, 2)
    for (let id = 0; id < 50; id += 2) verifier.addScored(0, id)
    assert.equal(verifier.missing(), 0)
    verifier.addScored(1, 1)
    assert.equal(verifier.missing(), 0)
  })

  it('finds a gap as soon as every partition has gone past it', () => {
    const verifier = new OutputVerifier(100, 2)
    for (const id of [0, 2, 6, 8]) verifier.addScored(0, id)
    for (const id of [1, 3, 5]) verifier.addScored(1, id)
    assert.equal(verifier.missing(), 1)
    verifier.addScored(1, 7)
    verifier.addScored(1, 9)
    assert.equal(verifier.missing(), 1)
  })

  it('takes back what was missing when it comes after all', () => {
    const verifier = new OutputVerifier(100, 1)
    verifier.addScored(0, 1)
    assert.equal(verifier.missing(), 1)
    verifier.addDeadLetter(0, 0)
    assert.equal(verifier.missing(), 0)
    assert.deepEqual([verifier.scored, verifier.deadLetters, verifier.seen], [1, 1, 2])
  })

  it('counts duplicates over scored events and dead letters together, and of alerts', () => {
    const verifier = new OutputVerifier(100, 1)
    assert.equal(verifier.addScored(0, 5), true)
    assert.equal(verifier.addScored(0, 5), false)
    assert.equal(verifier.addDeadLetter(0, 5), false)
    assert.equal(verifier.addAlert(5), true)
    assert.equal(verifier.addAlert(5), false)
    assert.deepEqual([verifier.scored, verifier.deadLetters, verifier.alerts, verifier.duplicates], [1, 0, 1, 3])
  })

  it('counts outputs of transactions that nobody produced', () => {
    const verifier = new OutputVerifier(10, 1)
    for (const id of [-1, 10, NaN]) verifier.addScored(0, id)
    assert.deepEqual([verifier.unexpected, verifier.seen], [3, 0])
  })

  it('agrees with a count by sets on any seeded mixture of losses and duplicates', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const prng = new Prng(seed)
      const partitions = 1 + prng.below(4)
      const produced = 50 + prng.below(500)
      const verifier = new OutputVerifier(produced, partitions)
      const seen = new Set<number>()
      let duplicates = 0
      for (let id = 0; id < produced; id++) {
        if (prng.below(20) === 0) continue
        for (let times = prng.below(15) === 0 ? 2 : 1; times > 0; times--) {
          if (seen.has(id)) duplicates++
          seen.add(id)
          verifier.addScored(id % partitions, id)
        }
        if (prng.below(10) === 0) verifier.missing()
      }
      assert.deepEqual([verifier.missingAtEnd(produced), verifier.duplicates], [produced - seen.size, duplicates], `seed ${seed}`)
    }
  })
})
