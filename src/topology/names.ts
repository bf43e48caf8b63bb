import type { Topology } from './load-topology.js'

/** Every name that a running topology has on the cluster. A namespace prefixes them all. */
export interface TopologyNames {
  readonly input: string
  readonly scored: string
  readonly alerts: string
  readonly deadLetters: string
  readonly lineage: string
  readonly group: string
  /** Topic of each sink, by `Sink`. */
  readonly sinks: readonly string[]
  instance(instanceId: string): string
  transactionalId(instanceId: string): string
}

export function topologyNames(topology: Pick<Topology, 'name' | 'spec'>, namespace = ''): TopologyNames {
  const prefix = namespace === '' ? '' : `${namespace}.`
  const own = `${prefix}${topology.name}`
  const sinks = [`${own}.scored`, `${own}.alerts`, `${own}.dlq`, `${own}.lineage`] as const
  return {
    input: `${prefix}${topology.spec.source.topic}`,
    scored: sinks[0],
    alerts: sinks[1],
    deadLetters: sinks[2],
    lineage: sinks[3],
    group: own,
    sinks,
    instance: (instanceId) => `${own}-${instanceId}`,
    transactionalId: (instanceId) => `${own}-${instanceId}-0`,
  }
}
