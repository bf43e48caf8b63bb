import { assert } from '../base/assert.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import { compileAvroDecoder, readAheadBytes, type CompiledDecoder } from './avro-compiler.js'
import { parseAvroSchema, type AvroType } from './avro-schema.js'
import { decodeRowFault } from './decode-row-fault.js'
import type { EventColumns } from './event-columns.js'
import type { FieldSpec } from './field-spec.js'
import { envelopeFits, KnownSchemas, schemaFault, type Known } from './known-schemas.js'
import type { SchemaLookup } from './registry-client.js'
import { prefixBytes, schemaIdAt } from './registry-prefix.js'

/** Decodes Avro with the envelope of the schema registry; one compiled decoder for each writer schema. */
export class AvroSourceDecoder {
  readonly #recordBytesMax: number
  readonly #schemas: KnownSchemas<CompiledDecoder>

  constructor(fields: readonly FieldSpec[], recordBytesMax: number, readerSchema: object | undefined, registry: SchemaLookup | undefined) {
    assert(registry, 'a source of Avro has a registry')
    this.#recordBytesMax = recordBytesMax
    const reader = readerSchema === undefined ? undefined : readerType(readerSchema, fields)
    this.#schemas = new KnownSchemas(registry, 'AVRO', (schema) => compileAvroDecoder(parseAvroSchema(schema), fields, reader))
  }

  prepare(records: RecordColumns, from = 0, signal?: AbortSignal, unknownIds?: ReadonlySet<number>): Promise<void> | undefined {
    return this.#schemas.prepare(records, from, signal, unknownIds)
  }

  decode(records: RecordColumns, events: EventColumns, from = 0, unknownIds?: ReadonlySet<number>): void {
    assert(records.count <= events.rowsMax, 'event columns have a row for each record')
    if (from === 0) events.reset()
    const { arena, valueAt, valueBytes } = records
    const { numbers, textAt, textBytes } = events
    arena.reserve(readAheadBytes)
    let lastId = -1
    let known: Known<CompiledDecoder> | undefined
    let decoder: CompiledDecoder | undefined
    for (let row = from; row < records.count; row++) {
      if (!envelopeFits(records, events, row, this.#recordBytesMax)) continue
      const at = valueAt[row]!
      const id = schemaIdAt(records, row)
      if (id !== lastId) {
        known = this.#schemas.get(id, unknownIds)
        lastId = id
        assert(known, 'prepare comes before decode')
        decoder = known.kind === 'decoder' ? known.decoder : undefined
      }
      if (decoder === undefined) {
        schemaFault(known as Exclude<Known<CompiledDecoder>, { kind: 'decoder' }>, id, events, row)
        continue
      }
      arena.reserve(decoder.textBytesMax + readAheadBytes)
      const fault = decoder.decode(arena.bytes, arena.view, at + prefixBytes, at + valueBytes[row]!, row, numbers, textAt, textBytes, arena)
      if (fault !== 0) decodeRowFault(events, row, fault)
    }
    events.count = records.count
  }
}

/** The parsed schema of the source, which gives every field. */
function readerType(schema: object, fields: readonly FieldSpec[]): AvroType {
  try {
    const reader = parseAvroSchema(schema)
    compileAvroDecoder(reader, fields, reader)
    return reader
  } catch (error) {
    throw new HarrierError('SCHEMA_INVALID', `the source's schema does not give its fields: ${messageOf(error)}`, { cause: error })
  }
}
