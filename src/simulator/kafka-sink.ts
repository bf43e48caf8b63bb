import { assert } from '../base/assert.js'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { silentLogger, type Logger } from '../base/logger.js'
import { RecordColumns } from '../base/record-columns.js'
import { loadOwnSchema } from '../codec/schema-files.js'
import { RegistryClient } from '../codec/registry-client.js'
import type { KafkaSecurity, RegistrySecurity } from '../connection/security.js'
import type { ExtraSettings } from '../consumer/kafka-settings.js'
import { RecordProducer } from '../producer/record-producer.js'
import type { SimulatorSink } from './live-simulator.js'
import { AvroRecordEncoder, JsonRecordEncoder, type EventTimes, type RecordEncoder } from './record-encoder.js'
import type { TransactionChunk } from './transaction-source.js'

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
  /** Records of one batch; two batches at most are held, of which one is on its way. */
  batchRecordsMax: 20_000,
  /** A batch that is not acknowledged by then is an error: longer than librdkafka tries, which gives up after `message.timeout.ms`. */
  ackMsMax: 320_000,
  closeMsMax: 1500,
} as const

const [transactions, labels] = [0, 1]

/**
 * Transactions and labels to Kafka. The record's timestamp is the wall-clock time of sending, from which delays are
 * measured; event time is in the value.
 *
 * Owns: a producer, and two batches: one takes records while the other is on its way. A batch leaves as soon as the one before it is
 * acknowledged: at once on a quiet stream, and the larger the busier the broker is.
 */
export class KafkaSink implements SimulatorSink {
  readonly #options: KafkaSinkOptions
  readonly #producer: RecordProducer
  readonly #encoder: RecordEncoder
  readonly #topics: readonly string[]
  #filling = new RecordColumns(kafkaSinkLimits.batchRecordsMax)
  #empty = new RecordColumns(kafkaSinkLimits.batchRecordsMax)
  #onItsWay: Promise<void> | undefined
  #acked = 0
  #failure: Error | undefined

  /** Registers the schemas, connects. Throws BROKER_UNAVAILABLE, REGISTRY_REFUSED; waits for a registry that is down. */
  static async open(options: KafkaSinkOptions, signal?: AbortSignal): Promise<KafkaSink> {
    const isJson = options.format === 'json'
    const encoder = isJson ? new JsonRecordEncoder(options) : new AvroRecordEncoder(options, await registerSchemas(options, signal))
    const { logger = silentLogger, settings } = options
    return new KafkaSink(options, await RecordProducer.open({ ...options, logger, settings: { 'client.id': 'harrier-simulator', ...settings } }), encoder)
  }

  private constructor(options: KafkaSinkOptions, producer: RecordProducer, encoder: RecordEncoder) {
    this.#options = options
    this.#producer = producer
    this.#encoder = encoder
    this.#topics = [options.transactionsTopic, options.labelsTopic]
  }

  get acked(): number {
    return this.#acked
  }

  sendTransaction(chunk: TransactionChunk, row: number): boolean {
    if (!this.#hasRoom()) return false
    this.#encoder.transaction(chunk, row, this.#filling, transactions, this.#options.clock.nowMs())
    return true
  }

  sendLabel(chunk: TransactionChunk, row: number): boolean {
    if (!this.#hasRoom()) return false
    this.#encoder.label(chunk, row, this.#filling, labels, this.#options.clock.nowMs())
    return true
  }

  poll(): void {
    this.#leave()
    if (this.#failure) throw this.#failure
  }

  async flush(limitMs: number): Promise<void> {
    const { brokers, clock } = this.#options
    const waiting = new AbortController()
    const late = clock.sleep(limitMs, waiting.signal).then(() => true)
    try {
      for (this.poll(); this.#onItsWay; this.poll()) {
        if (await Promise.race([late, this.#onItsWay.then(() => false)])) throw new HarrierError('BROKER_UNAVAILABLE', `${brokers} did not acknowledge the last records within ${limitMs} ms`)
      }
    } finally {
      waiting.abort()
    }
  }

  async close(): Promise<void> {
    this.#failure ??= new HarrierError('BROKER_UNAVAILABLE', 'the sink is closed')
    await this.#producer.close(kafkaSinkLimits.closeMsMax)
  }

  #hasRoom(): boolean {
    if (this.#filling.count < kafkaSinkLimits.batchRecordsMax) return true
    this.#leave()
    return this.#filling.count === 0
  }

  /** Sends what there is, unless a batch is on its way. */
  #leave(): void {
    if (this.#onItsWay || this.#filling.count === 0 || this.#failure) return
    const batch = this.#filling
    this.#filling = this.#empty
    this.#onItsWay = this.#deliver(batch)
  }

  async #deliver(batch: RecordColumns): Promise<void> {
    try {
      await this.#producer.send(batch, this.#topics)
      await this.#producer.delivered(kafkaSinkLimits.ackMsMax)
      this.#acked += batch.count
    } catch (error) {
      this.#failure ??= error as Error
    }
    batch.reset()
    this.#empty = batch
    this.#onItsWay = undefined
    this.#leave()
  }
}

async function registerSchemas(options: KafkaSinkOptions, signal: AbortSignal | undefined): Promise<{ transaction: number; label: number }> {
  const { registryUrl, registrySecurity, clock, logger } = options
  assert(registryUrl !== undefined, 'Avro needs a schema registry')
  const registry = new RegistryClient(registryUrl, { clock, logger, security: registrySecurity })
  const transaction = await registry.register(`${options.transactionsTopic}-value`, loadOwnSchema('transaction'), signal)
  return { transaction, label: await registry.register(`${options.labelsTopic}-value`, loadOwnSchema('label'), signal) }
}
