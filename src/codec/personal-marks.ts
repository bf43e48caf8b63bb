import { anyItem, type MaskPath } from '../privacy/mask.js'
import { parsePath } from './field-paths.js'

/** A place of a schema that is marked as personal. */
export interface PersonalMark {
  readonly path: MaskPath
  /** Values of one domain have tokens that can be joined; undefined: the schema names none. */
  readonly domain: string | undefined
}

/** Tags of Confluent's catalogue (`confluent:tags` of a field) that mean the same as `personal: true`. */
const personalTags: readonly string[] = ['PII', 'PERSONAL']

const depthMax = 64
/** Places of one schema that are told apart; a schema with more is masked whole. */
const marksMax = 2000

type Schema = Readonly<Record<string, unknown>>

/** Marks of a schema as the registry has it. */
export function marksOf(schema: object, format: 'avro' | 'json'): PersonalMark[] {
  const walk = format === 'avro' ? new AvroMarks() : new JsonMarks(schema as Schema)
  walk.at(schema, [])
  return walk.all()
}

/** The mark that a field's path leads to or through; undefined: it may be shown. */
export function markOf(marks: readonly PersonalMark[], path: string): PersonalMark | undefined {
  const steps = maskPathOf(path)
  return marks.find((mark) => mark.path.length <= steps.length && mark.path.every((name, i) => name === anyItem || name === steps[i]))
}

/** A field's path as the steps of a mask. */
export function maskPathOf(path: string): MaskPath {
  return (parsePath(path) ?? []).map(({ name, index }) => (index === undefined ? name : anyItem))
}

abstract class Marks {
  readonly #found: PersonalMark[] = []
  /** Where a type comes in itself again: below there may be marks at any depth. */
  readonly #again: MaskPath[] = []
  readonly #open = new Set<unknown>()

  all(): PersonalMark[] {
    if (this.#found.length === 0) return []
    if (this.#found.length > marksMax) return [{ path: [], domain: undefined }]
    return [...this.#found, ...this.#again.map((path) => ({ path, domain: undefined }))]
  }

  /** Notes a mark, and whether there is one. */
  protected note(schema: unknown, path: MaskPath): boolean {
    if (!isSchema(schema)) return false
    const { personal } = schema
    const tags = schema['confluent:tags']
    const isTagged = Array.isArray(tags) && tags.some((tag) => personalTags.includes(String(tag).toUpperCase()))
    if (personal !== true && typeof personal !== 'string' && !isTagged) return false
    this.#found.push({ path, domain: typeof personal === 'string' ? personal : undefined })
    return true
  }

  /** Goes into a type once on each way. */
  protected into(type: unknown, path: MaskPath, walk: () => void): void {
    if (this.#open.has(type) || path.length > depthMax || this.#found.length > marksMax) return void this.#again.push(path)
    this.#open.add(type)
    walk()
    this.#open.delete(type)
  }

  abstract at(schema: unknown, path: MaskPath): void
}

class AvroMarks extends Marks {
  readonly #names = new Map<string, Schema>()

  at(schema: unknown, path: MaskPath): void {
    if (typeof schema === 'string') {
      const named = this.#names.get(schema) ?? this.#names.get(schema.slice(schema.lastIndexOf('.') + 1))
      if (named) this.at(named, path)
      return
    }
    if (Array.isArray(schema)) return schema.forEach((branch) => this.at(branch, path))
    if (!isSchema(schema) || this.note(schema, path)) return
    const { type, name, fields } = schema
    if (typeof name === 'string') this.#names.set(name, schema).set(name.slice(name.lastIndexOf('.') + 1), schema)
    if (type === 'array') return this.at(schema['items'], [...path, anyItem])
    if (type === 'map') return this.at(schema['values'], [...path, anyItem])
    if (!Array.isArray(fields)) return typeof type === 'object' ? this.at(type, path) : undefined
    this.into(schema, path, () => {
      for (const field of fields as unknown[]) {
        if (!isSchema(field) || typeof field['name'] !== 'string') continue
        const at = [...path, field['name']]
        if (!this.note(field, at)) this.at(field['type'], at)
      }
    })
  }
}

class JsonMarks extends Marks {
  readonly #document: Schema

  constructor(document: Schema) {
    super()
    this.#document = document
  }

  at(schema: unknown, path: MaskPath): void {
    if (!isSchema(schema) || this.note(schema, path)) return
    this.into(schema, path, () => {
      const { $ref, properties, patternProperties, additionalProperties, items, prefixItems } = schema
      if (typeof $ref === 'string') this.at(this.#resolve($ref), path)
      for (const [name, each] of entries(properties)) this.at(each, [...path, name])
      for (const each of [...entries(patternProperties).map(([, each]) => each), additionalProperties]) this.at(each, [...path, anyItem])
      for (const each of [items, prefixItems].flat()) this.at(each, [...path, anyItem])
      for (const each of [schema['allOf'], schema['anyOf'], schema['oneOf']].flat()) this.at(each, path)
    })
  }

  /** Within the document; what lies elsewhere is not followed. */
  #resolve(reference: string): unknown {
    if (!reference.startsWith('#')) return undefined
    let place: unknown = this.#document
    for (const step of reference.slice(1).split('/').filter((each) => each !== '')) place = isSchema(place) ? place[decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')] : undefined
    return place
  }
}

function entries(value: unknown): [string, unknown][] {
  return isSchema(value) ? Object.entries(value) : []
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
