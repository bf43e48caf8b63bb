import { digestOf } from '../base/digest.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { breaches } from '../codec/avro-compatibility.js'
import type { RegistryClient, SubjectVersion } from '../codec/registry-client.js'
import { fileOfOwnSchema } from '../codec/schema-files.js'
import { TopologyError, type Topology } from './load-topology.js'
import type { TopologyNames } from './names.js'
import { avroProblems, jsonProblems } from './source-contract.js'
import { inputSubject, outputSubjects, type OutputSubject } from './subjects.js'

export interface SchemaIds {
  readonly scored: number
  readonly alert: number
  readonly lineage: number
}

export interface ContractOptions {
  readonly topology: Topology
  readonly names: TopologyNames
  readonly registry: RegistryClient
  readonly logger: Logger
  readonly signal?: AbortSignal | undefined
}

/** What the registry calls the schemas of a format. */
const typeOfFormat = { avro: 'AVRO', 'json-schema': 'JSON' } as const
const formatOfType: Readonly<Record<string, string>> = { AVRO: 'avro', JSON: 'json-schema' }

/**
 * Settles the schemas of a topology with the registry before the first record: the input's newest schema gives every
 * field, and what Harrier writes is registered and breaks nobody who reads the version before. Returns the ids to write.
 * Errors: TOPOLOGY_INVALID with file and line of each field, SCHEMA_INVALID, REGISTRY_REFUSED.
 */
export async function settleContracts(options: ContractOptions): Promise<SchemaIds> {
  await checkInput(options, registers(options))
  const ids: Partial<Record<keyof SchemaIds, number>> = {}
  for (const output of outputSubjects(options.topology, options.names)) ids[output.id] = await outputId(options, output)
  return ids as SchemaIds
}

/** What `settleContracts` would do, line by line, for a person; it changes nothing. Errors: those of `settleContracts`. */
export async function inspectContracts(options: ContractOptions): Promise<string[]> {
  const { topology, names, registry, signal } = options
  const lines = [await checkInput(options, false)]
  for (const output of outputSubjects(topology, names)) {
    const latest = await registry.latest(output.subject, signal)
    const own = await registeredId(registry, output, latest, signal)
    if (own === undefined && !registers(options)) throw unregistered(options, output, latest)
    if (own === undefined && latest) refuseBreach(output, latest)
    lines.push(`subject ${output.subject}: ${own === undefined ? 'run registers it' : `schema id ${own}`}`)
  }
  return lines
}

function registers({ topology }: ContractOptions): boolean {
  return topology.spec.schemas?.register ?? true
}

/** Returns what was found, for a person. `register`: a schema that the registry lacks is registered. */
async function checkInput(options: ContractOptions, register: boolean): Promise<string> {
  const { topology, names, registry, logger, signal } = options
  const { format } = topology.spec.source
  const subject = inputSubject(topology, names)
  if (subject === undefined || format === 'json') return 'the input is plain JSON: no registry knows its contract'
  const latest = await registry.latest(subject, signal)
  if (!latest) {
    // The contract of an input belongs to those who write it: it is registered only where there is none.
    if (topology.readerSchema && register) await registry.register(subject, topology.readerSchema, signal, typeOfFormat[format])
    else logger.log('warn', 'no schema of the input is registered yet: whether it gives the fields shows with the first record', { subject })
    return `subject ${subject}: not in the registry`
  }
  const found = `subject ${subject} version ${latest.version} (schema id ${latest.id})`
  if (latest.type !== typeOfFormat[format]) throw wrongType(topology, latest, found)
  let problems
  try {
    problems = format === 'avro' ? avroProblems(latest.schema, topology.fields, topology.readerSchema) : jsonProblems(latest.schema, topology.fields)
  } catch (error) {
    throw new HarrierError('SCHEMA_INVALID', `${found} is no schema that Harrier understands: ${messageOf(error)}`, { cause: error })
  }
  if (problems.length === 0) return `${found}: gives all ${topology.fields.length} fields`
  throw new TopologyError(
    topology.file,
    problems.map(({ field, message }) => {
      const path = ['source', 'fields', field, 'path']
      return { line: topology.lineOf(path), path: path.join('.'), message: `${found}: ${message}` }
    }),
  )
}

function wrongType(topology: Topology, { type }: SubjectVersion, found: string): HarrierError {
  const format = formatOfType[type]
  const message =
    format === undefined
      ? `${found} is of type ${type}; Harrier reads Avro, JSON Schema and plain JSON, not ${type === 'PROTOBUF' ? 'Protobuf' : type}. Write the topic in one of those, or copy it into one`
      : `${found} is of type ${type}; write format: ${format}`
  return new TopologyError(topology.file, [{ line: topology.lineOf(['source', 'format']), path: 'source.format', message }])
}

async function outputId(options: ContractOptions, output: OutputSubject): Promise<number> {
  const { registry, signal } = options
  const { subject, schema, topic } = output
  const latest = await registry.latest(subject, signal)
  const own = await registeredId(registry, output, latest, signal)
  if (own !== undefined) return own
  if (!registers(options)) throw unregistered(options, output, latest)
  if (latest) refuseBreach(output, latest)
  try {
    return await registry.register(subject, schema, signal)
  } catch (error) {
    if (!(error instanceof HarrierError) || error.code !== 'REGISTRY_REFUSED') throw error
    throw new HarrierError('REGISTRY_REFUSED', `${error.message} (for topic ${topic})`, {
      cause: error,
      remedy: `allow Harrier to write subject ${subject}, or register ${fileOfOwnSchema(output.schemaName)} there and set schemas.register: false`,
    })
  }
}

/** The id of this very schema under the subject. A registry may look for the same text; the newest version is compared by what it says. */
async function registeredId(registry: RegistryClient, { subject, schema }: OutputSubject, latest: SubjectVersion | undefined, signal: AbortSignal | undefined): Promise<number | undefined> {
  if (!latest) return undefined
  if (digestOf(latest.schema) === digestOf(schema)) return latest.id
  return (await registry.lookup(subject, schema, signal))?.id
}

function refuseBreach({ subject, topic, schemaName, schema }: OutputSubject, latest: SubjectVersion): void {
  if (latest.type !== 'AVRO') throw new HarrierError('SCHEMA_INVALID', `subject ${subject} of ${topic} holds a schema of type ${latest.type}; Harrier writes Avro there`, { remedy: otherSubject })
  const found = breaches(latest.schema, schema)
  if (found.length === 0) return
  const lines = found.map(({ field, why }) => `  ${field === '' ? 'the record' : `field ${field}`}: ${why}`)
  throw new HarrierError('SCHEMA_INVALID', `schemas/${schemaName}.avsc breaks version ${latest.version} (schema id ${latest.id}) of subject ${subject}\n${lines.join('\n')}`, { remedy: otherSubject })
}

function unregistered({ topology }: ContractOptions, { subject, topic, schemaName }: OutputSubject, latest: SubjectVersion | undefined): HarrierError {
  const found = latest ? `subject ${subject} holds another schema (newest version ${latest.version}, schema id ${latest.id})` : `subject ${subject} is not in the registry`
  return new HarrierError('SCHEMA_INVALID', `${found}, and schemas.register is false: the schema of ${topic} is not registered`, {
    remedy: `register ${fileOfOwnSchema(schemaName)} under ${subject}; \`harrier topology schemas ${topology.file} --out <folder>\` writes all that are needed, with the requests that register them`,
  })
}

const otherSubject = 'run under another topology name or namespace, or let the owner of the subject delete it'

