import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeSchedule } from '../../src/soak/schedule.js'
import { soakRecords } from '../../src/soak/soak-input.js'

describe('what a soak chooses', () => {
  it('is the same for the same seed and another for another', () => {
    const options = { kills: 60, instances: 3, broker: true }
    assert.deepEqual(makeSchedule({ ...options, seed: 7 }), makeSchedule({ ...options, seed: 7 }))
    assert.notDeepEqual(makeSchedule({ ...options, seed: 7 }), makeSchedule({ ...options, seed: 8 }))
  })

  it('has every kind of step in a long schedule, and exactly the kills that were asked for', () => {
    const killsOf = { working: 1, restoring: 2, joining: 1, takeover: 1, all: 3, leaving: 0, frozen: 0, broker: 0 }
    for (let seed = 0; seed < 50; seed++) {
      const steps = makeSchedule({ kills: 500, seed, instances: 3, broker: true })
      assert.equal(steps.reduce((sum, { kind }) => sum + killsOf[kind], 0), 500)
      assert.deepEqual(new Set(steps.map(({ kind }) => kind)), new Set(Object.keys(killsOf)))
    }
  })

  it('leaves a broker alone that is not the soak\'s own', () => {
    assert.ok(makeSchedule({ kills: 500, seed: 1, instances: 3, broker: false }).every(({ kind }) => kind !== 'broker'))
  })
})

describe('the records of a soak', () => {
  const records = soakRecords({ events: 4000, partitions: 6, cards: 60, seed: 3, schemaId: 1 })

  it('are the same for the same seed', () => {
    assert.deepEqual(records, soakRecords({ events: 4000, partitions: 6, cards: 60, seed: 3, schemaId: 1 }))
  })

  it('hold malformed ones, hot cards, and events out of order', () => {
    const ids = records.flatMap(({ id }) => (id === null ? [] : [Number(id)]))
    assert.equal(records.length, 4000)
    assert.equal(new Set(ids).size, ids.length, 'each event has a name of its own')
    const malformed = records.length - ids.length
    assert.ok(malformed > 20 && malformed < 80, `${malformed} malformed`)
    const outOfOrder = ids.filter((id, index) => index > 0 && id < ids[index - 1]!).length
    assert.ok(outOfOrder > 200, `${outOfOrder} out of order`)
    const hot = records.filter(({ key }) => key !== null && Number(key.toString()) < 3).length
    assert.ok(hot > 1200, `${hot} of hot cards`)
    assert.deepEqual(new Set(records.map(({ partition }) => partition)), new Set([0, 1, 2, 3, 4, 5]))
  })
})
