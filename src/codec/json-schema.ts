import type { ContractNode } from './contract-tree.js'
import { unionContract } from './contract-tree.js'
import { parsePath, writeStep, type PathStep } from './field-paths.js'
import { isText, type FieldSpec } from './field-spec.js'
import { bundledKey } from './registered-schema.js'

/**
 * As much of JSON Schema (drafts 4 to 2020-12) as concerns the fields of a source: where a path leads, of which type the
 * value is, and which of its bounds and enumerations a value must keep. `$ref` within the schema and to bundled schemas.
 */
type Schema = Readonly<Record<string, unknown>>

/** A schema with the document that its references begin from. */
interface Placed {
  readonly schema: Schema
  readonly document: Schema
}

const depthMax = 64

/** What a schema demands of a field's values beyond its type, in the column's units. */
export interface JsonDemand {
  readonly min?: number
  readonly max?: number
  /** Of text fields. */
  readonly allowed?: readonly string[]
}

export class JsonSchema {
  readonly #root: Placed
  readonly #bundled: Readonly<Record<string, Schema>>

  /** Throws an Error for a `$ref` that leads nowhere as soon as one is followed. */
  constructor(schema: object) {
    this.#root = { schema: schema as Schema, document: schema as Schema }
    this.#bundled = (schema as Record<string, unknown>)[bundledKey] as Readonly<Record<string, Schema>> | undefined ?? {}
  }

  /** Why no value of the schema can fill a field; undefined when some can. */
  refusal(field: FieldSpec): string | undefined {
    return this.#refusal(this.#root, parsePath(field.path) ?? [], '', field)
  }

  /** Bounds and enumerations of a field, where the schema is not of several minds about it. */
  demand(field: FieldSpec): JsonDemand {
    let places = this.#alternatives(this.#root)
    for (const step of parsePath(field.path) ?? []) {
      const next = places.length === 1 ? this.#step(places[0]!, step) : undefined
      if (!next || next === 'free') return {}
      places = this.#alternatives(next).filter((place) => !isOnlyNull(place.schema))
    }
    return places.length === 1 ? demandOf(places[0]!.schema, field) : {}
  }

  contract(): ContractNode {
    return this.#contract(this.#root)
  }

  #refusal(place: Placed, steps: readonly PathStep[], path: string, field: FieldSpec): string | undefined {
    let first: string | undefined
    for (const alternative of this.#alternatives(place)) {
      const why = isOnlyNull(alternative.schema) ? undefined : this.#refusalOf(alternative, steps, path, field)
      if (why === undefined) return undefined
      first ??= why
    }
    return first
  }

  #refusalOf(place: Placed, steps: readonly PathStep[], path: string, field: FieldSpec): string | undefined {
    const [step, ...rest] = steps
    const types = typesOf(place.schema)
    if (!step) {
      return !types || types.some((type) => accepts(field, type)) ? undefined : `field ${field.name} (${field.path}): cannot be read from ${types.join(' or ')}`
    }
    const wanted = step.index === undefined ? 'object' : 'array'
    if (types && !types.includes(wanted)) return `field ${field.name} (${field.path}): ${path === '' ? 'the value' : path} is ${types.join(' or ')}, not ${wanted}`
    const next = this.#step(place, step)
    if (next === 'free') return undefined
    if (next) return this.#refusal(next, rest, writeStep(path, step), field)
    return field.optional === true || field.default !== undefined ? undefined : `has no field ${writeStep(path, step)} for ${field.name}`
  }

  /** `free`: the schema does not say what stands there. */
  #step({ schema, document }: Placed, step: PathStep): Placed | 'free' | undefined {
    const at = (value: unknown): Placed | 'free' | undefined => (isSchema(value) ? { schema: value, document } : value === false ? undefined : 'free')
    if (step.index !== undefined) {
      const tuple = schema['prefixItems'] ?? schema['items']
      if (Array.isArray(tuple)) return step.index < tuple.length ? at(tuple[step.index]) : at(schema['prefixItems'] ? schema['items'] : schema['additionalItems'])
      return at(schema['items'])
    }
    const properties = schema['properties']
    if (!isSchema(properties)) return at(schema['additionalProperties'])
    if (Object.hasOwn(properties, step.name)) return at(properties[step.name])
    const { additionalProperties, patternProperties } = schema
    // The content of an object is open unless it says otherwise; but a name that it does not know is most likely a slip.
    return patternProperties !== undefined ? 'free' : additionalProperties === undefined ? undefined : at(additionalProperties)
  }

  /** The schemas of which a value keeps one: `$ref` followed, `allOf` merged, `anyOf` and `oneOf` spread out. */
  #alternatives(place: Placed, depth = 0): Placed[] {
    if (depth > depthMax) throw new Error(`$ref, allOf or anyOf nested deeper than ${depthMax}`)
    let { schema, document } = place
    const { $ref: reference, allOf } = schema
    if (typeof reference === 'string') {
      const target = this.#follow(reference, document)
      const { $ref: _, ...beside } = schema
      if (Object.keys(beside).every((key) => !keywords.has(key))) return this.#alternatives(target, depth + 1)
      schema = { ...target.schema, ...beside }
      document = target.document
    }
    if (Array.isArray(allOf)) {
      const { allOf: _, ...own } = schema
      schema = own
      for (const part of allOf) {
        if (!isSchema(part)) continue
        const [only] = this.#alternatives({ schema: part, document }, depth + 1)
        if (only) schema = merge(schema, only.schema)
      }
    }
    const choices = schema['anyOf'] ?? schema['oneOf']
    if (!Array.isArray(choices)) return [{ schema, document }]
    const { anyOf: _any, oneOf: _one, ...common } = schema
    return choices.filter(isSchema).flatMap((choice) => this.#alternatives({ schema: choice, document }, depth + 1).map((found) => ({ ...found, schema: merge(common, found.schema) })))
  }

  #follow(reference: string, document: Schema): Placed {
    const hash = reference.indexOf('#')
    const base = hash < 0 ? reference : reference.slice(0, hash)
    const pointer = hash < 0 ? '' : reference.slice(hash + 1)
    const isOwn = base === '' || base === document['$id'] || base === document['id']
    const target = isOwn ? document : (this.#bundled[reference] ?? this.#bundled[base])
    if (!target) throw new Error(`$ref "${reference}" is neither within the schema nor among its references in the registry`)
    let schema: unknown = target
    for (const part of pointer.split('/').slice(1)) {
      const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
      schema = Array.isArray(schema) ? schema[Number(key)] : isSchema(schema) ? schema[key] : undefined
    }
    if (!isSchema(schema)) throw new Error(`$ref "${reference}" leads nowhere`)
    return { schema, document: target }
  }

  #contract(place: Placed): ContractNode {
    const nodes = this.#alternatives(place)
      .filter(({ schema }) => !isOnlyNull(schema))
      .map((alternative) => this.#contractOf(alternative))
    return nodes.length === 1 ? nodes[0]! : unionContract(nodes)
  }

  #contractOf({ schema, document }: Placed): ContractNode {
    const types = typesOf(schema)
    const inner = (value: unknown): ContractNode => (isSchema(value) ? this.#contract({ schema: value, document }) : { what: 'anything' })
    const properties = schema['properties']
    if (isSchema(properties)) {
      const title = typeof schema['title'] === 'string' ? ` ${schema['title']}` : ''
      return { what: `object${title}`, members: () => new Map(Object.entries(properties).map(([name, value]) => [name, inner(value)])) }
    }
    if (types?.includes('array') === true) return { what: 'array', item: () => inner(schema['items']) }
    if (types?.includes('object') === true) return { what: 'object', item: () => inner(schema['additionalProperties']), isMap: true }
    const what = types?.filter((type) => type !== 'null').join(' or ') ?? 'anything'
    const reading = schema['format'] === 'date-time' ? 'type: iso8601' : readings[types?.[0] ?? '']
    return reading === undefined ? { what } : { what, reading }
  }
}

const readings: Readonly<Record<string, string>> = { string: 'type: text', integer: 'type: integer', number: 'type: number (or integer with a scale)', boolean: 'type: boolean' }

/** Keywords that say something of a value; beside a `$ref`, others (title, description) change nothing. */
const keywords = new Set(['type', 'properties', 'items', 'anyOf', 'oneOf', 'allOf', 'enum', 'const', 'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'additionalProperties'])

function merge(a: Schema, b: Schema): Schema {
  const both: Record<string, unknown> = { ...a, ...b }
  for (const key of ['properties', 'patternProperties']) if (isSchema(a[key]) && isSchema(b[key])) both[key] = { ...a[key], ...b[key] }
  return both
}

function typesOf({ type, enum: values, const: value, properties, items }: Schema): string[] | undefined {
  if (typeof type === 'string') return [type]
  if (Array.isArray(type)) {
    const names = type.filter((each): each is string => typeof each === 'string')
    return [...names.filter((name) => name !== 'null'), ...names.filter((name) => name === 'null')]
  }
  const samples = Array.isArray(values) ? values : value === undefined ? undefined : [value]
  if (samples) return [...new Set(samples.map((sample: unknown) => (sample === null ? 'null' : typeof sample)))]
  if (properties !== undefined) return ['object']
  return items === undefined ? undefined : ['array']
}

function isOnlyNull(schema: Schema): boolean {
  return typesOf(schema)?.every((type) => type === 'null') === true
}

function accepts(field: FieldSpec, type: string): boolean {
  if (isText(field)) return type === 'string' || type === 'number' || type === 'integer'
  if (field.type === 'boolean') return type === 'boolean'
  if (field.type === 'iso8601') return type === 'string'
  return type === 'number' || type === 'integer' || (type === 'string' && field.from === 'text')
}

function demandOf(schema: Schema, field: FieldSpec): JsonDemand {
  const { enum: values, const: value } = schema
  if (isText(field)) {
    const samples = Array.isArray(values) ? (values as unknown[]) : value === undefined ? undefined : [value]
    return samples ? { allowed: samples.filter((sample) => typeof sample === 'string' || typeof sample === 'number').map(String) } : {}
  }
  if (field.type !== 'integer' && field.type !== 'number') return {}
  const min = bound(schema, 'minimum', 'exclusiveMinimum', field, 1)
  const max = bound(schema, 'maximum', 'exclusiveMaximum', field, -1)
  return { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) }
}

/** A bound in the column's units; `inward` is 1 for a lower and -1 for an upper one. Draft 4 writes `exclusiveMinimum: true`. */
function bound(schema: Schema, inclusive: string, exclusive: string, field: FieldSpec, inward: 1 | -1): number | undefined {
  const at = schema[inclusive]
  const beyond = schema[exclusive]
  const isExclusive = typeof beyond === 'number' || beyond === true
  const value = typeof beyond === 'number' ? beyond : at
  if (typeof value !== 'number') return undefined
  // 15 digits: what 0.29 * 100 is short of 29 is no part of the bound.
  const scaled = Number((value * 10 ** (field.scale ?? 0)).toPrecision(15))
  if (field.type === 'number') return isExclusive ? next(scaled, inward) : scaled
  if (!isExclusive) return inward > 0 ? Math.ceil(scaled) : Math.floor(scaled)
  return inward > 0 ? Math.floor(scaled) + 1 : Math.ceil(scaled) - 1
}

/** The double beside a double. */
function next(value: number, towards: 1 | -1): number {
  if (value === 0) return towards * Number.MIN_VALUE
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  view.setBigInt64(0, view.getBigInt64(0) + BigInt(value > 0 ? towards : -towards))
  return view.getFloat64(0)
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
