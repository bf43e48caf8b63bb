import type { AvroType } from './avro-schema.js'
import { eventTimeMsMax, eventTimeMsMin, Fault } from './decode-fault.js'
import { readDecimalText } from './decimal-text.js'
import { exact, scaleDouble } from './exact-number.js'
import { isText, isTime, zoneMinutesOf, type FieldSpec } from './field-spec.js'
import { parseIsoTimeMs } from './iso-time.js'
import { parsePath, type PathNode, type PathStep } from './field-paths.js'

/** What stands in for a value that a writer lacks: a column value, null, or nothing (the field is missing). */
export type StandIn = { readonly kind: 'value'; readonly value: number | string } | { readonly kind: 'null' } | { readonly kind: 'missing' }

const missing: StandIn = { kind: 'missing' }
const none: StandIn = { kind: 'null' }

export function fieldRefusal(field: FieldSpec, why: string): string {
  return `field ${field.name} (${field.path}): ${why}`
}

/** The default that the topology declares for an absent field. */
export function declaredStandIn(field: FieldSpec): StandIn {
  const value = field.default
  if (value !== undefined) return { kind: 'value', value: typeof value === 'boolean' ? Number(value) : value }
  return field.optional === true ? none : missing
}

/**
 * What fills a field whose writer ends at `node` (an absent step of its path): the topology's default before the reader
 * schema's. Throws an Error when a default does not fit the field.
 */
export function standInFor(node: PathNode, field: FieldSpec): StandIn {
  if (field.default !== undefined || !node.default) return declaredStandIn(field)
  const below = (parsePath(field.path) ?? []).slice(node.depth)
  return fromReader(node.default.json, node.default.type, below, field)
}

function fromReader(json: unknown, type: AvroType, below: readonly PathStep[], field: FieldSpec): StandIn {
  // The default of a union is of its first branch; since Avro 1.12 of any.
  if (json === null) return field.optional === true ? none : missing
  const step = below[0]
  if (step === undefined) return convert(json, type, field)
  const branches = type.kind === 'union' ? type.branches : [type]
  for (const branch of branches) {
    if (typeof json !== 'object') continue
    if (branch.kind === 'array' || branch.kind === 'map') {
      const item = (json as Record<string | number, unknown>)[step.index ?? step.name]
      if (Array.isArray(json) === (branch.kind === 'array') && item !== undefined) return fromReader(item, branch.items, below.slice(1), field)
      continue
    }
    if (branch.kind !== 'record') continue
    const inner = branch.fields.find(({ name }) => name === step.name)
    if (!inner) continue
    const held = (json as Record<string, unknown>)[step.name]
    if (held !== undefined) return fromReader(held, inner.type, below.slice(1), field)
    return inner.hasDefault ? fromReader(inner.default, inner.type, below.slice(1), field) : missing
  }
  return missing
}

function convert(json: unknown, type: AvroType, field: FieldSpec): StandIn {
  const refuse = (): never => {
    throw new Error(fieldRefusal(field, `the default ${JSON.stringify(json)} of the schema does not fit type ${field.type}`))
  }
  const found = (value: number | string): StandIn => ({ kind: 'value', value })
  if (isText(field)) {
    if (typeof json === 'string') return found(json)
    return typeof json === 'number' && Number.isSafeInteger(json) ? found(String(json)) : refuse()
  }
  if (field.type === 'boolean') return typeof json === 'boolean' ? found(Number(json)) : refuse()
  if (field.type === 'iso8601') {
    const text = Buffer.from(typeof json === 'string' ? json : '')
    const timeMs = parseIsoTimeMs(text, 0, text.length, zoneMinutesOf(field))
    return timeMs >= eventTimeMsMin && timeMs <= eventTimeMsMax ? found(timeMs) : refuse()
  }
  if (typeof json === 'string' && field.from === 'text') return fromText(json, field) ?? refuse()
  if (typeof json !== 'number') return refuse()
  if (isTime(field)) return found(Math.floor(json * timeUnitMs(field, type)))
  if (field.type === 'number') return found(json)
  scaleDouble(json, field.scale ?? 0, false)
  return exact.fault === 0 ? found(exact.value) : refuse()
}

function fromText(json: string, field: FieldSpec): StandIn | undefined {
  const text = Buffer.from(json)
  const fault = readDecimalText(text, 0, text.length, field)
  return fault === Fault.none ? { kind: 'value', value: exact.value } : undefined
}

/** Ms in one unit of a time: the writer's logical type knows best, then the declaration. */
export function timeUnitMs(field: FieldSpec, type: AvroType): number {
  const branch = type.kind === 'union' ? type.branches.find(({ kind }) => kind === 'long' || kind === 'int') : type
  const logical = branch && 'logical' in branch ? branch.logical?.name : undefined
  if (logical !== undefined && logical in logicalUnitMs) return logicalUnitMs[logical as keyof typeof logicalUnitMs]
  return declaredUnitMs[field.type as keyof typeof declaredUnitMs]
}

/** Local timestamps name no zone; they are read as UTC. */
const logicalUnitMs = {
  'timestamp-millis': 1,
  'timestamp-micros': 1e-3,
  'timestamp-nanos': 1e-6,
  'local-timestamp-millis': 1,
  'local-timestamp-micros': 1e-3,
  'local-timestamp-nanos': 1e-6,
  date: 86_400_000,
}
const declaredUnitMs = { 'timestamp-millis': 1, 'timestamp-micros': 1e-3, 'timestamp-seconds': 1000 }
