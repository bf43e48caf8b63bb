import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ManualClock } from '../../src/base/clock.js'
import { CounterSource } from '../../src/simulator/counter-source.js'
import { LiveSimulator, type LiveSimulatorOptions, type SimulatorSink } from '../../src/simulator/live-simulator.js'
import { Pacer } from '../../src/simulator/pacer.js'
import { secondsPerDay } from '../../src/simulator/parameters.js'
import { generatePublished } from '../../src/simulator/published-transactions.js'
import type { TransactionChunk } from '../../src/simulator/transaction-source.js'

interface Sent {
  readonly kind: 'transaction' | 'label'
  readonly id: number
  readonly seconds: number
  readonly isFraud: boolean
  readonly atMs: number
}

/** Keeps what comes; refuses while `isFull`. */
class MemorySink implements SimulatorSink {
  readonly records: Sent[] = []
  readonly clock: ManualClock
  isFull = (): boolean => false
  failure: Error | undefined
  flushed = 0
  closed = 0

  constructor(clock: ManualClock) {
    this.clock = clock
  }

  get acked(): number {
    return this.flushed > 0 ? this.records.length : 0
  }

  of(kind: Sent['kind']): Sent[] {
    return this.records.filter((record) => record.kind === kind)
  }

  sendTransaction(chunk: TransactionChunk, row: number): boolean {
    return this.#take('transaction', chunk, row)
  }

  sendLabel(chunk: TransactionChunk, row: number): boolean {
    return this.#take('label', chunk, row)
  }

  poll(): void {
    if (this.failure) throw this.failure
  }

  flush(): Promise<void> {
    this.flushed++
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.closed++
    return Promise.resolve()
  }

  #take(kind: Sent['kind'], chunk: TransactionChunk, row: number): boolean {
    if (this.isFull()) return false
    this.records.push({ kind, id: chunk.firstId + row, seconds: chunk.seconds[row]!, isFraud: chunk.isFraud[row] === 1, atMs: this.clock.nowMs() })
    return true
  }
}

const epochMs = Date.UTC(2018, 3, 1)
const labelDelayMs = 7 * secondsPerDay * 1000
const table = generatePublished({ customers: 40, terminals: 400, days: 40, radius: 20 })

function start(options: Partial<LiveSimulatorOptions> = {}): { live: LiveSimulator; sink: MemorySink; clock: ManualClock } {
  const clock = new ManualClock(1_000_000)
  const sink = new MemorySink(clock)
  const live = new LiveSimulator({ source: table, sink, clock, epochMs, pace: { kind: 'full' }, labels: 'all', labelDelayMs, ...options })
  return { live, sink, clock }
}

/** Lets the simulator run while the clock goes on in small steps. */
async function advance(clock: ManualClock, durationMs: number, stepMs = 5): Promise<void> {
  for (let passed = 0; passed < durationMs; passed += stepMs) {
    for (let i = 0; i < 4; i++) await nextTurn()
    clock.advance(stepMs)
  }
  for (let i = 0; i < 4; i++) await nextTurn()
}

test('sends each transaction once, in order, and ends flushed and closed', async () => {
  const { live, sink } = start()
  const counters = await live.done
  assert.deepEqual(sink.of('transaction').map((record) => record.id), [...table.seconds.keys()])
  assert.equal(counters.sent, table.rows)
  assert.equal(counters.fraudsSent, table.isFraud.reduce((sum, flag) => sum + flag, 0))
  assert.equal(counters.acked, sink.records.length)
  assert.equal(counters.phase, 'ended')
  assert.deepEqual([sink.flushed, sink.closed], [1, 1])
})

for (const source of [table, new CounterSource({ customers: 60, terminals: 400, days: 20, radius: 20 })]) {
  for (const delayDays of [0, 7]) {
    test(`a label of ${source.constructor.name} comes when event time reaches its known_at, with a delay of ${delayDays} days`, async () => {
      const delay = delayDays * secondsPerDay
      const { live, sink } = start({ source, labelDelayMs: delay * 1000 })
      await live.done
      const transactions = sink.of('transaction')
      const lastSeconds = transactions.at(-1)!.seconds
      const due = transactions.filter((record) => record.seconds + delay <= lastSeconds)
      assert.deepEqual(sink.of('label').map((record) => record.id), due.map((record) => record.id))
      let now = -1
      const known = new Set<number>()
      for (const record of sink.records) {
        if (record.kind === 'transaction') {
          now = record.seconds
          known.add(record.id)
        } else {
          assert.ok(known.has(record.id), 'no label before its transaction')
        }
      }
      for (const [i, record] of sink.records.entries()) {
        if (record.kind !== 'label') continue
        const before = sink.records.slice(0, i).findLast((other) => other.kind === 'transaction')!
        const after = sink.records.slice(i).find((other) => other.kind === 'transaction')
        if (delay > 0) assert.ok(before.seconds < record.seconds + delay || before.seconds === lastSeconds, 'not later than it is known')
        assert.ok((after?.seconds ?? now) >= record.seconds + delay, 'not earlier than it is known')
      }
    })
  }
}

test('labels of frauds only, or none', async () => {
  const fraud = start({ labels: 'fraud' })
  await fraud.live.done
  assert.ok(fraud.sink.of('label').length > 0)
  assert.ok(fraud.sink.of('label').every((record) => record.isFraud))
  const none = start({ labels: 'none' })
  await none.live.done
  assert.equal(none.sink.of('label').length, 0)
})

test('a full queue loses and doubles nothing', async () => {
  const { live, sink, clock } = start()
  let calls = 0
  sink.isFull = () => ++calls % 7 === 0
  while (live.counters.phase !== 'ended') await advance(clock, 5)
  await live.done
  assert.deepEqual(sink.of('transaction').map((record) => record.id), [...table.seconds.keys()])
  assert.equal(new Set(sink.of('label').map((record) => record.id)).size, sink.of('label').length)
})

test('fast-forwards at full speed, then keeps the rate', async () => {
  const { live, sink, clock } = start({ fastForwardDays: 10, pace: { kind: 'rate', perSecond: 200 }, labels: 'none' })
  await advance(clock, 50)
  const fast = table.firstRowOfDay(10)
  assert.equal(live.counters.phase, 'paced')
  const begun = sink.records.length
  assert.ok(begun >= fast && begun <= fast + 15, `${begun} records after 50 ms of pace`)
  await advance(clock, 2000)
  assert.ok(Math.abs(sink.records.length - begun - 400) <= 3, `${sink.records.length - begun} in 2 s`)
  const { sent } = await live.stop()
  assert.equal(sent, sink.records.length)
})

test('with a speed-up event time runs so many times as fast as the clock', async () => {
  const { live, clock } = start({ pace: { kind: 'speedup', factor: 3600 }, labels: 'none' })
  await advance(clock, 20)
  const beganMs = live.counters.eventTimeMs
  await advance(clock, 24_000, 50)
  const days = (live.counters.eventTimeMs - beganMs) / (secondsPerDay * 1000)
  assert.ok(Math.abs(days - 1) < 0.1, `${days} days of event time in 24 s`)
  await live.stop()
})

test('after a stall a second is made up for, not more', () => {
  const clock = new ManualClock()
  const pacer = new Pacer({ kind: 'rate', perSecond: 10 }, clock)
  pacer.begin(0)
  clock.advance(60_000)
  let sent = 0
  while (pacer.waitMs(0) <= 0) {
    pacer.sent()
    sent++
  }
  assert.equal(sent, 11)
})

test('stops after the given number of events', async () => {
  const { live, sink } = start({ eventsMax: 777 })
  const { sent } = await live.done
  assert.equal(sent, 777)
  assert.equal(sink.of('transaction').length, 777)
})

test('stop ends a run that waits for its pace, and closes the sink', async () => {
  const { live, sink, clock } = start({ pace: { kind: 'rate', perSecond: 1 } })
  await advance(clock, 20)
  const { phase } = await live.stop()
  assert.equal(phase, 'ended')
  assert.deepEqual([sink.flushed, sink.closed], [1, 1])
})

test('a sink that fails ends the run with its error, closed', async () => {
  const { live, sink } = start()
  sink.failure = new Error('broker gone')
  await assert.rejects(live.done, /broker gone/)
  assert.equal(sink.closed, 1)
})

test('knows the truth about what it sent, with a table and with a generator', async () => {
  for (const source of [table, new CounterSource({ customers: 200, terminals: 400, days: 12, radius: 20 })]) {
    const { live, sink } = start({ source, labels: 'none' })
    await live.done
    assert.ok(sink.records.some((record) => record.isFraud))
    for (const record of sink.records) assert.equal(live.isFraud(record.id), record.isFraud)
    assert.equal(live.scenarioOf(-1), 0)
  }
})
