import { createHash } from 'node:crypto'
import { messageOf } from '../base/errors.js'
import { loadOwnSchema } from '../codec/schema-files.js'
import type { ScoringModels } from '../inference/scorer.js'
import { harrierVersion } from './harrier-version.js'
import type { Topology } from './load-topology.js'
import type { TopologyNames } from './names.js'

// Names and versions of OpenLineage, https://openlineage.io/spec/2-0-2/OpenLineage.json and its facets.
const spec = 'https://openlineage.io/spec'
const eventSchema = `${spec}/2-0-2/OpenLineage.json#/$defs/RunEvent`
const facetSchema = (version: string, name: string): string => `${spec}/facets/${version}/${name}.json#/$defs/${name}`
/** schemas/openlineage-models-1.json */
const modelsSchema = 'urn:harrier:openlineage:models:1#/$defs/ModelsRunFacet'
const producer = `urn:harrier:${harrierVersion}`

export type RunState = 'START' | 'RUNNING' | 'COMPLETE' | 'FAIL'

interface Facet {
  readonly _producer: string
  readonly _schemaURL: string
}

type Facets = Readonly<Record<string, Facet>>

interface Dataset {
  readonly namespace: string
  readonly name: string
  readonly facets: Facets
  readonly outputFacets?: Facets
}

/** An OpenLineage RunEvent. A run is one stage in one process by one set of models. */
export interface RunEvent {
  readonly eventType: RunState
  readonly eventTime: string
  readonly run: { readonly runId: string; readonly facets: Facets }
  readonly job: { readonly namespace: string; readonly name: string; readonly facets: Facets }
  readonly inputs: readonly Dataset[]
  readonly outputs: readonly Dataset[]
  readonly producer: string
  readonly schemaURL: string
}

/** What stays the same over the runs of a stage in a process. */
export interface RunContext {
  readonly topology: Topology
  readonly names: TopologyNames
  /** host:port of the brokers, separated by commas: the first names the cluster. */
  readonly brokers: string
  /** The namespace of jobs at whoever collects lineage. */
  readonly jobNamespace: string
  readonly instanceId: string
  readonly deviceClass: string
}

/** Records that a run has written so far, by sink. */
export interface RunCounts {
  readonly scored: number
  readonly alerts: number
  readonly deadLetters: number
}

function facet<T extends object>(schemaURL: string, content: T): Facet & T {
  return { _producer: producer, _schemaURL: schemaURL, ...content }
}

/** A UUID (RFC 9562, version 8) by what names the run: told twice, it is the same. */
export function runIdOf({ topology, names, instanceId }: Pick<RunContext, 'topology' | 'names' | 'instanceId'>, release: number, startedMs: number): string {
  const bytes = createHash('sha256').update(`${names.task(0)} ${topology.digests.topology} ${instanceId} ${release} ${startedMs}`).digest().subarray(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** The topology with its namespace, and the stage. */
export function jobName({ topology, names }: Pick<RunContext, 'topology' | 'names'>): string {
  return `${names.scored.slice(0, -'.scored'.length)}.${topology.stageName}`
}

/** The event of a run. `error`: what ended it, with FAIL. */
export function runEvent(context: RunContext, { state, timeMs, runId, models, counts, error }: { state: RunState; timeMs: number; runId: string; models: ScoringModels; counts: RunCounts; error?: unknown }): RunEvent {
  const { topology, jobNamespace, instanceId, deviceClass } = context
  return {
    eventType: state,
    eventTime: new Date(timeMs).toISOString(),
    run: {
      runId,
      facets: {
        processing_engine: facet(facetSchema('1-1-1', 'ProcessingEngineRunFacet'), { version: harrierVersion, name: 'Harrier', openlineageAdapterVersion: harrierVersion }),
        harrier_models: facet(modelsSchema, {
          release: models.release,
          models: models.models.map(({ role, reference, sha256, share, epoch, kind, device }) => ({ role, model: reference, sha256, share, epoch, kind, device })),
          digests: topology.digests,
          instance: instanceId,
          deviceClass,
        }),
        ...(error === undefined ? {} : { errorMessage: facet(facetSchema('1-0-1', 'ErrorMessageRunFacet'), { message: messageOf(error), programmingLanguage: 'TypeScript' }) }),
      },
    },
    job: {
      namespace: jobNamespace,
      name: jobName(context),
      facets: { jobType: facet(facetSchema('2-0-4', 'JobTypeJobFacet'), { processingType: 'STREAMING', integration: 'HARRIER', jobType: 'JOB' }) },
    },
    inputs: inputsOf(context),
    outputs: outputsOf(context, counts),
    producer,
    schemaURL: eventSchema,
  }
}

function inputsOf(context: RunContext): Dataset[] {
  const { topology, names } = context
  const fieldsOf = (fields: readonly { readonly name: string; readonly type: string }[]): { name: string; type: string }[] => fields.map(({ name, type }) => ({ name, type }))
  return [
    dataset(context, names.input, fieldsOf(topology.fields)),
    ...(topology.labels && names.labels !== undefined ? [dataset(context, names.labels, fieldsOf(topology.labels.fields))] : []),
  ]
}

function outputsOf(context: RunContext, { scored, alerts, deadLetters }: RunCounts): Dataset[] {
  const { topology, names } = context
  const written = (each: Dataset, rowCount: number): Dataset => ({ ...each, outputFacets: { outputStatistics: facet(facetSchema('1-0-2', 'OutputStatisticsOutputDatasetFacet'), { rowCount }) } })
  const own = topology.forward
    ? [written(dataset(context, names.forward!, avroFields(topology.forward.schema)), scored)]
    : [
        written(dataset(context, names.scored, avroFields(loadOwnSchema('scored-event'))), scored),
        written(dataset(context, names.alerts, avroFields(loadOwnSchema('alert'))), alerts),
      ]
  return [...own, written(dataset(context, names.deadLetters, []), deadLetters), dataset(context, names.lineage, avroFields(loadOwnSchema('lineage')))]
}

/** A topic, named as OpenLineage names those of Kafka: kafka://host:port and the topic. */
function dataset({ brokers }: RunContext, name: string, fields: readonly { readonly name: string; readonly type: string }[]): Dataset {
  const facets: Facets = fields.length === 0 ? {} : { schema: facet(facetSchema('1-2-0', 'SchemaDatasetFacet'), { fields }) }
  return { namespace: `kafka://${brokers.split(',')[0]!}`, name, facets }
}

/** Fields of an Avro record: a type that is one of several is named by those that are not null. */
function avroFields(schema: object): { name: string; type: string }[] {
  return (schema as { fields: { name: string; type: unknown }[] }).fields.map(({ name, type }) => ({ name, type: typeName(type) }))
}

function typeName(type: unknown): string {
  if (typeof type === 'string') return type
  if (Array.isArray(type)) return type.filter((each) => each !== 'null').map(typeName).join('|')
  const { type: kind, name, logicalType } = type as { type: unknown; name?: string; logicalType?: string }
  return logicalType ?? name ?? typeName(kind)
}
