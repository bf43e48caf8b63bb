import type { ErrorCode } from '../base/errors.js'
import type { FieldSpec } from './field-spec.js'

/** Why a record became a dead letter, as `EventColumns.fault` holds it. 0 is no fault. */
export const Fault = {
  none: 0,
  valueNull: 1,
  valueTooLarge: 2,
  valueTooShort: 3,
  badMagic: 4,
  unknownSchema: 5,
  schemaUnfit: 6,
  truncated: 7,
  trailingBytes: 8,
  malformed: 9,
  badUtf8: 10,
  wrongType: 11,
  missingField: 12,
  nullField: 13,
  notFinite: 14,
  belowMin: 15,
  aboveMax: 16,
  timeOutOfRange: 17,
  integerUnsafe: 18,
  inexact: 19,
  badTime: 20,
  notJson: 21,
  tooDeep: 22,
  duplicateField: 23,
  notNumber: 24,
  tooMany: 25,
  notAllowed: 26,
} as const

export type FaultName = keyof typeof Fault

/** 1970-01-01T00:00:00.000Z to 9999-12-31T23:59:59.999Z. */
export const eventTimeMsMin = 0
export const eventTimeMsMax = 253_402_300_799_999
/** Levels of nested records, objects and arrays in one value. */
export const nestingDepthMax = 64
/** Longest unscaled decimal in bytes. */
export const decimalBytesMax = 64
export const recordBytesMaxDefault = 1 << 20

interface FaultEntry {
  readonly code: Extract<ErrorCode, 'RECORD_UNDECODABLE' | 'RECORD_INVALID'>
  readonly text: string
}

const undecodable = (text: string): FaultEntry => ({ code: 'RECORD_UNDECODABLE', text })
const invalid = (text: string): FaultEntry => ({ code: 'RECORD_INVALID', text })

export const faultCatalogue: Readonly<Record<FaultName, FaultEntry>> = {
  none: invalid('no fault'),
  valueNull: invalid('the value is null'),
  valueTooLarge: invalid('the value is larger than recordBytesMax'),
  valueTooShort: undecodable('the value is too short for a schema id'),
  badMagic: undecodable('the value does not begin with the magic byte 0x00 of the schema registry'),
  unknownSchema: undecodable('unknown schema id'),
  schemaUnfit: undecodable('the schema of the record cannot serve the source'),
  truncated: undecodable('the value ends too early'),
  trailingBytes: undecodable('bytes follow the end of the value'),
  malformed: undecodable('the value is not well-formed Avro'),
  badUtf8: undecodable('text is not UTF-8'),
  wrongType: invalid('wrong type'),
  missingField: invalid('is missing'),
  nullField: invalid('is null'),
  notFinite: invalid('is NaN or infinite'),
  belowMin: invalid('is below its minimum'),
  aboveMax: invalid('is above its maximum'),
  timeOutOfRange: invalid('lies before 1970 or after the year 9999'),
  integerUnsafe: invalid('is beyond 2^53-1, where numbers lose exactness; declare the field as text'),
  inexact: invalid('has more decimals than the declared scale keeps'),
  badTime: invalid('is not an ISO 8601 date and time with a zone'),
  notJson: undecodable('the value is not JSON'),
  tooDeep: undecodable('the value is nested too deeply'),
  duplicateField: invalid('appears twice'),
  notNumber: invalid('is text that is not a decimal number'),
  tooMany: invalid('has more than one item, and the path says [only]'),
  notAllowed: invalid('is none of the values that its schema allows'),
}

export const faultNames = Object.keys(Fault) as FaultName[]

/** What a decoder returns for a row: 0, or the fault's code with the number of the field (from 1) above it. */
export function packFault(code: number, field = -1): number {
  return code | ((field + 1) << 8)
}

export function describeFault(code: number, field: FieldSpec | undefined, detail: string | undefined): string {
  const { text } = faultCatalogue[faultNames[code]!]
  return `${field ? fieldSubject(field) : ''}${text}${detail === undefined ? '' : `: ${detail}`}`
}

/** How messages about a field begin. */
export function fieldSubject({ name, path }: FieldSpec): string {
  return `field ${name}${path === name ? '' : ` (${path})`}: `
}

/** The catalogue code of a fault: what an operator finds in docs/errors.md. */
export function faultErrorCode(code: number): ErrorCode {
  return faultCatalogue[faultNames[code]!].code
}
