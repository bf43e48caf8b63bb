import { RecordColumns } from '../../src/base/record-columns.js'
import { EventColumns } from '../../src/codec/event-columns.js'
import { Fault, faultNames } from '../../src/codec/decode-fault.js'
import type { FieldSpec } from '../../src/codec/field-spec.js'
import { schemaPrefix } from '../../src/codec/registry-prefix.js'
import { UnknownSchemaIdError } from '../../src/codec/registry-client.js'
import { createSourceDecoder, type SourceFormat } from '../../src/codec/source-decoder.js'

export type Cell = number | string | null

export interface DecodedRow {
  readonly fault: string
  readonly message: string
  /** By field name; not there when the row has a fault. */
  readonly cells?: Readonly<Record<string, Cell>>
}

/** A registry in memory. */
export function fakeRegistry(schemas: ReadonlyMap<number, object>): {
  schemaById(id: number): Promise<object>
  isUnknownId(id: number): boolean
  asked: number[]
} {
  const asked: number[] = []
  return {
    asked,
    schemaById: (id) => {
      asked.push(id)
      const schema = schemas.get(id)
      return schema ? Promise.resolve(schema) : Promise.reject(new UnknownSchemaIdError(id))
    },
    isUnknownId: (id) => !schemas.has(id),
  }
}

export function withPrefix(schemaId: number, body: Uint8Array): Buffer {
  return Buffer.concat([schemaPrefix(schemaId), body])
}

/** Lays values into an arena with `filler` bytes between them, so that reading outside a value shows. */
export function fillRecords(values: readonly (Uint8Array | null)[], filler: (i: number) => number): RecordColumns {
  const records = new RecordColumns(values.length)
  const gap = (): void => {
    records.arena.append(Uint8Array.from({ length: 24 }, (_, i) => filler(i)))
  }
  gap()
  values.forEach((value, i) => {
    records.append(0, 0, i, 0, null, value)
    gap()
  })
  // What lies behind everything that was written.
  records.arena.bytes.fill(filler(0), records.arena.used)
  return records
}

/** The rows of an event batch as values. */
export function readRows(records: RecordColumns, events: EventColumns): DecodedRow[] {
  return Array.from({ length: events.count }, (_, row) => {
    const fault = faultNames[events.fault[row]!]!
    const message = events.faultMessage(row)
    if (events.fault[row] !== Fault.none) return { fault, message }
    const cells = events.fields.map(({ name, type }, field): [string, Cell] => {
      if (type === 'text') return [name, events.text(field, row, records.arena)]
      const value = events.numbers[field]![row]!
      return [name, Number.isNaN(value) ? null : value]
    })
    return { fault, message, cells: Object.fromEntries(cells) }
  })
}

export interface DecodeOptions {
  readonly format?: SourceFormat
  readonly schemas?: ReadonlyMap<number, object>
  readonly readerSchema?: object
  readonly recordBytesMax?: number
  readonly filler?: (i: number) => number
}

/** Decodes values in one batch. */
export async function decodeAll(fields: readonly FieldSpec[], values: readonly (Uint8Array | null)[], options: DecodeOptions = {}): Promise<DecodedRow[]> {
  const { format = 'avro', schemas = new Map<number, object>(), readerSchema, recordBytesMax, filler = () => 0xff } = options
  const decoder = createSourceDecoder({ format, fields, readerSchema, recordBytesMax, registry: fakeRegistry(schemas) })
  const records = fillRecords(values, filler)
  const events = new EventColumns(fields, values.length)
  await decoder.prepare(records)
  decoder.decode(records, events)
  return readRows(records, events)
}

export function decodeJson(fields: readonly FieldSpec[], texts: readonly string[], options: DecodeOptions = {}): Promise<DecodedRow[]> {
  return decodeAll(fields, texts.map((text) => Buffer.from(text)), { ...options, format: 'json' })
}
