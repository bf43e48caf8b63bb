import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { KafkaSecurity } from '../connection/security.js'
import type { TopicPartitionOffset } from '../consumer/group-consumer.js'
import type { KafkaClientName } from '../consumer/kafka-client.js'
import type { KafkaError } from '../consumer/kafka-errors.js'
import { NativeProducerDriver } from './native-producer-driver.js'
import { NodeProducerDriver } from './node-producer-driver.js'

export interface ProducerEvents {
  onError(error: KafkaError): void
  onLog(facility: string | undefined, message: string): void
  /** A record that could not be delivered; those that an abort purged are left out. */
  onDeliveryError(error: KafkaError): void
}

export interface ProducerDriverOptions {
  readonly brokers: string
  readonly security?: KafkaSecurity | undefined
  readonly clock: Clock
  readonly logger: Logger
  /** All settings of librdkafka. */
  readonly configuration: Readonly<Record<string, unknown>>
  readonly queueFullPauseMs: number
  readonly events: ProducerEvents
}

/**
 * librdkafka's transactional producer, without rules of our own: `RdkafkaTransactionalProducer` is written once over it.
 * Rejections are KafkaErrors, HarrierErrors only out of `connect`. A call may be back late, or never (see there, invariant 5).
 */
export interface ProducerDriver {
  connect(limitMs: number): Promise<void>
  init(timeoutMs: number): Promise<void>
  begin(): Promise<void>
  /** Queues each row, and waits while the queue is full. The columns must not change until then. */
  send(columns: RecordColumns, topics: readonly string[]): Promise<void>
  /** `membership`: of a consumer with a driver of the same kind. */
  sendOffsets(offsets: readonly TopicPartitionOffset[], membership: unknown, timeoutMs: number): Promise<void>
  commit(timeoutMs: number): Promise<void>
  abort(timeoutMs: number): Promise<void>
  /** Waits until what is queued is delivered; ends after the time-out without a word. */
  flush(timeoutMs: number): Promise<void>
  close(limitMs: number): Promise<void>
}

export function openProducerDriver(name: KafkaClientName, options: ProducerDriverOptions): ProducerDriver {
  return name === 'native' ? new NativeProducerDriver(options) : new NodeProducerDriver(options)
}
