import { HarrierError } from '../../base/errors.js'
import type { TopologyNames } from '../../topology/names.js'

/** Topics of a topology by a short name. */
export const topicAliases = {
  scored: 'scored',
  alerts: 'alerts',
  lineage: 'lineage',
  dlq: 'deadLetters',
  input: 'input',
} as const satisfies Record<string, keyof TopologyNames>

/** Names that an error suggests. */
const suggestionsMax = 5

/** The topic that a person means: a short name of the topology, or a full name with or without the namespace. */
export function topicNamed(name: string, names: TopologyNames, namespace: string | undefined): string {
  if (name in topicAliases) return names[topicAliases[name as keyof typeof topicAliases]]
  if (namespace === undefined || name.startsWith(`${namespace}.`)) return name
  return `${namespace}.${name}`
}

/** Partitions of the topic, of all that are there. Throws TOPIC_MISSING that names topics which end alike. */
export function partitionsOf(topic: string, all: ReadonlyMap<string, number>): number {
  const partitions = all.get(topic)
  if (partitions !== undefined) return partitions
  const alike = [...all.keys()].filter((other) => isAlike(other, topic)).sort()
  throw new HarrierError('TOPIC_MISSING', `topic ${topic} is not on the broker, or not for us to see`, {
    remedy:
      alike.length > 0
        ? `there is ${alike.slice(-suggestionsMax).join(', ')}: give the full name, or --namespace`
        : "check the name and --brokers; `harrier run --create-topics` creates a topology's topics; on a secured cluster a topic on which we have no right is not there for us (tail needs Read)",
  })
}

function isAlike(other: string, wanted: string): boolean {
  const last = (name: string): string => name.slice(name.lastIndexOf('.') + 1)
  return !other.startsWith('__') && last(other) === last(wanted)
}
