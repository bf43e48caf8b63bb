import type { OwnSchema } from '../codec/schema-files.js'
import { loadOwnSchema } from '../codec/schema-files.js'
import type { Topology } from './load-topology.js'
import type { TopologyNames } from './names.js'
import type { SubjectStrategy } from './topology-schema.js'

/** What Harrier writes with a schema: the topic's member in `TopologyNames`, the schema file, the member in `SchemaIds`. */
export const outputSchemas = [
  { topic: 'scored', schema: 'scored-event', id: 'scored' },
  { topic: 'alerts', schema: 'alert', id: 'alert' },
  { topic: 'lineage', schema: 'lineage', id: 'lineage' },
] as const satisfies readonly { topic: keyof TopologyNames; schema: OwnSchema; id: string }[]

export interface OutputSubject {
  readonly topic: string
  readonly subject: string
  readonly schemaName: OwnSchema
  readonly schema: object
  readonly id: (typeof outputSchemas)[number]['id']
}

/** The subjects of the output topics. A namespace prefixes them, as all names. */
export function outputSubjects(topology: Pick<Topology, 'spec'>, names: TopologyNames): OutputSubject[] {
  const strategy = topology.spec.schemas?.subjects ?? 'topic'
  return outputSchemas.map(({ topic, schema: schemaName, id }) => {
    const schema = loadOwnSchema(schemaName)
    return { topic: names[topic], subject: subjectName(strategy, names[topic], recordNameOf(schema)!, namespacePrefix(topology, names)), schemaName, schema, id }
  })
}

/** The subject of the input's values; undefined for plain JSON, which has none. */
export function inputSubject(topology: Pick<Topology, 'spec' | 'readerSchema'>, names: TopologyNames): string | undefined {
  const { format, subjects = 'topic', record } = topology.spec.source
  if (format === 'json') return undefined
  return subjectName(subjects, names.input, record ?? recordNameOf(topology.readerSchema) ?? '', namespacePrefix(topology, names))
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
