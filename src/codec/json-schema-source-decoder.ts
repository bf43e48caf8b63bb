import { assert } from '../base/assert.js'
import type { RecordColumns } from '../base/record-columns.js'
import { decodeRowFault } from './decode-row-fault.js'
import type { EventColumns } from './event-columns.js'
import type { FieldSpec } from './field-spec.js'
import { JsonContractDecoder } from './json-contract-decoder.js'
import { contractDecoder } from './json-source-decoder.js'
import { envelopeFits, KnownSchemas, schemaFault, type Known } from './known-schemas.js'
import type { SchemaLookup } from './registry-client.js'
import { prefixBytes, schemaIdAt } from './registry-prefix.js'

/** Decodes JSON objects behind the envelope of the schema registry; one decoder for each JSON Schema that writers use. */
export class JsonSchemaSourceDecoder {
  readonly #recordBytesMax: number
  readonly #schemas: KnownSchemas<JsonContractDecoder>

  constructor(fields: readonly FieldSpec[], recordBytesMax: number, schema: object | undefined, registry: SchemaLookup | undefined) {
    assert(registry, 'a source of JSON Schema has a registry')
    this.#recordBytesMax = recordBytesMax
    contractDecoder(fields, schema)
    this.#schemas = new KnownSchemas(registry, 'JSON', (written) => new JsonContractDecoder(fields, written))
  }

  prepare(records: RecordColumns, from = 0, signal?: AbortSignal, unknownIds?: ReadonlySet<number>): Promise<void> | undefined {
    return this.#schemas.prepare(records, from, signal, unknownIds)
  }

  decode(records: RecordColumns, events: EventColumns, from = 0, unknownIds?: ReadonlySet<number>): void {
    assert(records.count <= events.rowsMax, 'event columns have a row for each record')
    if (from === 0) events.reset()
    const { arena, valueAt, valueBytes } = records
    let lastId = -1
    let known: Known<JsonContractDecoder> | undefined
    for (let row = from; row < records.count; row++) {
      if (!envelopeFits(records, events, row, this.#recordBytesMax)) continue
      const id = schemaIdAt(records, row)
      if (id !== lastId) known = this.#schemas.get(id, unknownIds)
      lastId = id
      assert(known, 'prepare comes before decode')
      if (known.kind !== 'decoder') {
        schemaFault(known, id, events, row)
        continue
      }
      const at = valueAt[row]!
      const size = valueBytes[row]!
      arena.reserve(size + known.decoder.textBytesMax)
      const fault = known.decoder.decode(arena, at + prefixBytes, at + size, row, events)
      if (fault !== 0) decodeRowFault(events, row, fault, known.decoder.fields)
    }
    events.count = records.count
  }
}
