import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LineCounter, parseDocument } from 'yaml'
import { digestOf } from '../base/digest.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { problemText } from '../base/setting-problems.js'
import { checkFieldSpecs, type FieldSpec } from '../codec/field-spec.js'
import { marksOf, type PersonalMark } from '../codec/personal-marks.js'
import { forwardSchema, type ForwardShape } from '../codec/forward-encoder.js'
import { loadSchemaFile } from '../codec/schema-files.js'
import { windowNeeds } from '../features/feature-program.js'
import { personalFields, personalProblems, withMarks, type PersonalFields } from './personal-fields.js'
import { avroProblems, jsonProblems } from './source-contract.js'
import { fieldsOfStages, forwardShape } from './stage-fields.js'
import { eventIdField, eventTimeField, topologySchema, type DeclaredStage, type LabelsSpec, type StageSpec, type TopologySpec } from './topology-schema.js'

const ownFolder = fileURLToPath(new URL('../../../topologies', import.meta.url))

/**
 * A topology that has been checked, as one of its stages sees it: to a later stage the source is what the stage before
 * passes on. `chain` has the views of all stages.
 */
export interface Topology {
  readonly name: string
  readonly file: string
  readonly spec: TopologySpec
  readonly stageName: string
  readonly stage: StageSpec
  /** Place of the stage, from 0. */
  readonly place: number
  /** All stages of the topology, first to last. */
  readonly chain: readonly Topology[]
  /** What the stage passes to the next; undefined for the last. */
  readonly forward: Forward | undefined
  /** The labels topic, of which the first stage reads; undefined for later ones, to which labels are passed on. */
  readonly labels: Labels | undefined
  readonly fields: readonly FieldSpec[]
  /** What the stage has to hide; undefined: nothing. */
  readonly personal: PersonalFields | undefined
  /** The parsed schema that the source names. */
  readonly readerSchema: object | undefined
  /** The events are the rows of a table. */
  readonly isTable?: true
  /** The line on which a path stands in the file. */
  lineOf(path: readonly PropertyKey[]): number | undefined
  /** sha256 of the parts of the topology that lineage names. `layout` covers what a slot's meaning depends on. */
  readonly digests: { readonly topology: string; readonly features: string; readonly policy: string; readonly layout: string }
}

export interface Forward {
  readonly shape: ForwardShape
  readonly schema: object
  /** Name, key and longest key of the next stage. */
  readonly to: { readonly stageName: string; readonly key: string; readonly keyBytesMax: number }
}

export interface Labels {
  readonly spec: LabelsSpec
  readonly fields: readonly FieldSpec[]
  readonly readerSchema: object | undefined
  /** Where personal values stand in a label. */
  readonly personal: PersonalFields | undefined
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
  const settings: unknown = document.toJS()
  const parsed = topologySchema.safeParse(settings)
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => ({ line: lineOf(issue.path), path: formatPath(issue.path), message: problemText(issue, topologySchema, settings) }))
    throw new TopologyError(file, problems)
  }
  return stageViews(parsed.data, file, lineOf)[0]!
}

/** The view of a stage by name; without one, of the first. Errors: USAGE. */
export function stageOf({ chain, name }: Topology, stageName: string | undefined): Topology {
  const found = stageName === undefined ? chain[0] : chain.find((view) => view.stageName === stageName)
  if (!found) throw new HarrierError('USAGE', `topology ${name} has no stage "${stageName}"`, { remedy: `its stages: ${chain.map((view) => view.stageName).join(', ')}` })
  return found
}

/** The views of a topology's stages, first to last. */
function stageViews(written: TopologySpec, file: string, lineOf: Topology['lineOf']): readonly Topology[] {
  const check = (fields: readonly FieldSpec[], path: string[]): void => {
    try {
      checkFieldSpecs(fields)
    } catch (error) {
      throw new TopologyError(file, [{ line: lineOf(path), path: path.join('.'), message: messageOf(error) }])
    }
  }
  const refuse = (problems: readonly { path: (string | number)[]; message: string }[]): void => {
    if (problems.length > 0) throw new TopologyError(file, problems.map(({ path, message }) => ({ line: lineOf(path), path: formatPath(path), message })))
  }
  const marks = schemaMarks(written.source, file)
  const marked = withMarks(written.source.fields, marks, 'source', written.source.schema)
  refuse(marked.problems)
  const declared: TopologySpec = marks.length === 0 ? written : { ...written, source: { ...written.source, fields: marked.fields } }
  const chain: Topology[] = []
  const stages = Object.entries(declared.stages)
  const fieldsOf = fieldsOfStages(declared.source.fields, declared.stages)
  const labels = declared.labels && loadLabels(declared.labels, declared.source.fields, file, lineOf)
  if (labels) check(labels.fields, ['labels', 'fields'])
  for (const [place, [stageName, declaredStage]] of stages.entries()) {
    const fields = fieldsOf[place]!
    check(fields, place === 0 ? ['source', 'fields'] : ['stages', stageName])
    const stage = asItRuns(declaredStage)
    const before = chain.at(-1)?.forward
    const ownFields = Object.fromEntries(fields.map(({ name, ...field }) => [name, field]))
    // What a later stage reads has passed the bound of the first.
    const source = before ? { topic: repartitionTopic(declared.name, stageName), format: 'avro' as const, subjects: declared.schemas?.subjects, aheadMax: Infinity, fields: ownFields } : declared.source
    const spec: TopologySpec = { ...declared, source }
    const next = stages[place + 1]
    const personal = personalFields(fields, stage.key, declared.privacy, place === 0 ? marks : [])
    refuse(personalProblems(fields, stageName, stage.policy.attributes, personal))
    chain.push({
      name: declared.name,
      file,
      spec,
      stageName,
      stage,
      place,
      chain,
      forward: next && forwardTo(declared.name, fields, [stageName, declaredStage], next),
      labels: place === 0 ? labels : undefined,
      fields,
      personal,
      readerSchema: before ? before.schema : loadReaderSchema(spec.source, fields, file, lineOf, 'source'),
      lineOf,
      digests: digestsOf(written, spec, stage, fields, place),
    })
  }
  return chain
}

/** Later stages' inputs are the engine's own. */
export function repartitionTopic(topology: string, stageName: string): string {
  return `${topology}.${stageName}.repartition`
}

function forwardTo(topology: string, fields: readonly FieldSpec[], [stageName, stage]: [string, DeclaredStage], [nextName, next]: [string, DeclaredStage]): Forward {
  const shape = forwardShape(fields, stageName, stage)
  return { shape, schema: forwardSchema(`${topology}_${nextName}`.replaceAll('-', '_'), shape), to: { stageName: nextName, key: next.key, keyBytesMax: next.keyBytesMax } }
}

function asItRuns(stage: DeclaredStage): StageSpec {
  return {
    ...stage,
    models: { champion: undefined, shadows: [], device: 'cpu', ...stage.models },
    policy: stage.policy ?? { decline: 1, review: 1, fallback: 'review', reasons: 0, attributes: [] },
  }
}

function digestsOf(declared: TopologySpec, spec: TopologySpec, stage: StageSpec, fields: readonly FieldSpec[], place: number): Topology['digests'] {
  const { key, keyBytesMax, grace, ttl, late, ring, features, models, policy, upstreamSkew, score } = stage
  // What the stage before passes on and this one does not read may change.
  const read = new Set([eventIdField, eventTimeField, key, ...features.flatMap((feature) => ('field' in feature ? [feature.field] : []))])
  return {
    topology: digestOf(declared),
    features: digestOf(features),
    policy: digestOf({ policy, models, late, ...(score ? { score } : {}) }),
    layout: digestOf({
      // What is personal changes outputs, and no state.
      source: { format: spec.source.format, fields: (place === 0 ? fields : fields.filter(({ name }) => read.has(name))).map(({ personal: _personal, ...field }) => field) },
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
      ...(place === 0 ? {} : { upstreamSkew }),
      ...(score?.when === 'dayTurn' ? { score: score.when } : {}),
      ...(place === 0 && declared.labels ? { labels: { format: declared.labels.format, fields: Object.fromEntries(Object.entries(declared.labels.fields).map(([name, { personal: _personal, ...field }]) => [name, field])) } } : {}),
    }),
  }
}

/** What is personal of an event is personal of its label. */
function loadLabels(spec: LabelsSpec, source: TopologySpec['source']['fields'], file: string, lineOf: Topology['lineOf']): Labels {
  const fields = Object.entries(spec.fields).map(([name, field]) => ({ name, ...field, ...(source[name]?.personal === undefined ? {} : { personal: source[name].personal }) }))
  return { spec, fields, readerSchema: loadReaderSchema(spec, fields, file, lineOf, 'labels'), personal: personalFields(fields, '', undefined, schemaMarks(spec, file)) }
}

/** What the schema that an input names marks as personal. */
function schemaMarks({ schema, format }: Pick<LabelsSpec, 'schema' | 'format'>, file: string): PersonalMark[] {
  if (schema === undefined) return []
  const isAvro = format === 'avro'
  return marksOf(loadSchemaFile(resolve(dirname(file), schema), isAvro ? 'Avro' : 'JSON Schema'), isAvro ? 'avro' : 'json')
}

/** The schema that an input names; it gives every field. */
function loadReaderSchema(source: Pick<LabelsSpec, 'schema' | 'format'>, fields: readonly FieldSpec[], file: string, lineOf: Topology['lineOf'], section: 'source' | 'labels'): object | undefined {
  if (source.schema === undefined) return undefined
  const isAvro = source.format === 'avro'
  const schema = loadSchemaFile(resolve(dirname(file), source.schema), isAvro ? 'Avro' : 'JSON Schema')
  const problems = isAvro ? avroProblems(schema, fields, schema) : jsonProblems(schema, fields)
  if (problems.length === 0) return schema
  throw new TopologyError(
    file,
    problems.map(({ field, message }) => {
      const path = [section, 'fields', field, 'path']
      return { line: lineOf(path), path: path.join('.'), message: `${source.schema}: ${message}` }
    }),
  )
}

/** stages.customer.features[2].window */
function formatPath(path: readonly PropertyKey[]): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? String(part) : `.${String(part)}`)).join('')
}
