/** What a registry says of a schema: its type, its text parsed, and the schemas of other subjects that it names. */
export type SchemaType = 'AVRO' | 'JSON' | 'PROTOBUF'

export interface SchemaReference {
  /** As the schema writes it: an Avro full name, a `$ref` of JSON Schema. */
  readonly name: string
  readonly subject: string
  readonly version: number
}

export interface RegisteredSchema {
  /** As the registry says it; a registry may know more types than Harrier. */
  readonly type: string
  /** Parsed; undefined for types whose text is not JSON. */
  readonly schema: unknown
  readonly references: readonly SchemaReference[]
}

/** Schemas that one schema may reach by references. */
export const referencesMax = 200
/** Where a bundled JSON Schema keeps the schemas that it refers to, by name. */
export const bundledKey = 'x-harrier-references'

/** The schema in an answer of the registry. Throws an Error when there is none, or when it is not JSON. */
export function readRegistered(body: Readonly<Record<string, unknown>>): RegisteredSchema {
  const { schema, schemaType, references } = body
  if (typeof schema !== 'string') throw new Error('no schema')
  const type = typeof schemaType === 'string' ? schemaType : 'AVRO'
  const isJson = type === 'AVRO' || type === 'JSON'
  return { type, schema: isJson ? JSON.parse(schema) : undefined, references: Array.isArray(references) ? references.filter(isReference) : [] }
}

function isReference(value: unknown): value is SchemaReference {
  if (typeof value !== 'object' || value === null) return false
  const { name, subject, version } = value as Record<string, unknown>
  return typeof name === 'string' && typeof subject === 'string' && typeof version === 'number'
}

/** One schema that stands for itself: what it refers to is written into it. `referred` holds schemas by reference name. */
export function bundleSchema(type: string, schema: unknown, referred: ReadonlyMap<string, unknown>): object {
  if (type === 'AVRO') return asObject(referred.size === 0 ? schema : inlineAvro(schema, [...referred.values()]))
  const own = typeof schema === 'object' && schema !== null ? schema : schema === false ? { not: {} } : {}
  return referred.size === 0 ? own : { ...own, [bundledKey]: Object.fromEntries(referred) }
}

function asObject(schema: unknown): object {
  return typeof schema === 'object' && schema !== null ? schema : { type: schema }
}

interface Definition {
  readonly schema: Record<string, unknown>
  readonly namespace: string
}

/** An Avro schema with the named types of other schemas written where it first uses them. */
function inlineAvro(schema: unknown, others: readonly unknown[]): unknown {
  const definitions = new Map<string, Definition>()
  for (const other of others) collect(other, '', definitions)
  return inline(schema, '', definitions, new Set())
}

function collect(schema: unknown, namespace: string, into: Map<string, Definition>): void {
  if (Array.isArray(schema)) return schema.forEach((branch) => collect(branch, namespace, into))
  if (!isObject(schema)) return
  let inner = namespace
  if (isNamed(schema)) {
    const name = fullName(schema, namespace)
    into.set(name.full, { schema, namespace })
    inner = name.namespace
  }
  for (const part of parts(schema)) collect(part, inner, into)
}

function inline(schema: unknown, namespace: string, definitions: ReadonlyMap<string, Definition>, defined: Set<string>): unknown {
  const again = (part: unknown, inner = namespace): unknown => inline(part, inner, definitions, defined)
  if (typeof schema === 'string') {
    for (const name of [schema.includes('.') || namespace === '' ? schema : `${namespace}.${schema}`, schema]) {
      if (defined.has(name)) return name
      const definition = definitions.get(name)
      if (definition) return again(definition.schema, definition.namespace)
    }
    return schema
  }
  if (Array.isArray(schema)) return schema.map((branch) => again(branch))
  if (!isObject(schema)) return schema
  let own: Record<string, unknown> = { ...schema }
  let inner = namespace
  if (isNamed(schema)) {
    const name = fullName(schema, namespace)
    if (defined.has(name.full)) return name.full
    defined.add(name.full)
    inner = name.namespace
    own = { ...own, name: name.full.slice(inner === '' ? 0 : inner.length + 1), namespace: inner }
  }
  if (Array.isArray(own['fields'])) own['fields'] = own['fields'].map((field: unknown) => (isObject(field) ? { ...field, type: again(field['type'], inner) } : field))
  for (const key of ['items', 'values']) if (key in own) own[key] = again(own[key], inner)
  if (!isNamed(schema) && typeof own['type'] === 'object') own['type'] = again(own['type'], inner)
  else if (!isNamed(schema) && typeof own['type'] === 'string' && own['type'] !== 'array' && own['type'] !== 'map') {
    const type = again(own['type'], inner)
    if (typeof type === 'object' || defined.has(type as string)) return type
  }
  return own
}

function parts(schema: Record<string, unknown>): unknown[] {
  const fields = Array.isArray(schema['fields']) ? schema['fields'].map((field: unknown) => (isObject(field) ? field['type'] : undefined)) : []
  return [...fields, schema['items'], schema['values'], typeof schema['type'] === 'object' ? schema['type'] : undefined]
}

function isNamed(schema: Record<string, unknown>): boolean {
  return ['record', 'error', 'enum', 'fixed'].includes(schema['type'] as string) && typeof schema['name'] === 'string'
}

function fullName(schema: Record<string, unknown>, enclosing: string): { full: string; namespace: string } {
  const name = schema['name'] as string
  const dot = name.lastIndexOf('.')
  const own = typeof schema['namespace'] === 'string' ? schema['namespace'] : enclosing
  const namespace = dot >= 0 ? name.slice(0, dot) : own
  const simple = name.slice(dot + 1)
  return { full: namespace === '' ? simple : `${namespace}.${simple}`, namespace }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
