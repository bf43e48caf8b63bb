import { HarrierError } from '../base/errors.js'
import { parsePath } from './field-paths.js'

/** How the bytes of a contract become a column; see `EventColumns` for what each column holds. */
export const fieldTypes = [
  'text',
  'integer',
  'number',
  'boolean',
  'timestamp-millis',
  'timestamp-micros',
  'timestamp-seconds',
  'iso8601',
] as const

export type FieldType = (typeof fieldTypes)[number]

/** One field that a topology's source declares: where it stands in the contract and what is accepted there. */
export interface FieldSpec {
  readonly name: string
  /** Into nested records, arrays and maps: `payment.amount`, `legs[0].amount`, `legs[only].amount`, `tags["a.b"]`. */
  readonly path: string
  readonly type: FieldType
  /** Smallest and largest accepted value, in the column's units. */
  readonly min?: number | undefined
  readonly max?: number | undefined
  /** Null and absent are accepted: NaN in a number column, -1 bytes in a text column. */
  readonly optional?: boolean | undefined
  /** Stands in for an absent (never for a null) value, in the column's units: ms for times, minor units with `scale`. */
  readonly default?: number | string | boolean | undefined
  /** `integer` only: the value times 10^scale, exactly: decimal 12.34 with scale 2 is 1234. */
  readonly scale?: number | undefined
  /** `text`: numbers, and times in units, may also be written as text: "129.90". */
  readonly from?: 'text' | undefined
  /** `iso8601` only: the zone of times that name none: `Z`, `+01:00`. A date alone is then its first moment. */
  readonly zone?: string | undefined
  /** Masked where people look, a token in outputs. A text names the domain: values of one domain have tokens that can be joined. Default: the field's name. */
  readonly personal?: boolean | string | undefined
}

export const fieldsMax = 200
export const scaleMax = 15

export function isText(field: FieldSpec): boolean {
  return field.type === 'text'
}

export function isTime(field: FieldSpec): boolean {
  return field.type === 'iso8601' || field.type.startsWith('timestamp-')
}

/** Minutes east of UTC of times that name no zone; NaN where none is declared: such a time is then refused. */
export function zoneMinutesOf(field: FieldSpec): number {
  const match = /^(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))$/.exec(field.zone ?? '')
  if (!match) return NaN
  return (match[1] === '-' ? -1 : 1) * (Number(match[2] ?? 0) * 60 + Number(match[3] ?? 0))
}

/** Throws TOPOLOGY_INVALID for declarations that contradict themselves. */
export function checkFieldSpecs(fields: readonly FieldSpec[]): void {
  const refuse = (field: FieldSpec, why: string): never => {
    throw new HarrierError('TOPOLOGY_INVALID', `source field "${field.name}": ${why}`)
  }
  if (fields.length > fieldsMax) throw new HarrierError('TOPOLOGY_INVALID', `a source has ${fields.length} fields; at most ${fieldsMax} are read`)
  const names = new Set<string>()
  for (const field of fields) {
    if (names.has(field.name)) refuse(field, 'the name is declared twice')
    names.add(field.name)
    if (!parsePath(field.path)) refuse(field, `"${field.path}" is not a dotted path: write payment.amount, legs[0].amount, legs[only].amount or tags["a.b"]`)
    if (!fieldTypes.includes(field.type)) refuse(field, `unknown type "${field.type}"; one of ${fieldTypes.join(', ')}`)
    if (field.scale !== undefined && field.type !== 'integer') refuse(field, 'scale is for type integer')
    if (field.scale !== undefined && !(Number.isInteger(field.scale) && field.scale >= 0 && field.scale <= scaleMax)) {
      refuse(field, `scale must be 0 to ${scaleMax}`)
    }
    if (field.from !== undefined && (isText(field) || field.type === 'boolean' || field.type === 'iso8601')) refuse(field, `from: text does not fit type ${field.type}`)
    if (field.zone !== undefined && field.type !== 'iso8601') refuse(field, 'zone is for type iso8601')
    if (field.zone !== undefined && Number.isNaN(zoneMinutesOf(field))) refuse(field, `"${field.zone}" is not a zone: write Z, +01:00 or -05:30`)
    const hasBounds = field.min !== undefined || field.max !== undefined
    if (hasBounds && (isText(field) || field.type === 'boolean')) refuse(field, `min and max do not fit type ${field.type}`)
    for (const bound of [field.min, field.max]) if (bound !== undefined && !Number.isFinite(bound)) refuse(field, 'min and max must be finite')
    if (field.min !== undefined && field.max !== undefined && field.min > field.max) refuse(field, 'min is above max')
    if (field.default !== undefined && !defaultFits(field)) refuse(field, `the default does not fit type ${field.type}`)
  }
}

function defaultFits(field: FieldSpec): boolean {
  const value = field.default
  if (isText(field)) return typeof value === 'string'
  if (field.type === 'boolean') return typeof value === 'boolean'
  if (typeof value !== 'number' || !Number.isFinite(value)) return false
  return field.type === 'number' || Number.isSafeInteger(value)
}
