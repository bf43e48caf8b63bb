import { HarrierError } from '../base/errors.js'
import { releaseTopics, type ReleaseTopics } from '../registry/release-topics.js'
import { repartitionTopic, type Topology } from './load-topology.js'

/** Index of each sink in `RecordColumns.topic` of a batch's outputs. */
export const Sink = { scored: 0, alerts: 1, deadLetters: 2, lineage: 3, state: 4, forward: 5 } as const

/** Every name that a running topology has on the cluster. A namespace prefixes them all. */
export interface TopologyNames {
  readonly input: string
  readonly scored: string
  readonly alerts: string
  readonly deadLetters: string
  /** Claims of idempotency keys. */
  readonly requests: string
  readonly lineage: string
  /** The changelog of the stage's state generation, compacted. */
  readonly state: string
  /** The input of the next stage; undefined for the last one. */
  readonly forward: string | undefined
  /** The labels that the stage reads itself. */
  readonly labels: string | undefined
  /** What is released, and by whom: of all topologies of the namespace. */
  readonly releaseTopics: ReleaseTopics
  readonly group: string
  /** Topic of each sink, by `Sink`. */
  readonly sinks: readonly string[]
  /** topology/stage/partition; from the second state generation on topology/stage.generation/partition. */
  task(partition: number): string
  isTaskOfAnyGeneration(task: string): boolean
  instance(instanceId: string): string
  transactionalId(instanceId: string): string
  /** The transactional id of the member with this `instance` name. */
  transactionalIdOf(instance: string): string
}

/** @throws HarrierError USAGE for a namespace that cannot be part of a topic's name. */
export function topologyNames(topology: Pick<Topology, 'name' | 'spec' | 'stageName' | 'stage' | 'place' | 'forward' | 'labels'>, namespace = ''): TopologyNames {
  if (!/^[a-zA-Z0-9._-]{0,100}$/.test(namespace)) {
    throw new HarrierError('USAGE', `"${namespace}" is not a namespace`, { remedy: 'use letters, digits, . _ and -, a hundred at most' })
  }
  const prefix = namespace === '' ? '' : `${namespace}.`
  const own = `${prefix}${topology.name}`
  const { generation } = topology.stage
  const stage = `${topology.name}/${topology.stageName}`
  const ofAnyGeneration = new RegExp(`^${stage}(\\.\\d+)?/\\d+$`)
  // A group of its own for each stage: what one has done is no news to the others.
  const group = topology.place === 0 ? own : `${own}.${topology.stageName}`
  const forward = topology.forward && `${prefix}${repartitionTopic(topology.name, topology.forward.to.stageName)}`
  const sinks = [`${own}.scored`, `${own}.alerts`, `${own}.dlq`, `${own}.lineage`, `${own}.${topology.stageName}.state${generation === 1 ? '' : `-${generation}`}`, ...(forward === undefined ? [] : [forward])] as const
  return {
    input: `${prefix}${topology.spec.source.topic}`,
    scored: sinks[0],
    alerts: sinks[1],
    deadLetters: sinks[2],
    requests: `${own}.requests`,
    lineage: sinks[3],
    state: sinks[4],
    forward,
    labels: topology.labels && `${prefix}${topology.labels.spec.topic}`,
    releaseTopics: releaseTopics(namespace),
    group,
    sinks,
    task: (partition) => `${stage}${generation === 1 ? '' : `.${generation}`}/${partition}`,
    isTaskOfAnyGeneration: (task) => ofAnyGeneration.test(task),
    instance: (instanceId) => `${group}-${instanceId}`,
    transactionalId: (instanceId) => `${group}-${instanceId}-0`,
    transactionalIdOf: (instance) => `${instance}-0`,
  }
}
