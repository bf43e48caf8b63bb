import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock as clock } from '../../src/base/clock.js'
import { Condition } from '../../src/base/condition.js'
import { HarrierError } from '../../src/base/errors.js'
import { silentLogger as logger } from '../../src/base/logger.js'
import { uniqueSuffix } from '../../src/base/prng.js'
import { Arena } from '../../src/base/arena.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import { deadLetterTopicConfig, KafkaAdmin } from '../../src/consumer/admin.js'
import type { GroupConsumer, GroupConsumerOptions, TopicPartition } from '../../src/consumer/group-consumer.js'
import { RdkafkaGroupConsumer } from '../../src/consumer/rdkafka-group-consumer.js'
import { offsetsAfter } from '../../src/producer/raw-copy.js'
import { freeTransactionalId, RdkafkaTransactionalProducer } from '../../src/producer/rdkafka-transactional-producer.js'
import type { ProducerOptions, TransactionalProducer } from '../../src/producer/transactional-producer.js'
import { readCommitted } from './kafka-verifier.js'
import { startTestStack, type TestStack } from './test-stack.js'

/** A member whose handlers write down what happened. */
interface Member {
  readonly consumer: GroupConsumer
  readonly events: string[]
  readonly changed: Condition
  fatal: HarrierError | undefined
  /** Runs inside `onRevoked`. */
  whileRevoked: (partitions: readonly TopicPartition[]) => Promise<void>
}

describe('the client on a real broker keeps the contract of the Kafka seams', () => {
  let brokers = ''
  let admin: KafkaAdmin
  let stack: TestStack
  const closers: (() => Promise<void>)[] = []

  before(async () => {
    stack = await startTestStack({ registry: false })
    brokers = stack.brokers
    admin = new KafkaAdmin({ brokers, clock })
    await admin.start()
  })

  after(async () => {
    for (const close of closers.reverse()) await close()
    await admin.close()
    await stack.stop()
  })

  async function topic(partitions: number, config: Record<string, string> = {}): Promise<string> {
    const name = `t-${uniqueSuffix()}`
    await admin.ensureTopics([{ topic: name, partitions, config }], { create: true })
    return name
  }

  async function producer(transactionalId = `tx-${uniqueSuffix()}`, extra: Partial<ProducerOptions> = {}): Promise<TransactionalProducer> {
    const made = new RdkafkaTransactionalProducer({ brokers, transactionalId, clock, logger, ...extra })
    await made.init()
    closers.push(() => made.close())
    return made
  }

  async function member(topics: string[], extra: Partial<GroupConsumerOptions> & { resume?: boolean } = {}): Promise<Member> {
    const { resume = true, ...options } = extra
    const changed = new Condition()
    const note = (event: string): void => {
      made.events.push(event)
      changed.notify()
    }
    const consumer = new RdkafkaGroupConsumer({
      brokers,
      groupId: `g-${uniqueSuffix()}`,
      groupInstanceId: `i-${uniqueSuffix()}`,
      topics,
      clock,
      logger,
      handlers: {
        onAssigned: async (partitions) => {
          note(`assigned ${partitions.length}`)
          if (resume) await consumer.resume(partitions)
        },
        onRevoked: async (partitions) => {
          note(`revoked ${partitions.length}`)
          await made.whileRevoked(partitions)
        },
        onLost: (partitions) => Promise.resolve(note(`lost ${partitions.length}`)),
        onFatal: (error) => note(`fatal ${(made.fatal = error).code}`),
      },
      ...options,
    })
    const made: Member = { consumer, events: [], changed, fatal: undefined, whileRevoked: () => Promise.resolve() }
    await consumer.start()
    closers.push(() => consumer.stop())
    return made
  }

  /** Rows v0.. over the partitions in turn, in one committed transaction. */
  async function write(to: string, count: number, partitions: number, start = 0): Promise<void> {
    const columns = new RecordColumns(count)
    for (let i = start; i < start + count; i++) columns.append(0, i % partitions, 0, clock.nowMs(), Buffer.from(`k${i}`), Buffer.from(`v${i}`))
    const made = await producer()
    await made.begin().then(() => made.send(columns, [to]))
    await made.commit()
    await made.close()
  }

  async function pollUntil(from: GroupConsumer, columns: RecordColumns, done: () => boolean, limitMs = 15_000): Promise<void> {
    const endMs = clock.monotonicMs() + limitMs
    while (!done()) {
      assert.ok(clock.monotonicMs() < endMs, `the condition holds within ${limitMs} ms: ${String(done)}`)
      await from.poll(columns, { recordsMax: columns.recordsMax, delayMsMax: 50 })
    }
  }

  async function pollCount(from: GroupConsumer, count: number): Promise<RecordColumns> {
    const columns = new RecordColumns(count + 10, new Arena(1 << 20))
    await pollUntil(from, columns, () => columns.count >= count)
    assert.equal(columns.count, count)
    return columns
  }

  /** Polls in the background until the returned function is called, as an engine would. */
  function keepPolling({ consumer }: Member): () => Promise<void> {
    let going = true
    const done = (async () => {
      while (going) await consumer.poll(new RecordColumns(1000), { recordsMax: 1000, delayMsMax: 50 })
    })()
    return () => {
      going = false
      return done
    }
  }

  const values = (columns: RecordColumns): string[] => Array.from({ length: columns.count }, (_, row) => Buffer.from(columns.value(row) ?? []).toString())
  const isCode = (code: string) => (error: unknown) => error instanceof HarrierError && error.code === code

  it('carries nulls, empties, headers and 2 MB unchanged through poll, send and commit', async () => {
    const input = await topic(1, deadLetterTopicConfig)
    const output = await topic(1, deadLetterTopicConfig)
    const big = Buffer.alloc(2 << 20, 7)
    const rows = new RecordColumns(10)
    rows.append(0, 0, 0, 1000, null, null)
    rows.append(0, 0, 0, 2000, Buffer.from('key'), null)
    rows.append(0, 0, 0, 3000, null, Buffer.from('value'))
    rows.append(0, 0, 0, 4000, Buffer.alloc(0), Buffer.alloc(0))
    rows.append(0, 0, 0, 5000, Buffer.from('é'), Buffer.from([0, 255, 128]))
    rows.appendHeader('traceparent', '00-abc-def-01')
    rows.appendHeader('ce_subject', 'Zoë')
    rows.appendHeader('traceparent', 'again')
    rows.append(0, 0, 0, 6000, Buffer.from('big'), big)
    const out = await producer()
    await out.begin()
    await out.send(rows, [input])
    await out.commit()

    const { consumer } = await member([input])
    const copied = await pollCount(consumer, 6)
    await out.begin()
    await out.send(copied, [output])
    await out.sendOffsets(offsetsAfter(copied, [input]), consumer)
    await out.commit()

    for (const columns of [copied, await pollCount((await member([output])).consumer, 6)]) {
      assert.deepEqual(Array.from(columns.timestamp.subarray(0, 6)), [1000, 2000, 3000, 4000, 5000, 6000])
      assert.deepEqual([columns.key(0), columns.value(0)], [null, null])
      assert.deepEqual([Buffer.from(columns.key(1)!).toString(), columns.value(1)], ['key', null])
      assert.deepEqual([columns.key(2), Buffer.from(columns.value(2)!).toString()], [null, 'value'])
      assert.deepEqual([columns.keyBytes[3], columns.valueBytes[3]], [0, 0])
      assert.deepEqual(Buffer.from(columns.value(4)!), Buffer.from([0, 255, 128]))
      assert.deepEqual(
        columns.headers(4).map(({ name, value }) => [name, String(value)]),
        [['traceparent', '00-abc-def-01'], ['ce_subject', 'Zoë'], ['traceparent', 'again']],
      )
      assert.deepEqual(columns.headers(3), [])
      assert.ok(Buffer.from(columns.value(5)!).equals(big))
    }
    const [read] = await readCommitted(brokers, output)
    assert.equal(read!.length, 6)
    assert.ok(read![5]!.value!.equals(big))
  })

  it('gives no record of an aborted transaction, and offsets move with the commit only', async () => {
    const input = await topic(1)
    const output = await topic(1)
    await write(input, 10, 1)
    const groupId = `g-${uniqueSuffix()}`
    const { consumer } = await member([input], { groupId })
    const out = await producer()
    const first = await pollCount(consumer, 10)

    await out.begin()
    await out.send(first, [output])
    await out.sendOffsets(offsetsAfter(first, [input]), consumer)
    await out.abort()
    assert.equal((await consumer.committed([{ topic: input, partition: 0 }]))[0]!.offset, null)

    await consumer.seek({ topic: input, partition: 0 }, 0)
    const again = await pollCount(consumer, 10)
    assert.deepEqual(values(again), values(first))
    await out.begin()
    await out.send(again, [output])
    await out.sendOffsets(offsetsAfter(again, [input]), consumer)
    await out.commit()
    assert.equal((await consumer.committed([{ topic: input, partition: 0 }]))[0]!.offset, 10)
    assert.equal((await admin.committedOffsets(groupId, input)).get(0), 10)
    const [read] = await readCommitted(brokers, output)
    assert.deepEqual(read!.map(({ value }) => String(value)), values(first))
  })

  it('assigns partitions paused, and starts them at the committed offset, at the earliest, or where it was sought', async () => {
    const input = await topic(3)
    await write(input, 30, 3)
    const groupId = `g-${uniqueSuffix()}`
    const first = await member([input], { groupId, groupInstanceId: 'one', resume: false })
    const columns = new RecordColumns(100)
    await pollUntil(first.consumer, columns, () => first.events.includes('assigned 3'))
    for (let i = 0; i < 5; i++) assert.equal(await first.consumer.poll(columns, { recordsMax: 100, delayMsMax: 50 }), 0)

    const out = await producer()
    await out.begin()
    await out.sendOffsets([{ topic: input, partition: 1, offset: 7 }], first.consumer)
    await out.commit()
    await first.consumer.seek({ topic: input, partition: 2 }, 9)
    await first.consumer.resume(first.consumer.assignment())
    await pollUntil(first.consumer, columns, () => columns.count >= 14)
    assert.deepEqual([0, 1, 2].map((partition) => columns.partition.subarray(0, columns.count).filter((of) => of === partition).length), [10, 3, 1])
    assert.equal(await first.consumer.poll(columns, { recordsMax: 100, delayMsMax: 200 }), 0)
  })

  it('pauses, resumes and seeks without a gap or a double', async () => {
    const input = await topic(2)
    await write(input, 20_000, 2)
    const { consumer } = await member([input])
    const columns = new RecordColumns(20_100, new Arena(1 << 20))
    const partitions = [0, 1].map((partition) => ({ topic: input, partition }))
    for (let round = 0; columns.count < 20_000 && round < 400; round++) {
      await consumer.poll(columns, { recordsMax: 500, delayMsMax: 50 })
      if (round % 3 === 1) consumer.pause([partitions[round % 2]!])
      if (round % 3 === 2) await consumer.resume(consumer.assignment())
      if (round % 5 === 4) {
        const { position } = consumer.progress()[0] ?? { position: null }
        if (position !== null) await consumer.seek(partitions[0]!, position)
      }
    }
    for (const { partition } of partitions) {
      const offsets = Array.from({ length: columns.count }, (_, row) => row).filter((row) => columns.partition[row] === partition).map((row) => columns.offset[row]!)
      assert.deepEqual(offsets, Array.from({ length: 10_000 }, (_, offset) => offset))
    }
  })

  it('goes on behind the last record after a pause, whatever a fetch told besides', async () => {
    const input = await topic(1)
    await write(input, 5, 1)
    const { consumer } = await member([input], { settings: { 'enable.partition.eof': true } }) // told as errors are: at an offset, among records
    const columns = new RecordColumns(20)
    await pollUntil(consumer, columns, () => columns.count === 5)
    for (let polls = 0; polls < 5; polls++) assert.equal(await consumer.poll(columns, { recordsMax: 10, delayMsMax: 150 }), 0)
    consumer.pause(consumer.assignment())
    await write(input, 5, 1, 5)
    await consumer.resume(consumer.assignment())
    await pollUntil(consumer, columns, () => columns.count === 10)
    assert.deepEqual(Array.from({ length: 10 }, (_, row) => Buffer.from(columns.value(row)!).toString()), Array.from({ length: 10 }, (_, i) => `v${i}`))
  })

  it('sets a partition going again that librdkafka fetches no more', async () => {
    const input = await topic(1)
    await write(input, 5, 1)
    const { consumer } = await member([input], { limits: { positionCheckIntervalMs: 300 } })
    await pollCount(consumer, 5)
    ;(consumer.membership as { pause(flatPartitions: readonly unknown[]): void }).pause([input, 0, 0]) // behind its back
    await write(input, 5, 1, 5)
    assert.deepEqual(values(await pollCount(consumer, 5)), ['v5', 'v6', 'v7', 'v8', 'v9'])
  })

  it('fills a batch within fillMsMax and returns at once without it', async () => {
    const input = await topic(1)
    const { consumer } = await member([input])
    const columns = new RecordColumns(100)
    await write(input, 1, 1)
    await pollUntil(consumer, columns, () => columns.count === 1)
    const later = clock.sleep(100).then(() => write(input, 5, 1)).then(() => clock.sleep(50)).then(() => write(input, 5, 1))
    const taken = await consumer.poll(columns, { recordsMax: 10, delayMsMax: 5000, fillMsMax: 2000 })
    assert.equal(taken, 10)
    await later
    const startMs = clock.monotonicMs()
    assert.equal(await consumer.poll(columns, { recordsMax: 10, delayMsMax: 60, fillMsMax: 5000 }), 0)
    assert.ok(clock.monotonicMs() - startMs < 1000)
  })

  it('fences the older of two producers with one transactional id, and nothing of it is read', async () => {
    const output = await topic(1)
    const transactionalId = `tx-${uniqueSuffix()}`
    const zombie = await producer(transactionalId)
    const columns = new RecordColumns(10)
    columns.append(0, 0, 0, 1, null, Buffer.from('zombie'))
    await zombie.begin()
    await zombie.send(columns, [output])

    const successor = await producer(transactionalId)
    await assert.rejects(zombie.commit(), isCode('FENCED'))
    columns.reset()
    columns.append(0, 0, 0, 1, null, Buffer.from('successor'))
    await successor.begin()
    await successor.send(columns, [output])
    await successor.commit()
    const [read] = await readCommitted(brokers, output)
    assert.deepEqual(read!.map(({ value }) => String(value)), ['successor'])
  })

  it('tells committed offsets only when they are stable, and a freed transactional id makes them so', async () => {
    const input = await topic(1)
    await write(input, 10, 1)
    const { consumer } = await member([input])
    await pollCount(consumer, 10)
    const transactionalId = `tx-${uniqueSuffix()}`
    const dead = await producer(transactionalId)
    await dead.begin()
    await dead.sendOffsets([{ topic: input, partition: 0, offset: 4 }], consumer)

    const committed = consumer.committed([{ topic: input, partition: 0 }])
    assert.equal(await Promise.race([committed.then(() => 'told'), clock.sleep(500).then(() => 'waits')]), 'waits')
    const startMs = clock.monotonicMs()
    await freeTransactionalId({ brokers, transactionalId, clock, logger })
    assert.equal((await committed)[0]!.offset, null)
    assert.ok(clock.monotonicMs() - startMs < 3000, `freed in ${clock.monotonicMs() - startMs} ms`)
  })

  it('commits the open transaction inside a revocation, and only then gives the partitions away', async () => {
    const input = await topic(2)
    const output = await topic(2)
    await write(input, 200, 2)
    const groupId = `g-${uniqueSuffix()}`
    const old = await member([input], { groupId, groupInstanceId: 'old' })
    const out = await producer()
    const batch = await pollCount(old.consumer, 200)
    const epoch = old.consumer.assignmentEpoch
    await out.begin()
    await out.send(batch, [output])
    let ownedInside = false
    let movedInside = false
    old.whileRevoked = async (partitions) => {
      ownedInside = partitions.every((partition) => old.consumer.isOwnedSince(partition, epoch))
      await out.sendOffsets(offsetsAfter(batch, [input]), old.consumer)
      await clock.sleep(1000)
      movedInside = young.events.some((event) => event === 'assigned 1')
      await out.commit()
    }
    const stopOld = keepPolling(old)
    const young = await member([input], { groupId, groupInstanceId: 'young' })
    const records = new RecordColumns(300)
    await pollUntil(young.consumer, records, () => young.events.includes('assigned 1'))
    await stopOld()
    assert.deepEqual(old.events, ['assigned 2', 'revoked 1'])
    assert.ok(ownedInside, 'still owned inside onRevoked')
    assert.ok(!movedInside, 'not given away before onRevoked was fulfilled')
    const [moved] = young.consumer.assignment()
    const [kept] = old.consumer.assignment()
    assert.equal(old.consumer.isOwnedSince(moved!, epoch), false)
    assert.equal(old.consumer.isOwnedSince(kept!, epoch), true)
    // The new owner starts after the commit that was made inside the revocation.
    await young.consumer.poll(records, { recordsMax: 100, delayMsMax: 300 })
    assert.equal(records.count, 0)

    // Why the epoch rule is needed: the broker itself takes the offset of a partition that a live member has lost.
    await out.begin()
    await out.sendOffsets([{ topic: input, partition: moved!.partition, offset: 1 }], old.consumer)
    await out.abort()
  })

  it('gets the same partitions back in less than a second after a restart with the same static id', async () => {
    const input = await topic(4)
    await write(input, 40, 4)
    const identity = { groupId: `g-${uniqueSuffix()}`, groupInstanceId: 'static' }
    const first = await member([input], identity)
    await pollCount(first.consumer, 40)
    await first.consumer.stop()
    const startMs = clock.monotonicMs()
    const second = await member([input], identity)
    const columns = new RecordColumns(50)
    await pollUntil(second.consumer, columns, () => columns.count >= 40)
    const tookMs = clock.monotonicMs() - startMs
    assert.ok(tookMs < 1000, `records after ${tookMs} ms`)
  })

  it('loses its partitions when it is not polled, aborts, and comes back', async () => {
    const input = await topic(1)
    await write(input, 10, 1)
    const made = await member([input], { settings: { 'max.poll.interval.ms': '6000' } })
    await pollCount(made.consumer, 10)
    const epoch = made.consumer.assignmentEpoch
    await clock.sleep(7500)
    const columns = new RecordColumns(20)
    await pollUntil(made.consumer, columns, () => made.events.includes('lost 1'))
    assert.equal(made.consumer.isOwnedSince({ topic: input, partition: 0 }, epoch), false)
    await pollUntil(made.consumer, columns, () => columns.count >= 10)
    assert.deepEqual(made.events, ['assigned 1', 'lost 1', 'assigned 1'])
  })

  it('ends the older of two members with one static id', async () => {
    const input = await topic(1)
    await write(input, 1, 1)
    const identity = { groupId: `g-${uniqueSuffix()}`, groupInstanceId: 'twin' }
    const old = await member([input], identity)
    await pollCount(old.consumer, 1)
    const young = await member([input], identity)
    await pollCount(young.consumer, 1)
    const columns = new RecordColumns(10)
    const endMs = clock.monotonicMs() + 10_000
    while (!old.fatal && clock.monotonicMs() < endMs) await old.consumer.poll(columns, { recordsMax: 10, delayMsMax: 50 }).catch(() => undefined)
    assert.equal(old.fatal?.code, 'FENCED')
  })

  it('refuses loudly to start where the log has no records any more', async () => {
    const input = await topic(1)
    await write(input, 100, 1)
    const groupId = `g-${uniqueSuffix()}`
    const first = await member([input], { groupId })
    const columns = await pollCount(first.consumer, 100)
    const out = await producer()
    await out.begin()
    await out.sendOffsets([{ topic: input, partition: 0, offset: 5 }], first.consumer)
    await out.commit()
    await first.consumer.stop()
    await admin.deleteRecords(input, [{ partition: 0, before: 50 }])
    const second = await member([input], { groupId })
    columns.reset()
    const endMs = clock.monotonicMs() + 15_000
    while (!second.fatal && clock.monotonicMs() < endMs) await second.consumer.poll(columns, { recordsMax: 10, delayMsMax: 50 }).catch(() => undefined)
    assert.equal(second.fatal?.code, 'RESTORE_IMPOSSIBLE')
    assert.match(second.fatal.message, /offset 5\b.*starts at 50/)
    assert.equal(columns.count, 0)
  })

  it('waits while the local queue is full', async () => {
    const output = await topic(1)
    const out = await producer(undefined, { settings: { 'queue.buffering.max.messages': 100 } })
    const columns = new RecordColumns(5000)
    for (let i = 0; i < 5000; i++) columns.append(0, 0, 0, 1, null, Buffer.from(String(i)))
    await out.begin()
    await out.send(columns, [output])
    await out.commit()
    const [read] = await readCommitted(brokers, output)
    assert.deepEqual(read!.map(({ value }) => Number(value)), Array.from({ length: 5000 }, (_, i) => i))
  })

  it('names a record that is too large, and goes on after an abort', async () => {
    const small = await topic(1, { 'max.message.bytes': '2000' })
    const failures: HarrierError[] = []
    const out = await producer(undefined, { onDeliveryError: (error) => failures.push(error), settings: { 'compression.codec': 'none' } })
    const columns = new RecordColumns(1, new Arena(16 << 20))
    columns.append(0, 0, 0, 1, null, Buffer.alloc(9 << 20))
    await out.begin()
    await assert.rejects(out.send(columns, [small]), isCode('LIMIT_EXCEEDED'))
    await out.abort()

    columns.reset()
    columns.append(0, 0, 0, 1, null, Buffer.alloc(5000))
    await out.begin()
    await out.send(columns, [small])
    await assert.rejects(out.commit(), isCode('TRANSACTION_ABORTED'))
    for (const endMs = clock.monotonicMs() + 5000; failures.length === 0 && clock.monotonicMs() < endMs; ) await clock.sleep(20)
    assert.match(String(failures[0]?.message), /size too large/i)
    await out.abort()

    columns.reset()
    columns.append(0, 0, 0, 1, null, Buffer.from('fits'))
    const commitOnce = async (): Promise<void> => {
      await out.begin()
      await out.send(columns, [small])
      await out.commit()
    }
    // The sequence number of the lost record may cost the next transaction too.
    await commitOnce().catch(async (error: unknown) => {
      assert.ok(isCode('TRANSACTION_ABORTED')(error))
      await out.abort()
      await commitOnce()
    })
    const [read] = await readCommitted(brokers, small)
    assert.deepEqual(read!.map(({ value }) => String(value)), ['fits'])
  })
})
