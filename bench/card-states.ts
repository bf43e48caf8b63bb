import Kafka from 'node-rdkafka'
import { systemClock } from '../src/base/clock.js'
import { silentLogger } from '../src/base/logger.js'
import { Prng } from '../src/base/prng.js'
import { connectMsMaxDefault } from '../src/connection/connection-schema.js'
import type { ClusterConnection } from '../src/connection/security.js'
import { librdkafkaSecurity } from '../src/consumer/kafka-security.js'
import { producerSettings, toConfiguration } from '../src/consumer/kafka-settings.js'
import { toKafkaError } from '../src/consumer/kafka-errors.js'
import { connectClient, disconnectClient } from '../src/consumer/rdkafka-client.js'
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
const flushMsMax = 120_000
const pollEvery = 1000

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
export async function writeCardStates({ brokers, security, connectMsMax = connectMsMaxDefault }: ClusterConnection, topic: string, cards: number, states: CardStates, onProgress: (written: number) => void): Promise<number> {
  // No transaction: these records are committed as they come.
  const settings = producerSettings.filter(({ name }) => name !== 'transaction.timeout.ms')
  const configuration = toConfiguration(settings, { 'metadata.broker.list': brokers, ...librdkafkaSecurity(security), 'dr_cb': true })
  const client = new Kafka.Producer(configuration as Kafka.ProducerGlobalConfig, { partitioner: 'murmur2_random' } as Kafka.ProducerTopicConfig)
  let failed: unknown
  client.on('delivery-report', (error) => (failed ??= error ?? undefined))
  await connectClient(client, { brokers, security, limitMs: connectMsMax, clock: systemClock, logger: silentLogger })
  let bytes = 0
  for (let card = 0; card < cards; ) {
    const key = Buffer.from(String(card))
    const value = historyOf(card, states)
    try {
      client.produce(topic, -1, value as Buffer, key)
      bytes += key.length + value.length
      card++
      if (card % pollEvery === 0) {
        client.poll()
        onProgress(card)
        await systemClock.sleep(0)
      }
    } catch (error) {
      if ((error as { code?: number }).code !== Kafka.CODES.ERRORS.ERR__QUEUE_FULL) throw error
      client.poll()
      await systemClock.sleep(5)
    }
    if (failed) throw failed instanceof Error ? failed : new Error('a changelog record was not acknowledged')
  }
  await new Promise<void>((resolve, reject) => client.flush(flushMsMax, (error) => (error ? reject(toKafkaError(error)) : resolve())))
  await disconnectClient(client, closeMsMax, systemClock, silentLogger)
  return bytes
}
