import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock as clock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import { silentLogger as logger } from '../../src/base/logger.js'
import { uniqueSuffix } from '../../src/base/prng.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import { KafkaAdmin } from '../../src/consumer/admin.js'
import { RangeReader, type Range, type RangeReaderLimits } from '../../src/consumer/range-reader.js'
import { RdkafkaTransactionalProducer } from '../../src/producer/rdkafka-transactional-producer.js'
import type { TransactionalProducer } from '../../src/producer/transactional-producer.js'
import { startTestStack, type TestStack } from './test-stack.js'

describe('range reader', () => {
  let stack: TestStack
  let admin: KafkaAdmin
  let reader: RangeReader
  const closers: (() => Promise<void>)[] = []

  before(async () => {
    stack = await startTestStack({ registry: false })
    admin = new KafkaAdmin({ brokers: stack.brokers, clock })
    await admin.start()
    reader = await openReader()
  })

  after(async () => {
    for (const close of closers.reverse()) await close()
    await admin.close()
    await stack.stop()
  })

  async function openReader(limits: Partial<RangeReaderLimits> = {}): Promise<RangeReader> {
    const made = new RangeReader({ brokers: stack.brokers, clock, logger, limits })
    await made.start()
    closers.push(() => made.close())
    return made
  }

  async function topic(config: Record<string, string> = {}): Promise<string> {
    const name = `t-${uniqueSuffix()}`
    await admin.ensureTopics([{ topic: name, partitions: 1, config }], { create: true })
    return name
  }

  async function writer(): Promise<TransactionalProducer> {
    const producer = new RdkafkaTransactionalProducer({ brokers: stack.brokers, transactionalId: `w-${uniqueSuffix()}`, clock, logger })
    await producer.init()
    closers.push(() => producer.close())
    return producer
  }

  async function write(producer: TransactionalProducer, to: string, values: readonly string[], how: 'commit' | 'abort' | 'leave open' = 'commit', key?: string): Promise<void> {
    const columns = new RecordColumns(Math.max(1, values.length))
    for (const value of values) columns.append(0, 0, 0, clock.nowMs(), key === undefined ? null : Buffer.from(key), Buffer.from(value))
    const before = (await reader.watermarks(to, 0)).stableEnd
    await producer.begin()
    await producer.send(columns, [to])
    if (how === 'commit') await producer.commit()
    else if (how === 'abort') await producer.abort()
    // The broker acknowledges a commit before it has written the marker that moves the stable end.
    const endMs = clock.monotonicMs() + 1000
    while (how === 'commit' && (await reader.watermarks(to, 0)).stableEnd <= before + values.length && clock.monotonicMs() < endMs) await clock.sleep(5)
  }

  async function read(range: Range, from = reader): Promise<{ values: string[]; offsets: number[]; position: number }> {
    const values: string[] = []
    const offsets: number[] = []
    const { position } = await from.readRange(range, (columns) => {
      for (let row = 0; row < columns.count; row++) {
        values.push(Buffer.from(columns.value(row) ?? []).toString())
        offsets.push(columns.offset[row]!)
      }
    })
    return { values, offsets, position }
  }

  const isCode = (code: string, message: RegExp) => (error: unknown) => error instanceof HarrierError && error.code === code && message.test(error.message)
  const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => String(from + i))

  /** Committed 0-4 (marker at 5), aborted 5 records (marker), committed 5-9, two aborted transactions at the end. */
  async function holes(): Promise<string> {
    const name = await topic()
    const producer = await writer()
    await write(producer, name, numbers(0, 5))
    await write(producer, name, ['x', 'x', 'x', 'x', 'x'], 'abort')
    await write(producer, name, numbers(5, 10))
    await write(producer, name, ['y'], 'abort')
    await write(producer, name, ['z', 'z'], 'abort')
    return name
  }

  it('reads committed records to the stable end over markers and aborted records', async () => {
    const name = await holes()
    // The broker writes the marker of a transaction some time after it has said that it is ended.
    const before = (await reader.watermarks(name, 0)).stableEnd
    const { values, position } = await read({ topic: name, partition: 0, from: 'earliest', to: 'stable-end' })
    assert.deepEqual(values, numbers(0, 10))
    const after = (await reader.watermarks(name, 0)).stableEnd
    assert.ok(position >= before && position <= after, `${position} lies between ${before} and ${after}`)
  })

  it('ends at any offset, be it a record, a marker or an aborted record', async () => {
    const name = await holes()
    const all = await read({ topic: name, partition: 0, from: 'earliest', to: 'stable-end' })
    const { stableEnd } = await reader.watermarks(name, 0)
    for (let to = 0; to <= stableEnd; to++) {
      const { offsets } = await read({ topic: name, partition: 0, from: 0, to })
      assert.deepEqual(offsets, all.offsets.filter((offset) => offset < to), `to ${to}`)
    }
    for (let from = 0; from <= stableEnd; from += 3) {
      const { offsets } = await read({ topic: name, partition: 0, from, to: 'stable-end' })
      assert.deepEqual(offsets, all.offsets.filter((offset) => offset >= from), `from ${from}`)
    }
  })

  it('finds the last records behind markers and any number of aborted records', async () => {
    const name = await topic()
    assert.equal((await reader.lastRecords(name, 0)).count, 0)
    const producer = await writer()
    await write(producer, name, numbers(0, 300), 'commit', 'other')
    await write(producer, name, ['wanted'], 'commit', 'mine')
    await write(producer, name, numbers(300, 310), 'commit', 'other')
    for (let i = 0; i < 20; i++) await write(producer, name, numbers(0, 20), 'abort')
    const texts = (columns: RecordColumns): string[] => Array.from({ length: columns.count }, (_, row) => Buffer.from(columns.value(row)!).toString())
    assert.deepEqual(texts(await reader.lastRecords(name, 0)), ['309'])
    assert.deepEqual(texts(await reader.lastRecords(name, 0, { count: 12 })), ['299', 'wanted', ...numbers(300, 310)])
    const isMine = (columns: RecordColumns, row: number): boolean => Buffer.from(columns.key(row) ?? []).toString() === 'mine'
    assert.deepEqual(texts(await reader.lastRecords(name, 0, { accept: isMine })), ['wanted'])
    assert.deepEqual(texts(await reader.lastRecords(name, 0, { accept: () => false })), [])
  })

  it('stops at the stable end before an open transaction, and says so when it is to read beyond', async () => {
    const name = await topic()
    const producer = await writer()
    await write(producer, name, numbers(0, 5))
    const open = await writer()
    await write(open, name, ['open'], 'leave open')
    await clock.sleep(500)
    await write(producer, name, numbers(5, 10))
    // Five records, a marker, the open one, five records, a marker.
    const high = 13
    assert.equal((await reader.watermarks(name, 0)).stableEnd, 6)
    assert.deepEqual((await read({ topic: name, partition: 0, from: 0, to: 'stable-end' })).values, numbers(0, 5))
    const impatient = await openReader({ progressMsMax: 800 })
    await assert.rejects(read({ topic: name, partition: 0, from: 0, to: high }, impatient), isCode('BROKER_UNAVAILABLE', /open transaction holds the stable end/))
    await open.abort()
    assert.deepEqual((await read({ topic: name, partition: 0, from: 0, to: high }, impatient)).values, numbers(0, 10))
  })

  it('reads to the settled end: waits for what is open, and takes it if it commits', async () => {
    for (const how of ['commit', 'abort'] as const) {
      const name = await topic()
      assert.deepEqual((await read({ topic: name, partition: 0, from: 'earliest', to: 'settled-end' })).values, [])
      await write(await writer(), name, numbers(0, 5))
      const open = await writer()
      await write(open, name, ['open'], 'leave open')
      await clock.sleep(500)
      const reading = read({ topic: name, partition: 0, from: 'earliest', to: 'settled-end' }, await openReader())
      let done = false
      void reading.then(() => (done = true))
      await clock.sleep(700)
      assert.equal(done, false)
      await open[how]()
      assert.deepEqual((await reading).values, how === 'commit' ? [...numbers(0, 5), 'open'] : numbers(0, 5))
    }
  })

  it('reads on from where a read ended, while somebody writes: every record once', async () => {
    const name = await topic()
    const producer = await writer()
    const all = numbers(0, 1500)
    let writing = true
    const written = (async () => {
      for (let at = 0; at < all.length; at += 5) await write(producer, name, all.slice(at, at + 5), at % 50 === 0 ? 'abort' : 'commit')
      writing = false
    })()
    const values: string[] = []
    let position = 0
    for (let last = false; !last; ) {
      last = !writing
      const part = await read({ topic: name, partition: 0, from: position, to: last ? 'settled-end' : 'stable-end' })
      values.push(...part.values)
      position = part.position
    }
    await written
    assert.deepEqual(values, all.filter((value) => Math.floor(Number(value) / 5) % 10 !== 0))
  })

  it('refuses a range whose start is gone', async () => {
    const name = await topic()
    await write(await writer(), name, numbers(0, 100))
    await admin.deleteRecords(name, [{ partition: 0, before: 40 }])
    await assert.rejects(read({ topic: name, partition: 0, from: 39, to: 'stable-end' }), isCode('RESTORE_IMPOSSIBLE', /from offset 39, but its log starts at 40/))
    assert.deepEqual((await read({ topic: name, partition: 0, from: 'earliest', to: 'stable-end' })).values, numbers(40, 100))
  })

  it('reads a compacted partition, whose offsets have holes, to its end', async () => {
    const name = await topic({ 'cleanup.policy': 'compact', 'segment.ms': '100', 'min.cleanable.dirty.ratio': '0.01', 'delete.retention.ms': '100' })
    const producer = await writer()
    const endMs = clock.monotonicMs() + 90_000
    let written = 0
    let result
    do {
      for (let i = 0; i < 5; i++) await write(producer, name, [`v${written++}`], 'commit', `key-${written % 2}`)
      await clock.sleep(500)
      result = await read({ topic: name, partition: 0, from: 'earliest', to: 'stable-end' })
      assert.equal(result.values.at(-1), `v${written - 1}`)
      assert.equal(result.position, (await reader.watermarks(name, 0)).stableEnd)
    } while (result.values.length === written && clock.monotonicMs() < endMs)
    assert.ok(result.values.length < written, 'the broker has compacted within 90 s')
  })

  it('gives large ranges in batches with progress, and ends on a signal', async () => {
    const name = await topic()
    const producer = await writer()
    for (let i = 0; i < 5; i++) await write(producer, name, numbers(i * 2000, i * 2000 + 2000))
    const progress: number[] = []
    let batches = 0
    const result = await reader.readRange({ topic: name, partition: 0, from: 0, to: 'stable-end' }, (columns) => void (columns.count <= 2000 && batches++), { onProgress: ({ records }) => progress.push(records) })
    assert.equal(result.records, 10_000)
    assert.ok(batches >= 5)
    assert.equal(progress.at(-1), 10_000)
    const stopper = new AbortController()
    const stopped = await reader.readRange({ topic: name, partition: 0, from: 0, to: 'stable-end' }, () => stopper.abort(), { signal: stopper.signal })
    assert.ok(stopped.records > 0 && stopped.records < 10_000)
  })

  it('reads ranges that are asked for at the same time one after the other', async () => {
    const name = await topic()
    await write(await writer(), name, numbers(0, 1000))
    const results = await Promise.all([0, 100, 200].map((from) => read({ topic: name, partition: 0, from, to: from + 100 })))
    assert.deepEqual(results.map(({ values }) => values), [numbers(0, 100), numbers(100, 200), numbers(200, 300)])
  })

  it('passes an error of the receiver on, and reads on afterwards', async () => {
    const name = await topic()
    await write(await writer(), name, numbers(0, 10))
    await assert.rejects(reader.readRange({ topic: name, partition: 0, from: 0, to: 10 }, () => Promise.reject(new Error('receiver'))), /receiver/)
    assert.equal((await read({ topic: name, partition: 0, from: 0, to: 10 })).values.length, 10)
  })
})
