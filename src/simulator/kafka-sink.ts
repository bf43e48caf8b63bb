import type Kafka from 'node-rdkafka'
import { assert } from '../base/assert.js'
import type { Clock } from '../base/clock.js'
import type { HarrierError } from '../base/errors.js'
import { silentLogger, type Logger } from '../base/logger.js'
import { loadOwnSchema } from '../codec/schema-files.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectMsMaxDefault } from '../connection/connection-schema.js'
import type { KafkaSecurity, RegistrySecurity } from '../connection/security.js'
import { asHarrierError, isPassing, kafkaCode, toKafkaError } from '../consumer/kafka-errors.js'
import { librdkafkaSecurity } from '../consumer/kafka-security.js'
import { toConfiguration, type ExtraSettings, type KafkaSetting } from '../consumer/kafka-settings.js'
import { connectClient, disconnectClient } from '../consumer/rdkafka-client.js'
import type { SimulatorSink } from './live-simulator.js'
import { AvroRecordEncoder, JsonRecordEncoder, type EncodedRecord, type EventTimes, type RecordEncoder } from './record-encoder.js'
import type { TransactionChunk } from './transaction-source.js'
import { rdkafka } from '../consumer/rdkafka.js'

export interface KafkaSinkOptions extends EventTimes {
  readonly brokers: string
  /** Base URL of a Confluent-compatible registry; not needed for `json`. */
  readonly registryUrl?: string
  readonly format: 'avro' | 'json'
  readonly transactionsTopic: string
  readonly labelsTopic: string
  readonly security?: KafkaSecurity | undefined
  /** How long the first answer of a broker is waited for. */
  readonly connectMsMax?: number | undefined
  readonly registrySecurity?: RegistrySecurity | undefined
  readonly settings?: ExtraSettings
  readonly clock: Clock
  readonly logger?: Logger
}

export const kafkaSinkLimits = {
  /** The client flushes before it ends, 5 s by default: after our own flush there is nothing left to wait for. */
  lastFlushMs: 1,
  closeMsMax: 1500,
  statisticsMs: 250,
} as const

export const simulatorProducerSettings: readonly KafkaSetting[] = [
  { name: 'client.id', value: 'harrier-simulator', why: 'names us in the logs and quotas of the broker' },
  { name: 'enable.idempotence', value: true, why: 'a retry must not double a transaction, nor change the order of a card' },
  { name: 'compression.codec', value: 'lz4', why: 'a third of the bytes at little CPU' },
  { name: 'linger.ms', value: 5, why: 'at full speed batches fill themselves; at a slow rate an event waits no longer than this' },
  { name: 'batch.num.messages', value: 10_000, why: 'large batches at full speed' },
  { name: 'batch.size', value: 1 << 19, why: 'the same in bytes' },
  { name: 'queue.buffering.max.messages', value: 100_000, why: 'bounds the records that wait for the broker; when full the simulator pauses' },
  { name: 'queue.buffering.max.kbytes', value: 65_536, why: 'the same in bytes' },
  { name: 'delivery.report.only.error', value: true, why: 'a report for each record would cost as much as sending it' },
  { name: 'statistics.interval.ms', value: kafkaSinkLimits.statisticsMs, why: 'how many records still wait: what is not waiting is acknowledged' },
]

/** The native call: no wrapper for each record, and an error code instead of an exception. */
interface NativeProducer {
  produce(topic: string, partition: number, value: Uint8Array, key: Uint8Array, timestamp: number): number
}

/** Lets the partitioner decide, by the hash that Java clients use. */
const anyPartition = -1

/**
 * Transactions and labels to Kafka. The record's timestamp is the wall-clock time of sending, from which delays are
 * measured; event time is in the value.
 */
export class KafkaSink implements SimulatorSink {
  readonly #options: KafkaSinkOptions
  readonly #client: Kafka.Producer
  readonly #native: NativeProducer
  readonly #encoder: RecordEncoder
  #produced = 0
  #producedBefore = 0
  #acked = 0
  #failure: HarrierError | undefined

  /** Registers the schemas, connects. Throws BROKER_UNAVAILABLE, REGISTRY_REFUSED; waits for a registry that is down. */
  static async open(options: KafkaSinkOptions, signal?: AbortSignal): Promise<KafkaSink> {
    const isJson = options.format === 'json'
    const encoder = isJson ? new JsonRecordEncoder(options) : new AvroRecordEncoder(options, await registerSchemas(options, signal))
    const configuration = toConfiguration(simulatorProducerSettings, { 'metadata.broker.list': options.brokers, ...librdkafkaSecurity(options.security), ...options.settings, dr_cb: true })
    const client = new (rdkafka().Producer)(configuration as Kafka.ProducerGlobalConfig, { partitioner: 'murmur2_random' } as Kafka.ProducerTopicConfig)
    const { brokers, security, connectMsMax = connectMsMaxDefault, clock, logger = silentLogger } = options
    await connectClient(client, { brokers, security, limitMs: connectMsMax, clock, logger })
    return new KafkaSink(options, client, encoder)
  }

  private constructor(options: KafkaSinkOptions, client: Kafka.Producer, encoder: RecordEncoder) {
    this.#options = options
    this.#client = client
    this.#native = client.getClient() as NativeProducer
    this.#encoder = encoder
    const logger = options.logger ?? silentLogger
    client.on('event.error', (error) => {
      const kafka = toKafkaError(error)
      if (kafka.isFatal) this.#failure ??= asHarrierError('BROKER_UNAVAILABLE', 'producing transactions', error)
      else if (!isPassing(kafka)) logger.log('warn', 'Kafka producer error', { cause: kafka.message, code: kafka.code })
    })
    client.on('delivery-report', (error) => {
      if (error) this.#failure ??= asHarrierError('BROKER_UNAVAILABLE', 'a record was not acknowledged', error)
    })
    client.on('event.stats', (event: { message?: string }) => {
      const waiting = event.message === undefined ? undefined : (JSON.parse(event.message) as { msg_cnt?: number }).msg_cnt
      if (waiting === undefined) return
      // The numbers were taken before now, but after the statistics before: what was produced by then and waits no more is acknowledged.
      this.#acked = Math.max(this.#acked, this.#producedBefore - waiting)
      this.#producedBefore = this.#produced
    })
  }

  get acked(): number {
    return this.#acked
  }

  sendTransaction(chunk: TransactionChunk, row: number): boolean {
    return this.#send(this.#options.transactionsTopic, this.#encoder.transaction(chunk, row))
  }

  sendLabel(chunk: TransactionChunk, row: number): boolean {
    return this.#send(this.#options.labelsTopic, this.#encoder.label(chunk, row))
  }

  poll(): void {
    this.#client.poll()
    if (this.#failure) throw this.#failure
  }

  async flush(limitMs: number): Promise<void> {
    const { brokers, clock } = this.#options
    const endMs = clock.monotonicMs() + limitMs
    for (;;) {
      const leftMs = Math.ceil(endMs - clock.monotonicMs())
      const error = await new Promise<unknown>((resolve) => this.#client.flush(Math.max(1, leftMs), resolve))
      this.poll()
      if (!error) break
      const late = `${brokers} did not acknowledge the last records within ${limitMs} ms`
      if (leftMs <= 0) throw asHarrierError('BROKER_UNAVAILABLE', late, error)
    }
    this.#acked = this.#produced
  }

  async close(): Promise<void> {
    if (!this.#client.isConnected()) return
    const { clock, logger = silentLogger } = this.#options
    await disconnectClient(this.#client, kafkaSinkLimits.closeMsMax, clock, logger, (done) => this.#client.disconnect(kafkaSinkLimits.lastFlushMs, done))
  }

  #send(topic: string, record: EncodedRecord): boolean {
    const code = this.#native.produce(topic, anyPartition, record.value, record.key, this.#options.clock.nowMs())
    if (code === kafkaCode.queueFull) return false
    if (code !== 0) throw asHarrierError('BROKER_UNAVAILABLE', `producing to ${topic}`, code)
    this.#produced++
    return true
  }
}

async function registerSchemas(options: KafkaSinkOptions, signal: AbortSignal | undefined): Promise<{ transaction: number; label: number }> {
  const { registryUrl, registrySecurity, clock, logger } = options
  assert(registryUrl !== undefined, 'Avro needs a schema registry')
  const registry = new RegistryClient(registryUrl, { clock, logger, security: registrySecurity })
  const transaction = await registry.register(`${options.transactionsTopic}-value`, loadOwnSchema('transaction'), signal)
  return { transaction, label: await registry.register(`${options.labelsTopic}-value`, loadOwnSchema('label'), signal) }
}
