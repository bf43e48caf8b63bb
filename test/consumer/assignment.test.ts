import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Assignment } from '../../src/consumer/assignment.js'

const at = (partition: number, topic = 'in') => ({ topic, partition })

describe('assignment', () => {
  it('owns a partition since the epoch of its assignment and not before', () => {
    const assignment = new Assignment(['in'])
    const before = assignment.epoch
    assignment.add([at(0)])
    assert.equal(assignment.isOwnedSince(at(0), before), false)
    assert.equal(assignment.isOwnedSince(at(0), assignment.epoch), true)
    assert.equal(assignment.isOwnedSince(at(1), assignment.epoch), false)
  })

  it('does not take a partition that left and came back for one that stayed', () => {
    const assignment = new Assignment(['in'])
    assignment.add([at(0), at(1)])
    const polled = assignment.epoch
    assignment.remove([at(0)])
    assignment.add([at(0)])
    assert.equal(assignment.isOwnedSince(at(0), polled), false)
    assert.equal(assignment.isOwnedSince(at(1), polled), true)
  })

  it('still owns a partition whose revocation has begun, and hands on no record of it', () => {
    const assignment = new Assignment(['in'])
    assignment.add([at(0)])
    const state = assignment.get('in', 0)!
    state.open = true
    assignment.close([at(0)])
    assert.equal(state.open, false)
    assert.equal(assignment.isOwnedSince(at(0), assignment.epoch), true)
    assignment.remove([at(0)])
    assert.equal(assignment.isOwnedSince(at(0), assignment.epoch), false)
    assert.deepEqual(assignment.owned(), [])
  })

  it('gives topics the index of their order', () => {
    const assignment = new Assignment(['a', 'b'])
    assignment.add([at(3, 'b'), at(0, 'a')])
    assert.deepEqual(assignment.owned().map(({ topic, partition, topicIndex }) => [topic, partition, topicIndex]), [['a', 0, 0], ['b', 3, 1]])
    assert.equal(assignment.get('c', 0), undefined)
    assert.throws(() => assignment.add([at(0, 'c')]), /subscribed/)
  })

  it('starts partitions closed, and passes over what is not owned', () => {
    const assignment = new Assignment(['in'])
    assignment.add([at(0)])
    assert.equal(assignment.get('in', 0)!.open, false)
    assert.equal(assignment.get('in', 0)!.position, -1)
    assignment.remove([at(7)])
    assignment.close([at(7)])
    assert.equal(assignment.owned().length, 1)
  })
})
