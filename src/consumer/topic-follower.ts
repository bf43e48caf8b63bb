import type { Clock } from '../base/clock.js'
import { silentLogger } from '../base/logger.js'
import { RecordColumns } from '../base/record-columns.js'
import { connectMsMaxDefault } from '../connection/connection-schema.js'
import type { ClusterConnection } from '../connection/security.js'
import { queryWatermarks, withRetries } from './kafka-calls.js'
import { asHarrierError, isPassing, kafkaCode, type KafkaError } from './kafka-errors.js'
import { librdkafkaSecurity } from './kafka-security.js'
import { rangeReaderSettings, toConfiguration } from './kafka-settings.js'
import { NativeConsumerDriver, type Watermarks } from './native-consumer-driver.js'

export const followerLimits = {
  batchRecordsMax: 2000,
  /** One wait for records; also how long an idle fetch parks at the broker. */
  pollMsMax: 100,
  queryMsMax: 10_000,
  retryPauseMs: 100,
  caughtUpPauseMs: 10,
  closeMsMax: 500,
} as const

export interface StartingPoint {
  readonly topic: string
  readonly partition: number
  readonly offset: number | 'earliest'
}

const earliestOffset = -2

type FollowedCluster = Pick<ClusterConnection, 'brokers' | 'security' | 'connectMsMax'>

/** Gets the records of a batch, of `topics[columns.topic[row]]` each. They are gone when it is back. */
export type OnBatch = (columns: RecordColumns, topics: readonly string[]) => void | Promise<void>

/**
 * Reads committed records of some partitions from a starting point on and never ends by itself. It joins no group and
 * commits nothing, so it can watch any topic without leaving a trace.
 */
export class TopicFollower {
  readonly #connection: FollowedCluster
  readonly #clock: Clock
  readonly #driver: NativeConsumerDriver
  readonly #stopping = new AbortController()
  /** Where the follower stands in each partition, by `topic/partition`. */
  readonly #positions = new Map<string, number>()
  #partitions: readonly StartingPoint[] = []
  #topics: readonly string[] = []
  #running: Promise<void> = Promise.resolve()

  constructor(connection: FollowedCluster, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
    const { brokers, security } = connection
    const configuration = toConfiguration(rangeReaderSettings, { 'metadata.broker.list': brokers, ...librdkafkaSecurity(security), 'client.id': 'harrier-follower', 'fetch.wait.max.ms': followerLimits.pollMsMax })
    // What matters comes back from reading; a broker that is away for a moment is waited for.
    const events = { onError: () => undefined, onLog: () => undefined, onRebalance: () => undefined }
    this.#driver = new NativeConsumerDriver({ brokers, security, topics: [], clock, logger: silentLogger, configuration, events })
  }

  connect(): Promise<void> {
    return this.#driver.connect(this.#connection.connectMsMax ?? connectMsMaxDefault)
  }

  /** Partitions of every topic on the broker. */
  partitionCounts(): Promise<Map<string, number>> {
    return this.#retried('asking for the topics', (leftMs) => this.#driver.partitionCounts(leftMs))
  }

  watermarks(topic: string, partition: number): Promise<Watermarks> {
    return this.#retried(`asking for the ends of ${topic}/${partition}`, (leftMs) => queryWatermarks(this.#driver, topic, partition, leftMs))
  }

  #retried<T>(what: string, call: (leftMs: number) => Promise<T>): Promise<T> {
    return withRetries(what, call, { limitMs: followerLimits.queryMsMax, pauseMs: followerLimits.retryPauseMs, clock: this.#clock })
  }

  /** Calls back with each batch until `close`; rejects when reading fails for good, or the callback does. */
  follow(partitions: readonly StartingPoint[], onBatch: OnBatch): Promise<void> {
    this.#partitions = partitions
    this.#topics = [...new Set(partitions.map(({ topic }) => topic))]
    this.#driver.setTopics(this.#topics)
    this.#driver.assign(partitions.map(({ topic, partition, offset }) => ({ topic, partition, offset: offset === 'earliest' ? earliestOffset : offset })))
    this.#running = this.#read(onBatch)
    return this.#running
  }

  /** Resolves when everything that is committed by now has been given; false when that takes longer than `limitMs`. */
  async caughtUp(limitMs: number): Promise<boolean> {
    const endMs = this.#clock.monotonicMs() + limitMs
    const ends = await Promise.all(this.#partitions.map(async ({ topic, partition }) => ({ name: `${topic}/${partition}`, ...(await this.watermarks(topic, partition)) })))
    for (;;) {
      if (ends.every(({ name, low, stableEnd }) => low === stableEnd || (this.#positions.get(name) ?? 0) >= stableEnd)) return true
      if (this.#clock.monotonicMs() > endMs || this.#stopping.signal.aborted) return false
      await this.#clock.sleep(followerLimits.caughtUpPauseMs, this.#stopping.signal)
    }
  }

  /** Nothing is called back any more once it is back, unless a callback is at work then. */
  async close(): Promise<void> {
    this.#stopping.abort()
    // It ends the wait of a poll under way.
    await this.#driver.close(followerLimits.closeMsMax)
    await this.#running.catch(() => undefined)
  }

  async #read(onBatch: OnBatch): Promise<void> {
    const columns = new RecordColumns(followerLimits.batchRecordsMax)
    while (!this.#stopping.signal.aborted) {
      columns.reset()
      const { errors, eofs } = await this.#driver.poll(columns, { recordsMax: followerLimits.batchRecordsMax, delayMsMax: followerLimits.pollMsMax, fillMsMax: 0 })
      if (this.#stopping.signal.aborted) return
      if (columns.count > 0) {
        const wait = onBatch(columns, this.#topics)
        if (wait) await wait
        this.#moveOn(columns)
      }
      for (const { topic, partition, offset } of eofs) this.#positions.set(`${topic}/${partition}`, offset)
      for (const error of errors) await this.#onError(error)
    }
  }

  /** Records come in runs of a partition: one step for each run. */
  #moveOn({ topic, partition, offset, count }: RecordColumns): void {
    for (let row = 0; row < count; row++) {
      const isLast = row + 1 === count || topic[row + 1] !== topic[row] || partition[row + 1] !== partition[row]
      if (isLast) this.#positions.set(`${this.#topics[topic[row]!]!}/${partition[row]!}`, offset[row]! + 1)
    }
  }

  async #onError(error: KafkaError): Promise<void> {
    const { code } = error
    const gone = code === kafkaCode.unknownTopic || code === kafkaCode.unknownTopicOrPartition || code === kafkaCode.unknownPartition
    if (gone) throw asHarrierError('TOPIC_MISSING', 'the topic is gone', error)
    const harmless = code === kafkaCode.groupAuthorization
    if (!harmless && !isPassing(error) && !error.isRetriable) throw asHarrierError('BROKER_UNAVAILABLE', 'reading', error)
    await this.#clock.sleep(followerLimits.retryPauseMs, this.#stopping.signal)
  }
}
