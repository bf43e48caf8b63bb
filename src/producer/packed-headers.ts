import { isUtf8 } from 'node:buffer'
import type { RecordColumns } from '../base/record-columns.js'

/**
 * node-rdkafka writes header values as text: bytes that are not UTF-8 would be damaged and a null would become "null".
 * Such a header travels as base64 under `__harrier.base64.<name>`, a null as an empty `__harrier.null.<name>`, and `unescapeHeader` undoes it.
 */
export const base64HeaderPrefix = '__harrier.base64.'
export const nullHeaderPrefix = '__harrier.null.'

export type TextHeader = Record<string, string>

/** The headers of a row in node-rdkafka's form, or undefined when there are none. */
export function toTextHeaders(columns: RecordColumns, row: number): TextHeader[] | undefined {
  if (columns.headersBytes[row] === 0) return undefined
  return columns.headers(row).map(({ name, value }) => {
    if (value === null) return { [nullHeaderPrefix + name]: '' }
    return isUtf8(value) ? { [name]: value.toString() } : { [base64HeaderPrefix + name]: value.toString('base64') }
  })
}

/** The header as it was before `toTextHeaders`. */
export function unescapeHeader(name: string, value: Buffer | null): { name: string; value: Buffer | null } {
  if (name.startsWith(base64HeaderPrefix)) return { name: name.slice(base64HeaderPrefix.length), value: Buffer.from(String(value), 'base64') }
  if (name.startsWith(nullHeaderPrefix)) return { name: name.slice(nullHeaderPrefix.length), value: null }
  return { name, value }
}
