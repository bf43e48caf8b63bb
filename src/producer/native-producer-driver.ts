import type { RecordColumns } from '../base/record-columns.js'
import type { TopicPartitionOffset } from '../consumer/group-consumer.js'
import type { NativeClient } from '../consumer/native-binding.js'
import { flatColumns, flatPartitions, NativeConnection, type NativeConnectionOptions } from '../consumer/native-connection.js'

/**
 * The producer of native/addon.cc, without rules of our own: `RdkafkaTransactionalProducer` and `RecordProducer` are written over it.
 * Rejections are KafkaErrors, HarrierErrors only out of `connect`. A call may be back late, or never (see there, invariant 5).
 */
export class NativeProducerDriver {
  readonly #connection: NativeConnection

  constructor(options: NativeConnectionOptions) {
    this.#connection = new NativeConnection(false, options)
  }

  connect(limitMs: number): Promise<void> {
    return this.#connection.connect(limitMs)
  }

  init(timeoutMs: number): Promise<void> {
    return this.#connection.client.initTransactions(timeoutMs)
  }

  begin(): Promise<void> {
    return this.#connection.client.begin()
  }

  /** Queues each row in a thread of its own, which waits while the queue is full. The columns must not change until then. */
  send(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    if (columns.count === 0) return Promise.resolve()
    return this.#connection.client.send(flatColumns(columns), columns.count, topics)
  }

  sendOffsets(offsets: readonly TopicPartitionOffset[], membership: NativeClient, timeoutMs: number): Promise<void> {
    return this.#connection.client.sendOffsets(flatPartitions(offsets), membership, timeoutMs)
  }

  commit(timeoutMs: number): Promise<void> {
    return this.#connection.client.commit(timeoutMs)
  }

  abort(timeoutMs: number): Promise<void> {
    return this.#connection.client.abort(timeoutMs)
  }

  /** Waits until all that is queued has been delivered or has failed, which is told before; false: it was not within the time-out. */
  flush(timeoutMs: number): Promise<boolean> {
    return this.#connection.client.flush(timeoutMs).then(() => true, () => false)
  }

  /** As the brokers say now. */
  partitionCount(topic: string, timeoutMs: number): Promise<number> {
    return this.#connection.client.partitionCount(topic, timeoutMs)
  }

  close(limitMs: number): Promise<void> {
    return this.#connection.close(limitMs)
  }
}
