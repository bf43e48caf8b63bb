import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { Secret } from '../connection/secret.js'
import type { ClusterConnection, connectLimits } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { RdkafkaTransactionalProducer } from '../producer/rdkafka-transactional-producer.js'
import type { EngineCounters } from './engine-stats.js'
import { HttpTarget, LineageOutlet, TopicTarget, type LineageTarget } from './lineage-outlet.js'
import type { Topology } from './load-topology.js'
import type { TopologyNames } from './names.js'
import { jobName, type RunContext } from './run-event.js'
import { RunLineage } from './run-lineage.js'
import type { Stage } from './stage.js'

/** Where OpenLineage events go; one of them at least. */
export interface OpenLineageOptions {
  /** To which each event is POSTed. */
  readonly url?: string | undefined
  readonly apiKey?: Secret | undefined
  readonly topic?: string | undefined
  /** The namespace of jobs. */
  readonly jobNamespace: string
}

interface RunOptions extends Pick<ClusterConnection, 'brokers' | 'security'> {
  readonly topology: Topology
  readonly instanceId: string
  readonly createTopics?: object | undefined
  readonly clock: Clock
  readonly logger: Logger
}

interface RunParts {
  readonly names: TopologyNames
  readonly client: Pick<RunOptions, 'brokers' | 'security' | 'clock' | 'logger'> & ReturnType<typeof connectLimits>
  readonly stage: Stage
  readonly counters: EngineCounters
}

/** Tells of the runs of one stage. Errors: TOPIC_MISSING. */
export async function openRunLineage({ topology, brokers, instanceId, createTopics, clock, logger }: RunOptions, { url, apiKey, topic, jobNamespace }: OpenLineageOptions, { names, client, stage, counters }: RunParts): Promise<RunLineage> {
  const context: RunContext = { topology, names, brokers, jobNamespace, instanceId, deviceClass: stage.scorer.deviceClass }
  const targets: LineageTarget[] = []
  if (url !== undefined) targets.push(new HttpTarget(url, apiKey))
  if (topic !== undefined) {
    await withAdmin(client, (admin) => admin.ensureTopics([{ topic, partitions: 1 }], { create: createTopics !== undefined }))
    // Begins as the ids of the instance do, for which it has the right.
    const transactionalId = `${names.instance(instanceId)}-openlineage`
    targets.push(new TopicTarget(topic, jobName(context), () => new RdkafkaTransactionalProducer({ ...client, transactionalId })))
  }
  return new RunLineage({
    context, clock,
    outlets: targets.map((target) => new LineageOutlet(target, { clock, logger })),
    inForce: () => stage.scorer.inForce,
    counts: () => ({ scored: counters.scored, alerts: counters.alerts, deadLetters: counters.deadLetters }),
  })
}
