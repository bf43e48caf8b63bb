import { HarrierError } from '../base/errors.js'
import type { GroupConsumer, TopicPartitionOffset } from '../consumer/group-consumer.js'
import type { TransactionalProducer } from '../producer/transactional-producer.js'
import type { Batch } from './batch.js'
import type { TopologyNames } from './names.js'

export interface TransactionParts {
  readonly producer: TransactionalProducer
  readonly names: TopologyNames
  readonly consumer: Pick<GroupConsumer, 'isOwnedSince' | 'membership'>
}

/** One transaction for these batches, oldest first: outputs, changelog, lineage and offsets. */
export async function commitBatches(batches: readonly Batch[], { producer, names, consumer }: TransactionParts): Promise<void> {
  for (const batch of batches) assertOwned(batch, names, consumer)
  await producer.begin()
  for (const { outputs } of batches) await producer.send(outputs, names.sinks)
  await producer.sendOffsets(offsetsOf(batches, names), consumer)
  await producer.commit()
}

/** Group metadata fences dead members and not partitions: one that went and came back since the poll belongs to another fold. Errors: TRANSACTION_ABORTED. */
export function assertOwned({ parts, epoch }: Batch, names: TopologyNames, consumer: Pick<GroupConsumer, 'isOwnedSince'>): void {
  const lost = parts.find(({ task }) => !consumer.isOwnedSince({ topic: names.input, partition: task.partition }, epoch))
  if (lost) throw new HarrierError('TRANSACTION_ABORTED', `partition ${lost.task.partition} was taken away before its batch could commit`)
}

/** Where the group stands when the batches have committed. */
function offsetsOf(batches: readonly Batch[], names: TopologyNames): TopicPartitionOffset[] {
  const offsets = new Map<string, TopicPartitionOffset>()
  const add = (topic: string, partition: number, offset: number): void => void offsets.set(`${topic}/${partition}`, { topic, partition, offset })
  for (const { parts } of batches) {
    for (const { task, to, labelsTo } of parts) {
      add(names.input, task.partition, to)
      // For those who watch the group: the lineage is what a restore goes by.
      if (labelsTo >= 0) add(names.labels!, task.partition, labelsTo)
    }
  }
  return [...offsets.values()]
}
