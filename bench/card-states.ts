import { systemClock } from '../src/base/clock.js'
import { silentLogger } from '../src/base/logger.js'
import { Prng } from '../src/base/prng.js'
import { partitionByKey, RecordColumns } from '../src/base/record-columns.js'
import type { ClusterConnection } from '../src/connection/security.js'
import { RecordProducer } from '../src/producer/record-producer.js'
import { loadTopology } from '../src/topology/load-topology.js'
import { TopologyTestDriver, type TestRecord } from '../src/topology/test-driver.js'

/** Cards with different histories; the cards of a bench share them. Enough that no compressor sees one twice in its window. */
const histories = 512
const eventsMin = 32
const eventsMore = 16
const dayMs = 86_400_000
const stepMs = 2.25 * dayMs
const flushesMax = 20
const closeMsMax = 10_000
const deliveredMsMax = 120_000
const batchRecords = 1000

export interface CardStates {
  /** Changelog records as the engine writes them, one for each history: full rings, windows, hidden state. */
  readonly values: readonly Uint8Array[]
  /** Batches that they reflect: a task whose lineage goes on further may restore them. */
  readonly batches: number
}

/** Runs some cards through the real topology, in memory, up to `endMs` in event time, and takes what the checkpoint writes of them. */
export async function makeCardStates(topologyFile: string, endMs: number): Promise<CardStates> {
  const driver = await TopologyTestDriver.open({ topology: loadTopology(topologyFile) })
  const prng = new Prng(1)
  const counts = Array.from({ length: histories }, () => eventsMin + prng.below(eventsMore))
  const steps = eventsMin + eventsMore
  const records: TestRecord[] = []
  for (let step = 0; step < steps; step++) {
    for (const [card, count] of counts.entries()) {
      if (step < steps - count) continue
      const timeMs = endMs - (steps - step) * stepMs + card * 1000
      records.push(event(records.length, card, timeMs, 100 + prng.below(20_000)))
    }
  }
  await driver.pipe(records)
  const values: Uint8Array[] = []
  let batches = 0
  // A transaction carries only so many bytes of the changelog.
  for (let flush = 0; values.length < histories && flush < flushesMax; flush++) {
    driver.clock.advance(dayMs)
    const { state, lineage } = await driver.pipe([event(records.length + flush, histories, endMs, 100)])
    values.push(...state.map(({ bytes }) => bytes!))
    batches = lineage.at(-1)!.value.sequence + 1
  }
  await driver.close()
  return { values: values.slice(0, histories), batches }
}

function event(id: number, card: number, timeMs: number, amount: number): TestRecord {
  const value = { transaction_id: id, event_time: timeMs, customer_id: String(card), terminal_id: '1', amount_minor: amount, currency: 'EUR' }
  return { key: String(card), value, timestampMs: timeMs }
}

/** The history of a card. */
export function historyOf(card: number, states: CardStates): Uint8Array {
  return states.values[(Math.imul(card, 0x9e3779b1) >>> 8) % states.values.length]!
}

/** Writes the state of cards [0, cards) to a changelog topic, by the partitioner that their payments go by. Returns the bytes of keys and values. */
export async function writeCardStates(connection: ClusterConnection, topic: string, cards: number, states: CardStates, onProgress: (written: number) => void): Promise<number> {
  const producer = await RecordProducer.open({ ...connection, clock: systemClock, logger: silentLogger, settings: { 'client.id': 'harrier-bench' } })
  let bytes = 0
  try {
    // One batch is made while the one before it is queued; the queue of the producer bounds what waits for the broker.
    let batch = new RecordColumns(batchRecords)
    let queued = new RecordColumns(batchRecords)
    let queueing: Promise<void> = Promise.resolve()
    for (let card = 0; card < cards; ) {
      batch.reset()
      for (; card < cards && batch.count < batchRecords; card++) {
        const key = Buffer.from(String(card))
        const value = historyOf(card, states)
        batch.append(0, partitionByKey, 0, systemClock.nowMs(), key, value)
        bytes += key.length + value.length
      }
      await queueing
      queueing = producer.send(batch, [topic])
      // Whoever awaits it sees the failure; until then it is not unhandled.
      queueing.catch(() => undefined)
      ;[batch, queued] = [queued, batch]
      onProgress(card)
    }
    await queueing
    await producer.delivered(deliveredMsMax)
  } finally {
    await producer.close(closeMsMax)
  }
  return bytes
}
