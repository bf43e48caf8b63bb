import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock as clock } from '../../src/base/clock.js'
import { createLogger } from '../../src/base/logger.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import { KafkaAdmin } from '../../src/consumer/admin.js'
import type { GroupConsumer } from '../../src/consumer/group-consumer.js'
import { orphanWatchLimits } from '../../src/consumer/orphan-watch.js'
import { RdkafkaGroupConsumer } from '../../src/consumer/rdkafka-group-consumer.js'
import { startTestStack, type TestStack } from './test-stack.js'

const topic = 'input'
const partitions = 6
const all = [0, 1, 2, 3, 4, 5]
/** Looks that find it, the rebalances after them, and a busy machine. */
const mendedMsMax = 45_000

interface Member {
  /** In ascending order. */
  owned(): number[]
  assignments: number
  stop(): Promise<void>
}

describe('a partition that its owner gave up just before it died', () => {
  let stack: TestStack
  let admin: KafkaAdmin
  const log: string[] = []

  before(async () => {
    stack = await startTestStack({ registry: false })
    admin = new KafkaAdmin({ brokers: stack.brokers, clock })
    await admin.start()
    await admin.ensureTopics([{ topic, partitions }], { create: true })
  })
  after(async () => {
    await admin.close()
    await stack.stop()
  })

  async function join(groupId: string, groupInstanceId: string, onRevoked: () => Promise<void> = () => Promise.resolve()): Promise<Member> {
    let going = true
    const consumer: GroupConsumer = new RdkafkaGroupConsumer({
      brokers: stack.brokers,
      groupId,
      groupInstanceId,
      topics: [topic],
      group: { partitions, members: () => admin.groupMembers(groupId, topic) },
      clock,
      logger: createLogger((line) => log.push(`${groupInstanceId} ${line}`), { nowMs: () => clock.nowMs() }),
      // Shorter than a session: its successor must come in time.
      limits: { stopMsMax: 500 },
      handlers: {
        onAssigned: (given) => {
          member.assignments++
          return consumer.resume(given)
        },
        onRevoked,
        onLost: () => Promise.resolve(),
        onFatal: (error) => log.push(`${groupInstanceId} ${error.message}`),
      },
    })
    const polling = async (): Promise<void> => {
      while (going) await consumer.poll(new RecordColumns(10), { recordsMax: 10, delayMsMax: 50 })
    }
    const member: Member = {
      owned: () => consumer.assignment().map(({ partition }) => partition).sort((a, b) => a - b),
      assignments: 0,
      stop: async () => {
        going = false
        await polled
        await consumer.stop()
      },
    }
    await consumer.start()
    const polled = polling()
    return member
  }

  async function until(what: string, done: () => boolean): Promise<void> {
    const endMs = clock.monotonicMs() + mendedMsMax
    while (!done()) {
      assert.ok(clock.monotonicMs() < endMs, `${what}\n${log.join('')}`)
      await clock.sleep(20)
    }
  }

  it('finds an owner, though the successor comes back in a settled group', async (t) => {
    let revoking = false
    const never = (): Promise<void> => {
      revoking = true
      return new Promise(() => undefined)
    }
    const first = await join('torn', 'a', never)
    await until('all are owned', () => first.owned().length === partitions)
    const other = await join('torn', 'b')
    await until('the first is to give some up', () => revoking)
    await first.stop()
    const startedMs = clock.monotonicMs()
    const successor = await join('torn', 'a')
    await until('what was left to the first comes back', () => successor.owned().length > 0)
    assert.deepEqual(other.owned(), [], 'and what it gave up lies idle: without that this test shows nothing')
    await until('every partition has an owner', () => successor.owned().length + other.owned().length === partitions)
    assert.deepEqual([...successor.owned(), ...other.owned()].sort((a, b) => a - b), all)
    t.diagnostic(`idle for ${Math.round(clock.monotonicMs() - startedMs)} ms`)
    assert.match(log.join(''), /^b .*partitions that no member owns/m)
    assert.doesNotMatch(log.join(''), /^a .*partitions that no member owns/m, 'the one that lost least joined anew')
    await successor.stop()
    await other.stop()
  })

  it('is the only reason to join anew', async () => {
    log.length = 0
    const one = await join('whole', 'c')
    const two = await join('whole', 'd')
    await until('both own half', () => one.owned().length === 3 && two.owned().length === 3)
    const before = [one.assignments, two.assignments]
    await clock.sleep(orphanWatchLimits.lookMs * (orphanWatchLimits.looksMin + 1))
    assert.deepEqual([one.assignments, two.assignments], before)
    assert.equal(log.join(''), '')
    await one.stop()
    await two.stop()
  })
})
