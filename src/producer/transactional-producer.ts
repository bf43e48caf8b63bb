import type { Clock } from '../base/clock.js'
import type { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { GroupConsumer, TopicPartitionOffset } from '../consumer/group-consumer.js'
import type { SecuritySettings } from '../consumer/kafka-settings.js'

export interface ProducerLimits {
  readonly connectMsMax: number
  readonly initMsMax: number
  /** One try of a transactional call; tries follow each other while the trouble is passing. */
  readonly callMsMax: number
  /** All tries of one call together. */
  readonly retryMsMax: number
  readonly retryPauseMs: number
  /** Pause while the local queue is full. */
  readonly queueFullPauseMs: number
  readonly closeMsMax: number
}

export const producerLimits: ProducerLimits = {
  connectMsMax: 30_000,
  initMsMax: 60_000,
  callMsMax: 15_000,
  retryMsMax: 60_000,
  retryPauseMs: 50,
  queueFullPauseMs: 1,
  closeMsMax: 10_000,
}

export interface ProducerOptions {
  readonly brokers: string
  readonly transactionalId: string
  readonly security?: SecuritySettings
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: Partial<ProducerLimits>
  /** A record that could not be delivered; its transaction can only be aborted. */
  readonly onDeliveryError?: (error: HarrierError) => void
  /** More librdkafka settings, for measurements. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
}

/**
 * The seam to Kafka on the way out: one transactional producer, one transaction at a time.
 *
 *     init -> ready -- begin --> open -- send, sendOffsets --> open -- commit --> ready
 *                                  \---- abort, or a call that failed: abort ---> ready
 *     any call may end in: fenced (for good)
 *
 * Errors of every call but `init`:
 * TRANSACTION_ABORTED: the transaction cannot commit; call `abort`, undo the batch and process it again.
 * FENCED: another producer has initialised this id, or the broker gave this one up; close, and start anew.
 * BROKER_UNAVAILABLE: the broker did not answer within the limit. Of `commit` this leaves the outcome unknown: if `abort`
 * fails too, close, start anew with the same id (which settles it), and let the committed offsets tell.
 */
export interface TransactionalProducer {
  /** Connects, fences predecessors of the same transactional id and ends their open transaction. */
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
