import type { TopicSpecification } from '../consumer/admin.js'

/** The topics of releases, of all topologies of a namespace. */
export interface ReleaseTopics {
  /** Which versions are in force: compacted, by topology/stage. Engines follow it. */
  readonly models: string
  /** Who put them there: the ledger, whole. */
  readonly releases: string
}

export function releaseTopics(namespace = ''): ReleaseTopics {
  const prefix = namespace === '' ? '' : `${namespace}.`
  return { models: `${prefix}harrier.models`, releases: `${prefix}harrier.releases` }
}

/** One partition each: releases are few, and have one order. */
export function releaseTopicSpecifications({ models, releases }: ReleaseTopics): TopicSpecification[] {
  return [
    { topic: models, partitions: 1, config: { 'cleanup.policy': 'compact' } },
    { topic: releases, partitions: 1, config: { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1' } },
  ]
}

/** Two who release in one stage at once: the later one fences the other. */
export function releaserTransactionalId({ releases }: ReleaseTopics, { topology, stage }: { readonly topology: string; readonly stage: string }): string {
  return `${releases}-${topology}.${stage}`
}
