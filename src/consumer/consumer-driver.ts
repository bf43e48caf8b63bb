import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { KafkaSecurity } from '../connection/security.js'
import type { CommittedOffset, TopicPartition, TopicPartitionOffset } from './group-consumer.js'
import type { KafkaClientName } from './kafka-client.js'
import type { KafkaError } from './kafka-errors.js'
import { NativeConsumerDriver } from './native-consumer-driver.js'
import { NodeConsumerDriver } from './node-consumer-driver.js'

/** What a consumer of librdkafka tells besides answers. */
export interface ConsumerEvents {
  /** `isLost`: others may own the partitions already; undefined where the client cannot tell. */
  onRebalance(error: KafkaError, partitions: readonly TopicPartition[], isLost: boolean | undefined): void
  onError(error: KafkaError): void
  onLog(facility: string | undefined, message: string): void
}

export interface ConsumerDriverOptions {
  readonly brokers: string
  readonly security?: KafkaSecurity | undefined
  readonly clock: Clock
  readonly logger: Logger
  /** All settings of librdkafka. */
  readonly configuration: Readonly<Record<string, unknown>>
  /** Their order gives the topic index; `setTopics` changes them. */
  readonly topics: readonly string[]
  readonly events: ConsumerEvents
}

export interface EofEvent extends TopicPartition {
  readonly offset: number
}

export interface DriverPoll {
  /** Errors between the records; what follows an error of a partition is not affected by it. */
  readonly errors: readonly KafkaError[]
  readonly eofs: readonly EofEvent[]
}

export interface DriverPollOptions {
  readonly recordsMax: number
  /** Longest wait for the first record, end of a partition, or error. */
  readonly delayMsMax: number
  /** Longest wait for more records. */
  readonly fillMsMax: number
  /** Whether the wait for more is to end, since records must not pass any more. */
  readonly isHeld: () => boolean
}

export interface Watermarks {
  /** First offset that is still there. */
  readonly low: number
  /** End for readers of committed records (the last stable offset). */
  readonly stableEnd: number
}

/**
 * librdkafka's consumer, without rules of our own: `RdkafkaGroupConsumer` and `RangeReader` are written once over it. Rejections
 * are KafkaErrors, HarrierErrors only out of `connect`. One poll at a time.
 */
export interface ConsumerDriver {
  /** What the paired producer driver needs to send offsets. */
  readonly membership: unknown
  readonly isConnected: boolean
  /** Errors: BROKER_UNAVAILABLE with what librdkafka said last; AUTHENTICATION_FAILED, CERTIFICATE_REFUSED, CONFIG_INVALID (no TLS there). */
  connect(limitMs: number): Promise<void>
  setTopics(topics: readonly string[]): void
  subscribe(): void
  assign(partitions: readonly TopicPartitionOffset[]): void
  unassign(): void
  incrementalAssign(partitions: readonly TopicPartitionOffset[]): void
  incrementalUnassign(partitions: readonly TopicPartition[]): void
  pause(partitions: readonly TopicPartition[]): void
  resume(partitions: readonly TopicPartition[]): void
  seek(partition: TopicPartitionOffset, timeoutMs: number): Promise<void>
  committed(partitions: readonly TopicPartition[], timeoutMs: number): Promise<CommittedOffset[]>
  watermarks(topic: string, partition: number, timeoutMs: number): Promise<Watermarks>
  /** Whether the brokers know the partition now; librdkafka's cache learns it too. */
  partitionExists(topic: string, partition: number, timeoutMs: number): Promise<boolean>
  /** The high watermark as the last fetch told it, without asking; null before the first. */
  knownEnd(topic: string, partition: number): number | null
  /** Appends records of all topics, in the order of each partition. */
  poll(into: RecordColumns, options: DriverPollOptions): Promise<DriverPoll>
  close(limitMs: number): Promise<void>
}

export function openConsumerDriver(name: KafkaClientName, options: ConsumerDriverOptions): ConsumerDriver {
  return name === 'native' ? new NativeConsumerDriver(options) : new NodeConsumerDriver(options)
}
