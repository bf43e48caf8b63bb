import type { FieldSpec } from '../codec/field-spec.js'
import { markOf, maskPathOf, type PersonalMark } from '../codec/personal-marks.js'
import type { MaskPath } from '../privacy/mask.js'
import { eventIdField, eventTimeField, type TopologySpec } from './topology-schema.js'

/** What a stage has to hide. */
export interface PersonalFields {
  /** The domain of each personal field of the stage's events, by name: values of one domain have tokens that can be joined. */
  readonly domains: ReadonlyMap<string, string>
  /** The key of the stage is personal: it names the entity in outputs, and is the key of their records. */
  readonly entity: boolean
  /** Outputs carry tokens; false: the values as they are. */
  readonly tokens: boolean
  /** Where personal values stand in a record of the source, read or not. */
  readonly paths: readonly MaskPath[]
}

interface Problem {
  readonly path: (string | number)[]
  readonly message: string
}

type Fields = Readonly<Record<string, Omit<FieldSpec, 'name'>>>

/** Fields with the marks of the schema that the source names. A file may add to these, not take away. */
export function withMarks<F extends Fields>(fields: F, marks: readonly PersonalMark[], section: 'source' | 'labels', schema: string | undefined): { readonly fields: F; readonly problems: readonly Problem[] } {
  if (marks.length === 0) return { fields, problems: [] }
  const problems: Problem[] = []
  const marked = Object.entries(fields).map(([name, field]): [string, Omit<FieldSpec, 'name'>] => {
    const mark = markOf(marks, field.path)
    if (!mark) return [name, field]
    if (field.personal === false) problems.push({ path: [section, 'fields', name, 'personal'], message: `${schema} marks ${field.path} as personal, and a topology cannot take that away; leave personal: false out, or have the mark taken out of the schema` })
    return [name, typeof field.personal === 'string' ? field : { ...field, personal: mark.domain ?? true }]
  })
  return { fields: Object.fromEntries(marked) as F, problems }
}

/** Fields that the newest schema in the registry marks and the topology does not. */
export function unmarkedFields(fields: readonly FieldSpec[], marks: readonly PersonalMark[]): FieldSpec[] {
  return fields.filter(({ path, personal }) => personal !== true && typeof personal !== 'string' && markOf(marks, path) !== undefined)
}

export function isPersonal({ personal }: Pick<FieldSpec, 'personal'>): boolean {
  return personal === true || typeof personal === 'string'
}

/** Undefined where nothing is personal: then nothing is paid. */
export function personalFields(fields: readonly FieldSpec[], key: string, privacy: TopologySpec['privacy'], marks: readonly PersonalMark[]): PersonalFields | undefined {
  const personal = fields.filter(isPersonal)
  const paths = [...personal.map(({ path }) => maskPathOf(path)), ...marks.map(({ path }) => path)]
  if (paths.length === 0) return undefined
  const domains = new Map(personal.map(({ name, personal: domain }) => [name, typeof domain === 'string' ? domain : name]))
  return { domains, entity: domains.has(key), tokens: domains.size > 0 && privacy?.outputs !== 'clear', paths }
}

/** What cannot be personal, and what no token can stand for. */
export function personalProblems(fields: readonly FieldSpec[], stageName: string, attributes: readonly string[], personal: PersonalFields | undefined): Problem[] {
  const problems: Problem[] = []
  for (const name of [eventIdField, eventTimeField]) {
    if (!personal?.domains.has(name)) continue
    const instead = name === eventIdField ? 'everybody who asks about a score names it; read an id that says nothing of a person' : 'order and windows go by it'
    problems.push({ path: ['source', 'fields', name, 'personal'], message: `${name} cannot be personal: ${instead}` })
  }
  if (!personal?.tokens) return problems
  for (const [index, name] of attributes.entries()) {
    const field = fields.find((each) => each.name === name)
    if (!field || !personal.domains.has(name) || field.type === 'text' || field.type === 'integer') continue
    problems.push({ path: ['stages', stageName, 'policy', 'attributes', index], message: `"${name}" is personal and ${field.type}, for which no token can stand: tokens are of text and integer fields. Leave it out` })
  }
  return problems
}
