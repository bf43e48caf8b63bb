import { openCore, type EngineOptions } from './open-engine.js'
import { RdkafkaTransactionalProducer } from '../producer/rdkafka-transactional-producer.js'
import { topologyNames } from './names.js'
import { Rebuild, type RebuildProgress, type RebuiltPartition } from './rebuild.js'
import { TaskRestorer } from './restore.js'

export interface RebuildStateOptions extends Omit<EngineOptions, 'instanceId' | 'signal'> {
  readonly signal: AbortSignal
  readonly onProgress: (progress: RebuildProgress) => void
  /** After each partition; null: nothing was scored of it under another generation. */
  readonly onPartition: (partition: number, rebuilt: RebuiltPartition | null) => void
}

/**
 * Rebuilds the state generation of a topology, all partitions. One process at a time: a second one fences the first.
 * Errors: those of `openCore`; RESTORE_IMPOSSIBLE, LAYOUT_CHANGED, MODEL_FAILED.
 */
export async function rebuildState(options: RebuildStateOptions): Promise<void> {
  const { topology, clock, logger, signal, onProgress, onPartition } = options
  const names = topologyNames(topology, options.namespace)
  const transactionalId = names.transactionalId(`rebuild-${topology.stage.generation}`)
  const { client, partitions, registry, stage, outputs, reader } = await openCore(options, names, transactionalId, {})
  const producer = new RdkafkaTransactionalProducer({ ...client, transactionalId })
  try {
    await producer.init()
    const lineage = { reader, names, registry }
    const restorer = new TaskRestorer({ ...lineage, clock, logger })
    const rebuild = new Rebuild({ stage, outputs, names, producer, restorer, reader, lineage, clock, signal, onProgress })
    for (let partition = 0; partition < partitions; partition++) onPartition(partition, await rebuild.partition(partition))
  } finally {
    await producer.close()
    await reader.close()
    await stage.scorer.close()
  }
}
