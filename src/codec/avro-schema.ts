/**
 * Avro schemas as a tree with names resolved, made once for each schema and walked by the decoder's compiler.
 * Source: Apache Avro 1.12 specification, "Schema Declaration" and "Names".
 */
export interface AvroField {
  readonly name: string
  readonly aliases: readonly string[]
  readonly type: AvroType
  /** The JSON of the default; `hasDefault` tells null from none. */
  readonly default: unknown
  readonly hasDefault: boolean
}

export interface LogicalType {
  readonly name: string
  readonly scale: number
}

export type PrimitiveKind = 'null' | 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string'

export type AvroType =
  | { readonly kind: PrimitiveKind; readonly logical?: LogicalType | undefined }
  | { readonly kind: 'fixed'; readonly size: number; readonly logical?: LogicalType | undefined }
  | { readonly kind: 'enum'; readonly symbols: readonly string[] }
  | { readonly kind: 'array' | 'map'; readonly items: AvroType }
  | { readonly kind: 'union'; readonly branches: readonly AvroType[] }
  | RecordType

export interface RecordType {
  readonly kind: 'record'
  readonly name: string
  readonly fields: readonly AvroField[]
}

const primitives = new Set<string>(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'])
export const schemaDepthMax = 200

/** Throws an Error that names the place in the schema. */
export function parseAvroSchema(schema: unknown): AvroType {
  return parse(schema, { names: new Map(), namespace: '', place: 'schema', depth: 0 })
}

interface Scope {
  readonly names: Map<string, AvroType>
  readonly namespace: string
  readonly place: string
  readonly depth: number
}

function parse(schema: unknown, scope: Scope): AvroType {
  if (scope.depth > schemaDepthMax) throw new Error(`${scope.place}: nested deeper than ${schemaDepthMax}`)
  if (typeof schema === 'string') return named(schema, scope)
  if (Array.isArray(schema)) {
    const branches = schema.map((branch, i) => parse(branch, inside(scope, `[${i}]`)))
    if (branches.length === 0) throw new Error(`${scope.place}: a union without branches`)
    return { kind: 'union', branches }
  }
  if (!isObject(schema)) throw new Error(`${scope.place}: neither a type name, an object nor a union`)
  const { type } = schema
  if (type === 'record' || type === 'error') return parseRecord(schema, scope)
  if (type === 'enum') {
    const symbols = schema['symbols']
    if (!Array.isArray(symbols) || !symbols.every((symbol): symbol is string => typeof symbol === 'string')) {
      throw new Error(`${scope.place}: an enum without symbols`)
    }
    return define(schema, scope, { kind: 'enum', symbols })
  }
  if (type === 'fixed') {
    const { size } = schema
    if (typeof size !== 'number' || !Number.isInteger(size) || size < 0) throw new Error(`${scope.place}: a fixed without size`)
    return define(schema, scope, { kind: 'fixed', size, logical: logicalOf(schema) })
  }
  if (type === 'array') return { kind: 'array', items: parse(schema['items'], inside(scope, '.items')) }
  if (type === 'map') return { kind: 'map', items: parse(schema['values'], inside(scope, '.values')) }
  if (typeof type === 'string' && primitives.has(type)) return { kind: type as PrimitiveKind, logical: logicalOf(schema) }
  return parse(type, inside(scope, '.type'))
}

function parseRecord(schema: Record<string, unknown>, scope: Scope): AvroType {
  const fields: AvroField[] = []
  const { fullName, namespace } = nameOf(schema, scope)
  // Defined before its fields, which may refer to it.
  const record: RecordType = { kind: 'record', name: fullName, fields }
  scope.names.set(fullName, record)
  if (!Array.isArray(schema['fields'])) throw new Error(`${scope.place}: record ${fullName} without fields`)
  const seen = new Set<string>()
  for (const field of schema['fields'] as unknown[]) {
    if (!isObject(field) || typeof field['name'] !== 'string') throw new Error(`${scope.place}: a field of ${fullName} without name`)
    const { name } = field
    if (seen.has(name)) throw new Error(`${scope.place}: field ${name} of ${fullName} is declared twice`)
    seen.add(name)
    const type = parse(field['type'], { ...inside(scope, `.${name}`), namespace })
    const aliases = Array.isArray(field['aliases']) ? field['aliases'].filter((alias): alias is string => typeof alias === 'string') : []
    fields.push({ name, aliases, type, default: field['default'], hasDefault: 'default' in field })
  }
  return record
}

function define(schema: Record<string, unknown>, scope: Scope, type: AvroType): AvroType {
  scope.names.set(nameOf(schema, scope).fullName, type)
  return type
}

function nameOf(schema: Record<string, unknown>, scope: Scope): { fullName: string; namespace: string } {
  const { name } = schema
  if (typeof name !== 'string' || name === '') throw new Error(`${scope.place}: a ${String(schema['type'])} without name`)
  const dot = name.lastIndexOf('.')
  const own = typeof schema['namespace'] === 'string' ? schema['namespace'] : scope.namespace
  const namespace = dot >= 0 ? name.slice(0, dot) : own
  const simple = name.slice(dot + 1)
  return { fullName: namespace === '' ? simple : `${namespace}.${simple}`, namespace }
}

function named(name: string, scope: Scope): AvroType {
  if (primitives.has(name)) return { kind: name as PrimitiveKind }
  const qualified = name.includes('.') || scope.namespace === '' ? name : `${scope.namespace}.${name}`
  const type = scope.names.get(qualified) ?? scope.names.get(name)
  if (!type) throw new Error(`${scope.place}: unknown type "${name}"`)
  return type
}

function logicalOf(schema: Record<string, unknown>): LogicalType | undefined {
  const name = schema['logicalType']
  if (typeof name !== 'string') return undefined
  const scale = schema['scale']
  return { name, scale: typeof scale === 'number' && Number.isInteger(scale) && scale >= 0 ? scale : 0 }
}

function inside(scope: Scope, step: string): Scope {
  return { ...scope, place: scope.place + step, depth: scope.depth + 1 }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
