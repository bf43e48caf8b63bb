import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Prng } from '../../src/base/prng.js'
import { controlHeader, forgetControl } from '../../src/topology/control-record.js'
import { TopologyTestDriver, type TestOutputs, type TestRecord } from '../../src/topology/test-driver.js'
import { gruStep, TestStore } from '../inference/test-models.js'
import { cardRecord, card, dayMs, randomCards, smallTopology, startMs } from './card-events.js'

const schedules = 20

function forget(customer: string): TestRecord {
  return { key: customer, value: null, headers: { [controlHeader]: forgetControl } }
}

/** What a reader of the outputs sees of an event, whatever batch it came in. */
function scoresOf({ scored, deadLetters }: TestOutputs): unknown[] {
  return [...scored.map(({ value, key }) => ({ ...(value as object), lineage: null, key })), ...deadLetters.map(({ bytes }) => bytes)]
}

describe('checkpoint and restore', () => {
  const store = new TestStore()
  const topology = smallTopology({ ttl: '20d', limits: 'checkpointIntervalMs: 500ms' })
  before(() => store.add('gru', gruStep()))
  after(() => store.remove())
  const open = (): Promise<TopologyTestDriver> => TopologyTestDriver.open({ topology, models: store.root, partitions: 2 })

  it('after any schedule of crashes, aborts, expiry and erasure every score equals that of an uninterrupted run', async () => {
    let restarts = 0
    let deletions = 0
    let nulls = 0
    for (let seed = 1; seed <= schedules; seed++) {
      const prng = new Prng(seed)
      const records = randomCards(seed, 160, { broken: true, customers: 3 + prng.below(20) })
      for (let i = prng.below(6); i > 0; i--) records.splice(prng.below(records.length), 0, forget(`c${prng.below(8)}`))
      const whole = await open()
      let driver = await open()
      const expected: unknown[] = []
      const actual: unknown[] = []
      for (let at = 0; at < records.length; ) {
        const part = records.slice(at, at + 1 + prng.below(15))
        driver.clock.advance(prng.below(400))
        const batch = await driver.fold(part)
        const fate = prng.below(10)
        if (fate === 0) {
          driver.rollback(batch)
          continue
        }
        const outputs = await driver.commit(batch)
        actual.push(...scoresOf(outputs))
        deletions += outputs.state.filter(({ bytes }) => bytes !== null && (bytes[1]! & 1) === 1).length
        nulls += outputs.state.filter(({ bytes }) => bytes === null).length
        expected.push(...scoresOf(await whole.pipe(part)))
        at += part.length
        if (fate !== 1) continue
        restarts++
        const next = await driver.restart()
        next.clock.advance(driver.clock.nowMs())
        await driver.close()
        driver = next
      }
      assert.deepEqual(actual, expected, `seed ${seed}`)
      await Promise.all([whole.close(), driver.close()])
    }
    assert.ok(restarts > schedules && deletions > 10 && nulls > 2, `${restarts} restarts, ${deletions} deletions, ${nulls} nulls`)
  })

  it('entities of a task that has gone are no business of its successor: their slots are used again, their expiry writes no deletion', async () => {
    const driver = await open()
    const { stage } = driver
    const events = (id: number, customer: string, timeMs: number): TestRecord => ({ ...cardRecord(card(id, customer, timeMs)), partition: 0 })
    await driver.pipe(Array.from({ length: 20 }, (_, i) => events(i, `gone${i}`, startMs)))
    driver.clock.advance(10_000)
    const { state } = await driver.pipe([events(20, 'gone0', startMs)])
    assert.equal(state.length, 20)
    const { nextSequence, position } = stage.tasks[0]!
    const { made } = stage.store.slots
    stage.dropTask(0)
    Object.assign(stage.addTask(0), { nextSequence, position, isReady: true })
    const later: TestOutputs[] = []
    for (let i = 0; i < 10; i++) {
      later.push(await driver.pipe([events(30 + i, `new${i}`, startMs + 30 * dayMs)]))
      driver.clock.advance(10_000)
    }
    assert.equal(stage.store.slots.made, made)
    const keys = later.flatMap((outputs) => outputs.state.map(({ key }) => key!.toString()))
    assert.ok(keys.length > 5 && keys.every((key) => key.startsWith('new')), keys.join(' '))
    await driver.close()
  })

  it('a partition that falls silent leaves nothing dirty: a restart folds none of its records again', async () => {
    const driver = await open()
    const event = (id: number, partition: number): TestRecord => ({ ...cardRecord(card(id, `c${partition}`, startMs + id)), partition })
    await driver.pipe(Array.from({ length: 40 }, (_, i) => event(i, 0)), 10)
    const lineageOf = async (partition: number): Promise<{ sequence: number; oldest_dirty: number; records: number }[]> => {
      driver.clock.advance(600)
      const { lineage } = await driver.pipe([event(100 + driver.clock.nowMs(), 1)])
      return lineage.filter((output) => output.partition === partition).map(({ value }) => ({ sequence: value.sequence, oldest_dirty: value.oldest_dirty, records: value.counts.records }))
    }
    const told = [...(await lineageOf(0)), ...(await lineageOf(0)), ...(await lineageOf(0))]
    assert.ok(told.length > 0 && told.every(({ records }) => records === 0), 'it takes part without records')
    const last = told.at(-1)!
    assert.equal(last.oldest_dirty, last.sequence + 1, 'its last lineage record says that nothing is dirty')
    assert.equal((await lineageOf(0)).length, 0, 'then it is left alone')
    const restored = await driver.restart()
    assert.equal(restored.stage.tasks[0]!.tail.from, undefined, 'no batch of it was folded again')
    assert.equal(restored.stateDigests().get('0/c0'), driver.stateDigests().get('0/c0'))
    await Promise.all([driver.close(), restored.close()])
  })

  it('a forgotten entity starts anew, also after a restart, and its changelog record loses its state', async () => {
    const driver = await open()
    const events = (from: number): TestRecord[] => Array.from({ length: 5 }, (_, i) => cardRecord(card(from + i, 'c1', startMs + (from + i) * 60_000)))
    const fresh = await driver.pipe(events(0))
    driver.clock.advance(10_000)
    const elsewhere = (id: number): TestRecord[] => [0, 1].map((partition) => ({ ...cardRecord(card(id + partition, `p${partition}`, startMs + dayMs)), partition }))
    const { state } = await driver.pipe(elsewhere(100))
    assert.ok(state.some(({ key, bytes }) => key?.toString() === 'c1' && bytes!.length > 100))
    await driver.pipe([forget('c1')])
    driver.clock.advance(10_000)
    const erased = await driver.pipe(elsewhere(102))
    const last = erased.state.filter(({ key }) => key?.toString() === 'c1').at(-1)
    assert.ok(last && (last.bytes === null || last.bytes.length < 40), 'the deletion holds no state')
    const restarted = await driver.restart()
    const day = (7 * dayMs) / 60_000
    const again = await restarted.pipe(events(day))
    const scores = (outputs: TestOutputs): unknown[] => outputs.scored.map(({ value }) => (value as { score: number }).score)
    assert.deepEqual(scores(again), scores(fresh))
    await Promise.all([driver.close(), restarted.close()])
  })

  it('a changelog record that was damaged stops the restore with its place', async () => {
    const driver = await open()
    await driver.pipe([cardRecord(card(1, 'c1', startMs))])
    driver.clock.advance(10_000)
    const { state } = await driver.pipe([cardRecord(card(2, 'c1', startMs + 1))])
    assert.equal(state.length, 1)
    state[0]!.bytes![40]! ^= 1
    await assert.rejects(driver.restart(), { code: 'RESTORE_IMPOSSIBLE', message: /small\.customer\.state\/\d offset 0 is corrupt/ })
    await driver.close()
  })
})
