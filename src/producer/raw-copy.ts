import type { Clock } from '../base/clock.js'
import { RecordColumns } from '../base/record-columns.js'
import type { GroupConsumer, TopicPartition, TopicPartitionOffset } from '../consumer/group-consumer.js'
import type { TransactionalProducer } from './transactional-producer.js'

export interface RawCopyOptions {
  readonly consumer: GroupConsumer
  /** Initialised already. */
  readonly producer: TransactionalProducer
  /** Names of the inputs, in the order of the consumer's topic index. */
  readonly inputs: readonly string[]
  /** Output of each input; records keep their partition. */
  readonly outputs: readonly string[]
  readonly batchRecordsMax: number
  readonly batchDelayMsMax: number
  readonly clock: Clock
  /** Asked before each batch. */
  readonly isDone: (copied: number) => boolean
  /** Duration of each commit, from the call to the acknowledgement. */
  readonly onCommit?: (commitMs: number, records: number) => void
}

/**
 * The bare exactly-once copy: poll, produce, offsets, commit. What the pipeline is measured against, with the pipeline's own
 * adapters and settings. One batch ahead is polled while a commit runs, as the engine does. Partitions must not move meanwhile:
 * there is no undo here.
 */
export async function rawCopy(options: RawCopyOptions): Promise<number> {
  const { consumer, producer, outputs, clock } = options
  const pollOptions = { recordsMax: options.batchRecordsMax, delayMsMax: options.batchDelayMsMax }
  let current = new RecordColumns(options.batchRecordsMax)
  let ahead = new RecordColumns(options.batchRecordsMax)
  let copied = 0
  await consumer.poll(current, pollOptions)
  while (!options.isDone(copied)) {
    if (current.count === 0) {
      await consumer.poll(current, pollOptions)
      continue
    }
    await producer.begin()
    await producer.send(current, outputs)
    await producer.sendOffsets(offsetsAfter(current, options.inputs), consumer)
    const startMs = clock.monotonicMs()
    const committed = producer.commit().then(() => options.onCommit?.(clock.monotonicMs() - startMs, current.count))
    ahead.reset()
    await Promise.all([committed, consumer.poll(ahead, pollOptions)])
    copied += current.count
    ;[current, ahead] = [ahead, current]
  }
  return copied
}

/** The offsets to commit after a batch: of each partition in it, the one after its last record. */
export function offsetsAfter(columns: RecordColumns, topics: readonly string[]): TopicPartitionOffset[] {
  const last = new Map<number, TopicPartitionOffset>()
  const { topic, partition, offset, count } = columns
  let previous = -1
  for (let row = count - 1; row >= 0; row--) {
    const id = topic[row]! * partitionsMax + partition[row]!
    if (id === previous) continue
    previous = id
    if (!last.has(id)) last.set(id, { topic: topics[topic[row]!]!, partition: partition[row]!, offset: offset[row]! + 1 })
  }
  return [...last.values()]
}

/** Asserted by Kafka itself far below: no topic has so many partitions. */
const partitionsMax = 1 << 22

/** The handlers of a consumer whose partitions need no restore. */
export function resumeAtOnce(consumer: () => GroupConsumer, onFatal: (error: Error) => void) {
  return {
    onAssigned: (partitions: readonly TopicPartition[]) => consumer().resume(partitions),
    onRevoked: () => Promise.resolve(),
    onLost: () => Promise.resolve(),
    onFatal,
  }
}
