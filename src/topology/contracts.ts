import { digestOf } from '../base/digest.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { breaches } from '../codec/avro-compatibility.js'
import type { RegistryClient, SubjectVersion } from '../codec/registry-client.js'
import type { FieldSpec } from '../codec/field-spec.js'
import { marksOf } from '../codec/personal-marks.js'
import { TopologyError, type Topology } from './load-topology.js'
import type { TopologyNames } from './names.js'
import { unmarkedFields } from './personal-fields.js'
import { avroProblems, jsonProblems, type FieldProblem } from './source-contract.js'
import { inputSubject, labelsSubject, outputSubjects, type OutputSubject } from './subjects.js'

/** `forward` before the last stage, `scored` and `alert` in it. */
export interface SchemaIds {
  readonly scored?: number
  readonly alert?: number
  readonly forward?: number
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
  for (const contract of inputContracts(options)) await checkInput(options, contract, registers(options))
  const ids: { -readonly [K in keyof SchemaIds]?: number } = {}
  for (const output of outputSubjects(options.topology, options.names)) ids[output.id] = await outputId(options, output)
  return ids as SchemaIds
}

/** What `settleContracts` would do, line by line, for a person; it changes nothing. Errors: those of `settleContracts`. */
export async function inspectContracts(options: ContractOptions): Promise<string[]> {
  const { topology, names, registry, signal } = options
  const lines: string[] = []
  for (const contract of inputContracts(options)) lines.push(await checkInput(options, contract, false))
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

/** A topic that the stage reads, as the topology declares it. */
interface InputContract {
  readonly section: 'source' | 'labels'
  /** Undefined: no registry knows it. */
  readonly subject: string | undefined
  readonly format: 'avro' | 'json-schema' | 'json'
  readonly fields: readonly FieldSpec[]
  readonly readerSchema: object | undefined
}

function inputContracts({ topology, names }: ContractOptions): InputContract[] {
  const { labels, fields, readerSchema, spec } = topology
  return [
    { section: 'source', subject: inputSubject(topology, names), format: spec.source.format, fields, readerSchema },
    ...(labels ? [{ section: 'labels' as const, subject: labelsSubject(topology, names), format: labels.spec.format, fields: labels.fields, readerSchema: labels.readerSchema }] : []),
  ]
}

/** Returns what was found, for a person. `register`: a schema that the registry lacks is registered. */
async function checkInput(options: ContractOptions, contract: InputContract, register: boolean): Promise<string> {
  const { topology, registry, logger, signal } = options
  const { section, subject, format, fields, readerSchema } = contract
  const what = section === 'source' ? 'the input' : 'the labels topic'
  if (subject === undefined || format === 'json') return `${what} is plain JSON: no registry knows its contract`
  const latest = await registry.latest(subject, signal)
  if (!latest) {
    // The contract of an input belongs to those who write it: it is registered only where there is none.
    if (readerSchema && register) await registry.register(subject, readerSchema, signal, typeOfFormat[format])
    else logger.log('warn', `no schema of ${what} is registered yet: whether it gives the fields shows with the first record`, { subject })
    return `subject ${subject}: not in the registry`
  }
  const found = `subject ${subject} version ${latest.version} (schema id ${latest.id})`
  if (latest.type !== typeOfFormat[format]) throw wrongType(topology, section, latest, found)
  let problems: FieldProblem[]
  try {
    problems = format === 'avro' ? avroProblems(latest.schema, fields, readerSchema) : jsonProblems(latest.schema, fields)
  } catch (error) {
    throw new HarrierError('SCHEMA_INVALID', `${found} is no schema that Harrier understands: ${messageOf(error)}`, { cause: error })
  }
  if (problems.length === 0) {
    const unmarked = unmarkedFields(fields, marksOf(latest.schema, format === 'avro' ? 'avro' : 'json'))
    problems = unmarked.map(({ name, path }) => ({ field: name, message: `marks ${path} as personal; write personal: true, so that outputs carry a token in its place and people see it masked` }))
  }
  if (problems.length === 0) return `${found}: gives all ${fields.length} fields`
  throw new TopologyError(
    topology.file,
    problems.map(({ field, message }) => {
      const path = [section, 'fields', field, 'path']
      return { line: topology.lineOf(path), path: path.join('.'), message: `${found}: ${message}` }
    }),
  )
}

function wrongType(topology: Topology, section: string, { type }: SubjectVersion, found: string): HarrierError {
  const format = formatOfType[type]
  const message =
    format === undefined
      ? `${found} is of type ${type}; Harrier reads Avro, JSON Schema and plain JSON, not ${type === 'PROTOBUF' ? 'Protobuf' : type}. Write the topic in one of those, or copy it into one`
      : `${found} is of type ${type}; write format: ${format}`
  return new TopologyError(topology.file, [{ line: topology.lineOf([section, 'format']), path: `${section}.format`, message }])
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
      remedy: `allow Harrier to write subject ${subject}, or register ${output.schemaName}.avsc of \`harrier topology schemas\` there and set schemas.register: false`,
    })
  }
}

/** The id of this very schema under the subject. A registry may look for the same text; the newest version is compared by what it says. */
async function registeredId(registry: RegistryClient, { subject, schema }: OutputSubject, latest: SubjectVersion | undefined, signal: AbortSignal | undefined): Promise<number | undefined> {
  if (!latest) return undefined
  if (digestOf(latest.schema) === digestOf(schema)) return latest.id
  return (await registry.lookup(subject, schema, signal))?.id
}

function refuseBreach({ subject, topic, id, schemaName, schema }: OutputSubject, latest: SubjectVersion): void {
  if (latest.type !== 'AVRO') throw new HarrierError('SCHEMA_INVALID', `subject ${subject} of ${topic} holds a schema of type ${latest.type}; Harrier writes Avro there`, { remedy: otherSubject })
  const found = breaches(latest.schema, schema)
  if (found.length === 0) return
  const lines = found.map(({ field, why }) => `  ${field === '' ? 'the record' : `field ${field}`}: ${why}`)
  throw new HarrierError('SCHEMA_INVALID', `${id === 'forward' ? '' : 'schemas/'}${schemaName}.avsc breaks version ${latest.version} (schema id ${latest.id}) of subject ${subject}\n${lines.join('\n')}`, { remedy: otherSubject })
}

function unregistered({ topology }: ContractOptions, { subject, topic, schemaName }: OutputSubject, latest: SubjectVersion | undefined): HarrierError {
  const found = latest ? `subject ${subject} holds another schema (newest version ${latest.version}, schema id ${latest.id})` : `subject ${subject} is not in the registry`
  return new HarrierError('SCHEMA_INVALID', `${found}, and schemas.register is false: the schema of ${topic} is not registered`, {
    remedy: `register ${schemaName}.avsc under ${subject}; \`harrier topology schemas ${topology.file} --out <folder>\` writes all that are needed, with the requests that register them`,
  })
}

const otherSubject = 'run under another topology name or namespace, or let the owner of the subject delete it'

