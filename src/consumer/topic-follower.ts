import type Kafka from 'node-rdkafka'
import type { Clock } from '../base/clock.js'
import { silentLogger } from '../base/logger.js'
import { connectMsMaxDefault } from '../connection/connection-schema.js'
import type { ClusterConnection } from '../connection/security.js'
import { asHarrierError, isPassing, kafkaCode, toKafkaError } from './kafka-errors.js'
import { librdkafkaSecurity } from './kafka-security.js'
import { rangeReaderSettings, toConfiguration } from './kafka-settings.js'
import type { Watermarks } from './native-consumer-driver.js'
import { connectClient, consumeBatch, disconnectClient, partitionIsKnown, queryWatermarks, watermarksNow, withRetries, type Fetched, type RdkafkaMessage, type WatermarkSource } from './rdkafka-client.js'
import { rdkafka } from './rdkafka.js'

export const followerLimits = {
  batchRecordsMax: 2000,
  pollMsMax: 100,
  queryMsMax: 10_000,
  retryPauseMs: 100,
  closeMsMax: 500,
} as const

export interface StartingPoint {
  readonly topic: string
  readonly partition: number
  readonly offset: number | 'earliest'
}

const earliestOffset = -2

type FollowedCluster = Pick<ClusterConnection, 'brokers' | 'security' | 'connectMsMax'>

/**
 * Reads committed records of some partitions from a starting point on and never ends by itself. It joins no group and
 * commits nothing, so it can watch any topic without leaving a trace.
 */
export class TopicFollower {
  readonly #connection: FollowedCluster
  readonly #clock: Clock
  readonly #client: Kafka.KafkaConsumer
  readonly #source: WatermarkSource
  readonly #stopping = new AbortController()
  /** Where the follower stands in each partition, by `topic/partition`. */
  readonly #positions = new Map<string, number>()
  #partitions: readonly StartingPoint[] = []
  #running: Promise<void> = Promise.resolve()

  constructor(connection: FollowedCluster, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
    const settings = { 'metadata.broker.list': connection.brokers, ...librdkafkaSecurity(connection.security), 'client.id': 'harrier-follower', 'fetch.wait.max.ms': followerLimits.pollMsMax }
    this.#client = new (rdkafka().KafkaConsumer)(toConfiguration(rangeReaderSettings, settings), {})
    this.#source = {
      watermarks: (topic, partition, timeoutMs) => watermarksNow(this.#client, topic, partition, timeoutMs),
      partitionExists: (topic, partition, timeoutMs) => partitionIsKnown(this.#client, topic, partition, timeoutMs),
    }
    // What matters comes back from reading; a broker that is away for a moment is waited for.
    this.#client.on('event.error', () => undefined)
  }

  async connect(): Promise<void> {
    const { brokers, security, connectMsMax = connectMsMaxDefault } = this.#connection
    await connectClient(this.#client, { brokers, security, limitMs: connectMsMax, clock: this.#clock, logger: silentLogger })
  }

  /** Partitions of every topic on the broker. */
  async partitionCounts(): Promise<Map<string, number>> {
    const metadata = await new Promise<Kafka.Metadata>((resolve, reject) => {
      this.#client.getMetadata({ timeout: followerLimits.queryMsMax }, (error, found) => (error ? reject(toKafkaError(error)) : resolve(found)))
    })
    return new Map(metadata.topics.map(({ name, partitions }) => [name, partitions.length]))
  }

  watermarks(topic: string, partition: number): Promise<Watermarks> {
    return withRetries(`asking for the ends of ${topic}/${partition}`, (leftMs) => queryWatermarks(this.#source, topic, partition, leftMs), {
      limitMs: followerLimits.queryMsMax,
      pauseMs: followerLimits.retryPauseMs,
      clock: this.#clock,
    })
  }

  /** Calls back for each record until `close`; rejects when reading fails for good. */
  follow(partitions: readonly StartingPoint[], onRecord: (message: RdkafkaMessage) => void | Promise<void>): Promise<void> {
    this.#partitions = partitions
    this.#client.assign(partitions.map(({ topic, partition, offset }) => ({ topic, partition, offset: offset === 'earliest' ? earliestOffset : offset })))
    this.#running = this.#read(onRecord)
    return this.#running
  }

  /** Resolves when everything that is committed by now has been given; false when that takes longer than `limitMs`. */
  async caughtUp(limitMs: number): Promise<boolean> {
    const endMs = this.#clock.monotonicMs() + limitMs
    const ends = await Promise.all(this.#partitions.map(async ({ topic, partition }) => ({ name: `${topic}/${partition}`, ...(await this.watermarks(topic, partition)) })))
    for (;;) {
      if (ends.every(({ name, low, stableEnd }) => low === stableEnd || (this.#positions.get(name) ?? 0) >= stableEnd)) return true
      if (this.#clock.monotonicMs() > endMs || this.#stopping.signal.aborted) return false
      await this.#clock.sleep(10, this.#stopping.signal)
    }
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    await this.#running.catch(() => undefined)
    if (this.#client.isConnected()) await disconnectClient(this.#client, followerLimits.closeMsMax, this.#clock, silentLogger)
  }

  async #read(onRecord: (message: RdkafkaMessage) => void | Promise<void>): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const { messages, eofs } = await this.#fetch()
      for (const message of messages) {
        if (this.#stopping.signal.aborted) return
        const wait = onRecord(message)
        if (wait) await wait
        this.#positions.set(`${message.topic}/${message.partition}`, message.offset + 1)
      }
      for (const { topic, partition, offset } of eofs) this.#positions.set(`${topic}/${partition}`, offset)
    }
  }

  async #fetch(): Promise<Fetched> {
    try {
      const ready = await consumeBatch(this.#client, followerLimits.batchRecordsMax, 0)
      if (ready.messages.length > 0) return ready
      const next = await consumeBatch(this.#client, 1, followerLimits.pollMsMax)
      return { messages: next.messages, eofs: [...ready.eofs, ...next.eofs] }
    } catch (error) {
      const kafka = toKafkaError(error)
      const gone = kafka.code === kafkaCode.unknownTopic || kafka.code === kafkaCode.unknownTopicOrPartition || kafka.code === kafkaCode.unknownPartition
      if (gone) throw asHarrierError('TOPIC_MISSING', 'the topic is gone', kafka)
      const harmless = kafka.code === kafkaCode.groupAuthorization
      if (!harmless && !isPassing(kafka) && !kafka.isRetriable) throw asHarrierError('BROKER_UNAVAILABLE', 'reading', kafka)
      await this.#clock.sleep(followerLimits.retryPauseMs, this.#stopping.signal)
      return { messages: [], eofs: [] }
    }
  }
}
