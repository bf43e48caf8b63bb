import { loadOwnSchema } from '../codec/schema-files.js'
import type { Topology } from './load-topology.js'
import type { TopologyNames } from './names.js'
import type { SubjectStrategy } from './topology-schema.js'

export interface OutputSubject {
  readonly topic: string
  readonly subject: string
  /** What a person finds it by: the name of a file in schemas/, or of what a stage passes on. */
  readonly schemaName: string
  readonly schema: object
  /** Member of `SchemaIds`. */
  readonly id: 'scored' | 'alert' | 'lineage' | 'forward'
}

/** The subjects of the topics that a stage writes. A namespace prefixes them, as all names. */
export function outputSubjects(topology: Pick<Topology, 'spec' | 'forward'>, names: TopologyNames): OutputSubject[] {
  const strategy = topology.spec.schemas?.subjects ?? 'topic'
  const { forward } = topology
  const outputs = [
    ...(forward
      ? [{ id: 'forward' as const, topic: names.forward!, schemaName: `${forward.to.stageName}-repartition`, schema: forward.schema }]
      : [
          { id: 'scored' as const, topic: names.scored, schemaName: 'scored-event', schema: loadOwnSchema('scored-event') },
          { id: 'alert' as const, topic: names.alerts, schemaName: 'alert', schema: loadOwnSchema('alert') },
        ]),
    { id: 'lineage' as const, topic: names.lineage, schemaName: 'lineage', schema: loadOwnSchema('lineage') },
  ]
  return outputs.map((output) => ({ ...output, subject: subjectName(strategy, output.topic, recordNameOf(output.schema)!, namespacePrefix(topology, names)) }))
}

/** The subjects of the topics of releases: always by topic, since they are no topology's own. Whoever releases registers them, or finds them. */
export function releaseSubjects({ releaseTopics: { releases, models } }: Pick<TopologyNames, 'releaseTopics'>): Omit<OutputSubject, 'id'>[] {
  return [
    { topic: releases, subject: `${releases}-value`, schemaName: 'release', schema: loadOwnSchema('release') },
    { topic: models, subject: `${models}-value`, schemaName: 'stage-models', schema: loadOwnSchema('stage-models') },
  ]
}

/** The subject of the input's values; undefined for plain JSON, which has none. */
export function inputSubject(topology: Pick<Topology, 'spec' | 'readerSchema'>, names: TopologyNames): string | undefined {
  const { format, subjects = 'topic', record } = topology.spec.source
  if (format === 'json') return undefined
  return subjectName(subjects, names.input, record ?? recordNameOf(topology.readerSchema) ?? '', namespacePrefix(topology, names))
}

/** The subject of the labels' values; undefined for plain JSON, and where the stage reads no labels itself. */
export function labelsSubject({ labels }: Pick<Topology, 'labels'>, names: TopologyNames): string | undefined {
  return labels && labels.spec.format !== 'json' ? `${names.labels}-value` : undefined
}

function subjectName(strategy: SubjectStrategy, topic: string, record: string, prefix: string): string {
  if (strategy === 'topic') return `${topic}-value`
  return strategy === 'record' ? `${prefix}${record}` : `${topic}-${record}`
}

/** `bank.pay.Payment` of an Avro schema, the title of a JSON Schema. */
export function recordNameOf(schema: object | undefined): string | undefined {
  const { name, namespace, title } = (schema ?? {}) as Record<string, unknown>
  if (typeof name !== 'string') return typeof title === 'string' ? title : undefined
  return typeof namespace === 'string' && namespace !== '' && !name.includes('.') ? `${namespace}.${name}` : name
}

function namespacePrefix({ spec }: Pick<Topology, 'spec'>, names: TopologyNames): string {
  return names.input.slice(0, names.input.length - spec.source.topic.length)
}
