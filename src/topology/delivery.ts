import type { Topology } from './load-topology.js'

/** Batches whose outputs are out and that have not committed, where the topology does not say. */
const earlyBatchesDefault = 8

/** Scored events and alerts leave before their transaction. What a stage passes on never does: the state of the next one counts it. */
export function publishesEarly({ spec, forward }: Pick<Topology, 'spec' | 'forward'>): boolean {
  return spec.delivery === 'atLeastOnce' && forward === undefined
}

/** Batches that are folded and have not committed, besides the one that is committing. */
export function batchesAheadMax(topology: Pick<Topology, 'spec' | 'forward'>): number {
  const { limits } = topology.spec
  return publishesEarly(topology) ? (limits.earlyBatchesMax ?? earlyBatchesDefault) : limits.batchesAheadMax
}
