import type { Clock } from '../base/clock.js'
import type { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { GroupConsumer, TopicPartitionOffset } from '../consumer/group-consumer.js'
import type { KafkaSecurity } from '../connection/security.js'
import type { ExtraSettings } from '../consumer/kafka-settings.js'

export interface ProducerLimits {
  readonly connectMsMax: number
  readonly initMsMax: number
  /** How long a reviving `init` waits for a broker: longer than one takes to start again on a busy machine. */
  readonly reviveMsMax: number
  /** The time-out of one try of a transactional call; tries follow each other while the trouble is passing. */
  readonly callMsMax: number
  /** A native call that is not back so long after its time-out is given up, and its client with it. */
  readonly overdueMsMax: number
  /** All tries of one call together: longer than `transaction.timeout.ms`, after which the broker ends the transaction by itself. */
  readonly retryMsMax: number
  readonly retryPauseMs: number
  /** How long an abort lets the broker take the records that register the transaction. */
  readonly registerMsMax: number
  readonly closeMsMax: number
}

export const producerLimits: ProducerLimits = {
  connectMsMax: 30_000,
  initMsMax: 60_000,
  reviveMsMax: 120_000,
  callMsMax: 5000,
  overdueMsMax: 5000,
  retryMsMax: 15_000,
  retryPauseMs: 50,
  registerMsMax: 2000,
  closeMsMax: 10_000,
}

export interface ProducerOptions {
  readonly brokers: string
  readonly transactionalId: string
  readonly security?: KafkaSecurity | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: Partial<ProducerLimits>
  /** A record that could not be delivered; its transaction can only be aborted. */
  readonly onDeliveryError?: (error: HarrierError) => void
  /** More librdkafka settings, for measurements. */
  readonly settings?: ExtraSettings
}

/**
 * The seam to Kafka on the way out: one transactional producer, one transaction at a time.
 *
 *     init -> ready -- begin --> open -- send, sendOffsets --> open -- commit --> ready
 *                                  \---- abort, or a call that failed: abort ---> ready
 *     any call may end in: dead, until another init
 *
 * Errors of every call but `init`:
 * TRANSACTION_ABORTED: the transaction cannot commit; call `abort`, undo the batch and process it again.
 * FENCED: another producer has initialised this id, or the broker ended the transaction after transaction.timeout.ms (a
 * broker that was away, a process that stood still), or librdkafka gave up. Only `init` leads on, and only after the
 * consumer has shown that it is no twin's victim: a fenced membership comes through `onFatal` within a heartbeat.
 * BROKER_UNAVAILABLE: the broker did not answer within the limit, or librdkafka did not come back. Only `init` leads on.
 *
 * After FENCED or BROKER_UNAVAILABLE out of `commit` the outcome is not known. `init` settles it; then the group's
 * committed offsets tell whether the batch has committed. Never process it again without asking.
 */
export interface TransactionalProducer {
  /** Connects, fences predecessors of the same transactional id and ends their open transaction; also revives after FENCED and BROKER_UNAVAILABLE. */
  init(): Promise<void>
  begin(): Promise<void>
  /** Queues each row: `topics[row.topic]`, its explicit partition, key, value, timestamp and headers. Waits while the queue is full. */
  send(columns: RecordColumns, topics: readonly string[]): Promise<void>
  /**
   * Adds the consumer's offsets (next to read) to the transaction, with its group metadata, which fences a dead member.
   * It does not fence partitions: the caller has asked `consumer.isOwnedSince` for each of them.
   */
  sendOffsets(offsets: readonly TopicPartitionOffset[], consumer: Pick<GroupConsumer, 'membership'>): Promise<void>
  /** Flushes and commits. When it is fulfilled, records and offsets are visible together. */
  commit(): Promise<void>
  /** Drops what is queued and ends the transaction without a trace for committed readers; nothing to do when none is open. */
  abort(): Promise<void>
  close(): Promise<void>
  readonly transactionalId: string
}
