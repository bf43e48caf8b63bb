import { assert } from '../base/assert.js'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { partitionByKey, type RecordColumns } from '../base/record-columns.js'
import { connectMsMaxDefault } from '../connection/connection-schema.js'
import type { KafkaSecurity } from '../connection/security.js'
import { withRetries } from '../consumer/kafka-calls.js'
import { asHarrierError, isPassing, kafkaCode, toKafkaError } from '../consumer/kafka-errors.js'
import { librdkafkaSecurity } from '../consumer/kafka-security.js'
import { recordProducerSettings, toConfiguration, type ExtraSettings } from '../consumer/kafka-settings.js'
import { partitionOf } from './murmur2.js'
import { NativeProducerDriver } from './native-producer-driver.js'
import { recordTooLarge } from './record-too-large.js'

export const recordProducerLimits = {
  /** How long the number of partitions of a topic is asked for, and one try. */
  partitionsMsMax: 10_000,
  callMsMax: 5000,
  retryPauseMs: 100,
  /** A topic that was made just now may not be known everywhere: one that is not there is asked for again so long. */
  missingMsMax: 2000,
  /** After so long the number of partitions is asked for anew: keys move when a topic gets more. */
  partitionsAgeMsMax: 30_000,
  /** One wait for acknowledgements; a producer that closes is seen between two. */
  flushMsMax: 1000,
} as const

export interface RecordProducerOptions {
  readonly brokers: string
  readonly security?: KafkaSecurity | undefined
  /** How long the first answer of a broker is waited for. */
  readonly connectMsMax?: number | undefined
  /** What differs from `recordProducerSettings`: client.id, linger.ms, message.timeout.ms, … */
  readonly settings: ExtraSettings
  readonly clock: Clock
  readonly logger: Logger
}

/** Errors that mean that the topic, or the partition, is not there. */
const missingCodes: ReadonlySet<number> = new Set([kafkaCode.unknownTopic, kafkaCode.unknownPartition, kafkaCode.unknownTopicOrPartition])

/**
 * Records without a transaction, each once and in the order of its partition: what is acknowledged is there.
 *
 * Owns: a driver. Talks to: nobody else. One `send` or `delivered` at a time.
 * 1. No report for each record: librdkafka tells what failed, and `delivered` waits until nothing is under way.
 * 2. A row without a partition goes by its key, to the partition that Java clients give it.
 * 3. After an error that ends librdkafka's producer the next `send` begins with another one.
 */
export class RecordProducer {
  readonly #options: RecordProducerOptions
  readonly #partitions = new Map<string, { readonly count: number; readonly atMs: number }>()
  #driver: NativeProducerDriver
  #failure: HarrierError | undefined
  #isDead = false
  #isBusy = false
  #isClosing = false

  /** Errors: BROKER_UNAVAILABLE and the others of a connection. */
  static async open(options: RecordProducerOptions): Promise<RecordProducer> {
    const producer = new RecordProducer(options)
    await producer.#driver.connect(options.connectMsMax ?? connectMsMaxDefault)
    return producer
  }

  private constructor(options: RecordProducerOptions) {
    this.#options = options
    this.#driver = this.#makeDriver()
  }

  #makeDriver(): NativeProducerDriver {
    const { brokers, security, settings, clock, logger } = this.#options
    const configuration = toConfiguration(recordProducerSettings, { 'metadata.broker.list': brokers, ...librdkafkaSecurity(security), ...settings })
    const driver: NativeProducerDriver = new NativeProducerDriver({
      brokers,
      security,
      clock,
      logger,
      configuration,
      events: {
        onError: (error) => {
          if (driver !== this.#driver) return
          if (error.isFatal) {
            this.#isDead = true
            this.#failure ??= asHarrierError('BROKER_UNAVAILABLE', 'the producer cannot go on', error)
          } else if (!isPassing(error)) logger.log('warn', 'Kafka producer error', { cause: error.message, code: error.code })
        },
        onLog: (fac, message) => logger.log('debug', 'librdkafka', { fac, message }),
        onDeliveryError: (error) => {
          if (driver === this.#driver) this.#failure ??= this.#toError('a record was not acknowledged', error)
        },
      },
    })
    return driver
  }

  /**
   * Queues each row for `topics[row.topic]`; waits while the queue is full. Rows with `partitionByKey` get their partition here. The columns
   * must not change until it is back. Errors: TOPIC_MISSING, NOT_AUTHORIZED, LIMIT_EXCEEDED (a record too large), BROKER_UNAVAILABLE; rows
   * before the one that failed are queued then.
   */
  async send(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    assert(!this.#isBusy && !this.#isClosing, 'a producer of records has one call at a time')
    this.#isBusy = true
    try {
      if (this.#isDead) await this.#revive()
      await this.#assignPartitions(columns, topics)
      await this.#driver.send(columns, topics)
    } catch (error) {
      if (error instanceof HarrierError) throw error
      const kafka = toKafkaError(error)
      if (kafka.isFatal) this.#isDead = true
      throw kafka.code === kafkaCode.messageTooLarge ? recordTooLarge(kafka, columns, topics) : this.#toError(`producing to ${topics.join(', ')}`, kafka)
    } finally {
      this.#isBusy = false
    }
  }

  /**
   * Waits until everything that was sent has been acknowledged, for at most `limitMs`. Errors: BROKER_UNAVAILABLE, TOPIC_MISSING or
   * NOT_AUTHORIZED when one record since the last call was not; which of them were is not known.
   */
  async delivered(limitMs: number): Promise<void> {
    assert(!this.#isBusy, 'a producer of records has one call at a time')
    this.#isBusy = true
    try {
      const { brokers, clock } = this.#options
      const endMs = clock.monotonicMs() + limitMs
      for (;;) {
        const leftMs = Math.ceil(endMs - clock.monotonicMs())
        const isDone = await this.#driver.flush(Math.max(0, Math.min(leftMs, recordProducerLimits.flushMsMax)))
        const failure = this.#failure
        if (failure) {
          this.#failure = undefined
          throw failure
        }
        if (isDone) return
        if (leftMs <= 0 || this.#isClosing) throw new HarrierError('BROKER_UNAVAILABLE', `${brokers} did not acknowledge the last records within ${limitMs} ms`)
      }
    } finally {
      this.#isBusy = false
    }
  }

  /** What is not acknowledged by then may be lost. */
  async close(limitMs: number): Promise<void> {
    this.#isClosing = true
    await this.#driver.close(limitMs)
  }

  async #revive(): Promise<void> {
    const { connectMsMax = connectMsMaxDefault } = this.#options
    await this.#driver.close(recordProducerLimits.callMsMax)
    this.#driver = this.#makeDriver()
    await this.#driver.connect(connectMsMax)
    this.#isDead = false
    this.#failure = undefined
  }

  async #assignPartitions(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    const { topic, partition, keyAt, keyBytes, arena, count } = columns
    const counts = new Int32Array(topics.length)
    for (let row = 0; row < count; row++) {
      if (partition[row] === partitionByKey && counts[topic[row]!] === 0) counts[topic[row]!] = await this.#partitionCount(topics[topic[row]!]!)
    }
    for (let row = 0; row < count; row++) {
      if (partition[row] !== partitionByKey) continue
      assert(keyBytes[row]! >= 0, 'a record that goes by its key has one')
      partition[row] = partitionOf(arena.bytes, keyAt[row]!, keyBytes[row]!, counts[topic[row]!]!)
    }
  }

  async #partitionCount(topic: string): Promise<number> {
    const nowMs = this.#options.clock.monotonicMs()
    const known = this.#partitions.get(topic)
    if (!known) return await this.#ask(topic)
    if (nowMs - known.atMs >= recordProducerLimits.partitionsAgeMsMax) {
      // What is known serves until the answer is here, and if none comes.
      this.#partitions.set(topic, { ...known, atMs: nowMs })
      void this.#ask(topic).catch(() => undefined)
    }
    return known.count
  }

  async #ask(topic: string): Promise<number> {
    const { clock } = this.#options
    const { partitionsMsMax, callMsMax, retryPauseMs, missingMsMax } = recordProducerLimits
    const startMs = clock.monotonicMs()
    const count = await withRetries(
      `asking for the partitions of ${topic}`,
      (leftMs) =>
        this.#driver.partitionCount(topic, leftMs).catch((error: unknown) => {
          const isMissing = missingCodes.has(toKafkaError(error).code)
          throw isMissing && clock.monotonicMs() - startMs >= missingMsMax ? this.#toError(`producing to ${topic}`, error) : error
        }),
      { limitMs: partitionsMsMax, tryMsMax: callMsMax, pauseMs: retryPauseMs, clock, retry: ({ code }) => missingCodes.has(code) },
    )
    this.#partitions.set(topic, { count, atMs: clock.monotonicMs() })
    return count
  }

  #toError(doing: string, error: unknown): HarrierError {
    const isMissing = missingCodes.has(toKafkaError(error).code)
    if (isMissing) this.#partitions.clear()
    return asHarrierError(isMissing ? 'TOPIC_MISSING' : 'BROKER_UNAVAILABLE', doing, error)
  }
}
