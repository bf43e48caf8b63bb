import type { RecordColumns } from '../base/record-columns.js'
import type { GroupConsumer, TopicPartitionOffset } from '../consumer/group-consumer.js'

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
 * BROKER_UNAVAILABLE: the outcome is not known within the limit; `abort` tells (it waits for the broker).
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
  /** Drops what is queued and ends the transaction without a trace for committed readers. */
  abort(): Promise<void>
  close(): Promise<void>
  readonly transactionalId: string
}
