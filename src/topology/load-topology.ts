import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LineCounter, parseDocument } from 'yaml'
import { digestOf } from '../base/digest.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { checkFieldSpecs, type FieldSpec } from '../codec/field-spec.js'
import { loadSchemaFile } from '../codec/schema-files.js'
import { windowNeeds } from '../features/feature-program.js'
import { avroProblems, jsonProblems } from './source-contract.js'
import { topologySchema, type StageSpec, type TopologySpec } from './topology-schema.js'

const ownFolder = fileURLToPath(new URL('../../../topologies', import.meta.url))

/** A topology that has been checked, with what follows from it. */
export interface Topology {
  readonly name: string
  readonly file: string
  readonly spec: TopologySpec
  readonly stageName: string
  readonly stage: StageSpec
  readonly fields: readonly FieldSpec[]
  /** The parsed schema that the source names. */
  readonly readerSchema: object | undefined
  /** The line on which a path stands in the file. */
  lineOf(path: readonly PropertyKey[]): number | undefined
  /** sha256 of the parts of the topology that lineage names. `layout` covers what a slot's meaning depends on. */
  readonly digests: { readonly topology: string; readonly features: string; readonly policy: string; readonly layout: string }
}

/** Problems of a topology file, each with the line it stands on. */
export class TopologyError extends HarrierError {
  constructor(
    file: string,
    readonly problems: readonly { line: number | undefined; path: string; message: string }[],
  ) {
    const lines = problems.map(({ line, path, message }) => `  ${file}${line === undefined ? '' : `:${line}`}  ${path === '' ? '' : `${path}: `}${message}`)
    super('TOPOLOGY_INVALID', `${problems.length === 1 ? 'a problem' : `${problems.length} problems`} in the topology\n${lines.join('\n')}`, {
      remedy: 'correct the named path; docs/topology.md lists every setting',
    })
  }
}

/** The file of a topology given by path or by the name of one in topologies/. */
export function topologyFile(nameOrFile: string): string {
  const candidates = [nameOrFile, join(ownFolder, `${nameOrFile}.yaml`)]
  const found = candidates.find((file) => /\.ya?ml$/.test(file) && existsSync(file))
  if (found) return resolve(found)
  throw new HarrierError('TOPOLOGY_INVALID', `there is no topology "${nameOrFile}"`, {
    remedy: `give a .yaml file, or the name of one in ${ownFolder}`,
  })
}

/** Reads and checks a topology; throws a `TopologyError` that names every problem at once. */
export function loadTopology(nameOrFile: string): Topology {
  const file = topologyFile(nameOrFile)
  return parseTopology(readFileSync(file, 'utf8'), file)
}

export function parseTopology(text: string, file: string): Topology {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines })
  if (document.errors.length > 0) {
    throw new TopologyError(file, document.errors.map((error) => ({ line: error.linePos?.[0].line, path: '', message: error.message.split('\n')[0]! })))
  }
  const lineOf = (path: readonly PropertyKey[]): number | undefined => {
    for (let length = path.length; length > 0; length--) {
      const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] } | undefined
      if (node?.range) return lines.linePos(node.range[0]).line
    }
    return undefined
  }
  const parsed = topologySchema.safeParse(document.toJS())
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => ({ line: lineOf(issue.path), path: formatPath(issue.path), message: issue.message }))
    throw new TopologyError(file, problems)
  }
  const spec = parsed.data
  const [stageName, stage] = Object.entries(spec.stages)[0]!
  const fields: FieldSpec[] = Object.entries(spec.source.fields).map(([name, field]) => ({ name, ...field }))
  try {
    checkFieldSpecs(fields)
  } catch (error) {
    throw new TopologyError(file, [{ line: lineOf(['source', 'fields']), path: 'source.fields', message: messageOf(error) }])
  }
  const { key, keyBytesMax, grace, ttl, late, ring, features, models, policy } = stage
  return {
    name: spec.name,
    file,
    spec,
    stageName,
    stage,
    fields,
    readerSchema: loadReaderSchema(spec, fields, file, lineOf),
    lineOf,
    digests: {
      topology: digestOf(spec),
      features: digestOf(features),
      policy: digestOf({ policy, models, late }),
      layout: digestOf({
        source: { format: spec.source.format, fields },
        late,
        recordBytesMax: spec.limits.recordBytesMax,
        key,
        keyBytesMax,
        grace,
        ttl,
        ring,
        features,
        windows: windowNeeds(features),
        windowEntriesMax: spec.limits.windowEntriesMax,
        version: 1,
      }),
    },
  }
}

/** The schema that the source names; it gives every field. */
function loadReaderSchema({ source }: TopologySpec, fields: readonly FieldSpec[], file: string, lineOf: Topology['lineOf']): object | undefined {
  if (source.schema === undefined) return undefined
  const isAvro = source.format === 'avro'
  const schema = loadSchemaFile(resolve(dirname(file), source.schema), isAvro ? 'Avro' : 'JSON Schema')
  const problems = isAvro ? avroProblems(schema, fields, schema) : jsonProblems(schema, fields)
  if (problems.length === 0) return schema
  throw new TopologyError(
    file,
    problems.map(({ field, message }) => {
      const path = ['source', 'fields', field, 'path']
      return { line: lineOf(path), path: path.join('.'), message: `${source.schema}: ${message}` }
    }),
  )
}

/** stages.customer.features[2].window */
function formatPath(path: readonly PropertyKey[]): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? String(part) : `.${String(part)}`)).join('')
}
