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
      assert.equal((log.match(/transaction aborted; its batches are processed again/g) ?? []).length, 5, log)
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
