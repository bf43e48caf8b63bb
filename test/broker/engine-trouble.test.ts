import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Kafka, logLevel, type Admin } from 'kafkajs'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { RangeReader } from '../../src/consumer/range-reader.js'
import { TwoBrokers } from './engine-cluster.js'
import { CardFeeder, driveToEnd, EngineProcess, smallBatchTopology } from './engine-fixture.js'
import { verifyEngineRun } from './engine-verify.js'

/** `transaction.timeout.ms` is 10 s; the broker looks each second. */
const standStillMs = 12_500
const openTriesMax = 200
/** Longer than the controller takes to notice that a broker is gone. */
const leaderlessMs = 5000
/** From the stop of a coordinator to the next score: the broker's session, a call that is given up, a new producer, a restore. */
const goesOnMsMax = 60_000
/** Stops of a coordinator; more by hand. */
const moves = Number(process.env.MOVES ?? 3)
/** ConfigResourceTypes.TOPIC of kafkajs. */
const topicResource = 2

describe('the engine on a cluster that is in trouble', () => {
  const cluster = new TwoBrokers()
  const kafka = (): Kafka => new Kafka({ clientId: 'trouble', brokers: cluster.brokers.split(','), logLevel: logLevel.NOTHING })
  let admin: Admin
  before(async () => {
    await cluster.start()
    admin = kafka().admin()
    await admin.connect()
  })
  after(async () => {
    await admin.disconnect()
    await cluster.stop()
  })

  const direct = (): { brokers: string; registryUrl: string } => ({ brokers: cluster.brokers, registryUrl: cluster.registryUrl })
  const starter = (namespace: string, topology = smallBatchTopology(), brokers = cluster.brokers) => (): EngineProcess =>
    new EngineProcess({ stack: { ...direct(), brokers }, namespace, instanceId: 'a', topology })
  const fed = async (namespace: string, seed: number, records: number): Promise<CardFeeder> => {
    const feeder = new CardFeeder(direct(), [namespace], seed)
    await feeder.start()
    await feeder.send(records)
    return feeder
  }
  const inFullRun = (engine: EngineProcess): Promise<void> => engine.until('in full run', () => (engine.stats?.counters.scored ?? 0) > 0)

  describe('that is up', { concurrency: true }, () => {
    it('ends loudly when the broker refuses its records again and again, and loses nothing by it', async (t) => {
      const feeder = await fed('refused', 31, 200)
      const start = starter('refused', smallBatchTopology((text) => text.replace('batchRecordsMax: 40', 'batchRecordsMax: 40, abortsInARowMax: 4')))
      const first = start()
      await first.until('all committed', () => first.position === feeder.total)
      await setTopic('refused.card-fraud.scored', 'max.message.bytes', '100')
      await feeder.send(300)
      assert.equal(await first.exited, 1)
      const log = first.log.join('\n')
      // A transaction that carried no scored event may have come through between the first refusal and these.
      const inARow = [...log.matchAll(/transaction aborted; its batches are processed again.*"inARow":(\d+)/g)].map((match) => Number(match[1]))
      assert.deepEqual(inARow.slice(-5), [1, 2, 3, 4, 5], log)
      assert.match(log, /5 transactions in a row were aborted/)
      assert.match(log, /TRANSACTION_ABORTED/)
      await setTopic('refused.card-fraud.scored', 'max.message.bytes', String(8 << 20))
      await driveToEnd(start(), feeder, start)
      await verifyEngineRun(cluster.brokers, 'refused', feeder.sent)
      t.diagnostic(log.split('\n').at(-1)!.slice(0, 200))
    })

    it('stands still for longer than its transaction may last, and nothing of it is lost or doubled', async (t) => {
      const feeder = await fed('frozen', 32, 400)
      feeder.feed(200)
      const start = starter('frozen')
      const engine = start()
      await inFullRun(engine)
      await stopInTransaction(engine, 'frozen.card-fraud.lineage')
      await systemClock.sleep(standStillMs)
      engine.signal('SIGCONT')
      await systemClock.sleep(500)
      await feeder.close()
      const { restarts, aborts } = await driveToEnd(engine, feeder, start)
      await verifyEngineRun(cluster.brokers, 'frozen', feeder.sent)
      t.diagnostic(`${feeder.total} events, restarts ${restarts}, aborts ${aborts}`)
    })

    it('is fenced by a twin under the same id: the older ends and says so, the younger goes on', async (t) => {
      const feeder = await fed('twin', 33, 400)
      feeder.feed(200)
      const start = starter('twin')
      const older = start()
      await inFullRun(older)
      const younger = start()
      assert.equal(await older.exited, 1)
      assert.match(older.log.join('\n'), /FENCED/)
      await inFullRun(younger)
      await feeder.close()
      const { restarts } = await driveToEnd(younger, feeder, start)
      await verifyEngineRun(cluster.brokers, 'twin', feeder.sent)
      t.diagnostic(`${feeder.total} events, restarts of the younger ${restarts}`)
    })

    it('goes on over a network that is slow and now and then stands still', async (t) => {
      const feeder = await fed('slow', 34, 300)
      feeder.feed(100)
      const start = starter('slow', smallBatchTopology(), cluster.slowBrokers)
      for (const proxy of cluster.proxies) proxy.delayMs = 15
      const engine = start()
      await inFullRun(engine)
      // Less than a session, one broker alone, and more than a session.
      await Promise.all(cluster.proxies.map((proxy) => proxy.stall(3000)))
      await systemClock.sleep(1000)
      await cluster.proxies[1]!.stall(3000)
      await systemClock.sleep(1000)
      await Promise.all(cluster.proxies.map((proxy) => proxy.stall(8000)))
      await feeder.close()
      const { restarts, aborts } = await driveToEnd(engine, feeder, start)
      await verifyEngineRun(cluster.brokers, 'slow', feeder.sent)
      t.diagnostic(`${feeder.total} events, restarts ${restarts}, aborts ${aborts}`)
    })
  })

  describe('whose coordinators stop', () => {
    // The first node is the controller and stays. Each role of the other by itself, and both.
    for (const [index, roles] of [['group'], ['transactions'], ['group', 'transactions']].entries()) {
      it(`scores on when the broker stops that coordinates its ${roles.join(' and ')}, and loses and doubles nothing`, async (t) => {
        const namespace = await namespaceWith(`moves${index}`, roles)
        // The input is led by the node that stays: it is the engine that is on trial here, not the feeder.
        await admin.createTopics({ topics: [{ topic: `${namespace}.transactions`, replicaAssignment: [0, 1, 2].map((partition) => ({ partition, replicas: [1, 2] })) }] })
        const feeder = await fed(namespace, 35 + index, 300)
        feeder.feed(100)
        const start = starter(namespace)
        let engine = start()
        let restarts = 0
        await inFullRun(engine)
        const took: number[] = []
        for (let move = index; move < moves; move += 3) {
          await settled()
          const diedMs = systemClock.monotonicMs()
          await cluster.stopNode(2, move % 2 === 0 ? 'killed' : 'in order')
          // What was under way when it died may still come through, and statistics come once a second.
          await systemClock.sleep(2000)
          for (let before = engine.position; engine.position <= before;) {
            await engine.until('scores again', () => engine.position > before || engine.ended, goesOnMsMax)
            if (!engine.ended) break
            assert.ok(engine.log.join().includes('FENCED'), engine.log.slice(-8).join('\n'))
            restarts++
            engine = start()
            before = 0
          }
          took.push(systemClock.monotonicMs() - diedMs)
          t.diagnostic(`move ${move}: ${Math.round(took.at(-1)!)} ms; ${engine.stats?.counters.aborts} aborts`)
          if (process.env.MOVES) console.log(`${roles.join('+')} move ${move}: ${Math.round(took.at(-1)!)} ms, aborts ${engine.stats?.counters.aborts}, restarts ${restarts}`)
          await cluster.startNode(2)
        }
        assert.ok(Math.max(...took) <= goesOnMsMax, `scored on after ${took.map(Math.round).join(', ')} ms`)
        await feeder.close()
        const ended = await driveToEnd(engine, feeder, start)
        await verifyEngineRun(cluster.brokers, namespace, feeder.sent)
        t.diagnostic(`${feeder.total} events, restarts ${restarts + ended.restarts}, aborts ${ended.aborts}`)
      })
    }
  })

  it('waits for the leader of a partition that it has just met, and takes it for a missing one only when it is', async () => {
    const kept = ['fresh', 'fresher'] as const
    await settled()
    const reader = new RangeReader({ brokers: cluster.brokers, clock: systemClock, logger: silentLogger })
    await reader.start()
    await admin.createTopics({ topics: [{ topic: kept[0], replicaAssignment: [{ partition: 0, replicas: [2] }] }, { topic: kept[1], replicaAssignment: [{ partition: 0, replicas: [2, 1] }] }] })
    await settled()
    await cluster.stopNode(2, 'killed')
    let answered = false
    const asked = reader.watermarks(kept[0], 0).finally(() => (answered = true))
    // Its second copy is on the node that lives.
    assert.deepEqual(await reader.watermarks(kept[1], 0), { low: 0, stableEnd: 0 })
    await systemClock.sleep(leaderlessMs)
    assert.ok(!answered, 'a partition without a leader is waited for')
    await assert.rejects(reader.watermarks(kept[1], 7), /Unknown partition/)
    await cluster.startNode(2)
    assert.deepEqual(await asked, { low: 0, stableEnd: 0 })
    await reader.close()
  })

  /** A namespace whose engine `a` has exactly these of its coordinators on the second node. */
  async function namespaceWith(prefix: string, roles: readonly string[]): Promise<string> {
    await makeInternalTopics()
    const leaders = async (topic: string): Promise<number[]> => {
      for (let tries = 0; ; tries++) {
        const found = await admin.fetchTopicMetadata({ topics: [topic] }).catch(() => undefined)
        const partitions = found?.topics[0]?.partitions.toSorted((a, b) => a.partitionId - b.partitionId) ?? []
        if (partitions.length > 0 && partitions.every(({ leader }) => leader >= 0)) return partitions.map(({ leader }) => leader)
        assert.ok(tries < openTriesMax, `${topic} has no leaders`)
        await systemClock.sleep(100)
      }
    }
    await leaders('__consumer_offsets')
    await leaders('__transaction_state')
    await settled()
    const groups = await leaders('__consumer_offsets')
    const transactions = await leaders('__transaction_state')
    for (let tries = 0; ; tries++) {
      const namespace = `${prefix}-${tries}`
      const groupAt = groups[javaHash(`${namespace}.card-fraud`) % groups.length]
      const transactionsAt = transactions[javaHash(`${namespace}.card-fraud-a-0`) % transactions.length]
      if ((groupAt === 2) === roles.includes('group') && (transactionsAt === 2) === roles.includes('transactions')) return namespace
    }
  }

  /** The brokers make them when they are first asked for. */
  async function makeInternalTopics(): Promise<void> {
    const producer = kafka().producer({ transactionalId: 'first', idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    await (await producer.transaction()).abort()
    await producer.disconnect()
    await admin.describeGroups(['first'])
  }

  /** Both nodes hold everything, and each leads what it prefers. */
  async function settled(): Promise<void> {
    for (let tries = 0; tries < openTriesMax; tries++) {
      const { topics } = await admin.fetchTopicMetadata().catch(() => ({ topics: [] }))
      const partitions = topics.flatMap((topic) => topic.partitions)
      if (partitions.length > 0 && partitions.every(({ isr, replicas, leader }) => isr.length === replicas.length && leader === replicas[0])) return
      await systemClock.sleep(200)
    }
    assert.fail('the nodes never agreed')
  }

  async function setTopic(name: string, config: string, value: string): Promise<void> {
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: topicResource, name, configEntries: [{ name: config, value }] }] })
  }

  /** SIGSTOP at a moment at which a transaction is open. */
  async function stopInTransaction(engine: EngineProcess, topic: string): Promise<void> {
    const reader = (isolation: string): RangeReader =>
      new RangeReader({ brokers: cluster.brokers, clock: systemClock, logger: silentLogger, settings: { 'isolation.level': isolation } })
    const readers = [reader('read_committed'), reader('read_uncommitted')] as const
    await Promise.all(readers.map((each) => each.start()))
    const ends = async (each: RangeReader): Promise<number> => {
      let sum = 0
      for (let partition = 0; partition < 3; partition++) sum += (await each.watermarks(topic, partition)).stableEnd
      return sum
    }
    let open = false
    for (let tries = 0; tries < openTriesMax && !open; tries++) {
      engine.signal('SIGSTOP')
      open = (await ends(readers[0])) < (await ends(readers[1]))
      if (!open) engine.signal('SIGCONT')
      if (!open) await systemClock.sleep(7)
    }
    await Promise.all(readers.map((each) => each.close()))
    assert.ok(open, 'it was stopped in a transaction')
  }
})

/** `Utils.abs(text.hashCode())` of Kafka. */
function javaHash(text: string): number {
  let hash = 0
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0
  return hash & 0x7fffffff
}
