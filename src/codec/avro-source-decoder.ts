import { assert } from '../base/assert.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import { compileAvroDecoder, readAheadBytes, type CompiledDecoder } from './avro-compiler.js'
import { parseAvroSchema, type AvroType } from './avro-schema.js'
import { Fault } from './decode-fault.js'
import { decodeRowFault } from './decode-row-fault.js'
import type { EventColumns } from './event-columns.js'
import type { FieldSpec } from './field-spec.js'
import { UnknownSchemaIdError, type RegistryClient } from './registry-client.js'
import { prefixBytes } from './registry-prefix.js'

/** What is known of a writer schema id: a decoder, or why its records cannot be decoded. */
type Known =
  | ({ readonly kind: 'decoder' } & CompiledDecoder)
  | { readonly kind: 'unknown' }
  | { readonly kind: 'unfit'; readonly why: string }

/** Ids of which something is known; where hostile records name more, all is forgotten and learnt again. */
export const knownSchemasMax = 20_000
/** Requests for schemas in flight at a time. */
export const schemaFetchesMax = 8

/** Decodes Avro with the envelope of the schema registry; one compiled decoder for each writer schema. */
export class AvroSourceDecoder {
  readonly #fields: readonly FieldSpec[]
  readonly #recordBytesMax: number
  readonly #reader: AvroType | undefined
  readonly #registry: Pick<RegistryClient, 'schemaById' | 'isUnknownId'>
  readonly #known = new Map<number, Known>()

  constructor(
    fields: readonly FieldSpec[],
    recordBytesMax: number,
    readerSchema: object | undefined,
    registry: Pick<RegistryClient, 'schemaById' | 'isUnknownId'> | undefined,
  ) {
    assert(registry, 'a source of Avro has a registry')
    this.#fields = fields
    this.#recordBytesMax = recordBytesMax
    this.#registry = registry
    if (readerSchema !== undefined) {
      try {
        this.#reader = parseAvroSchema(readerSchema)
        compileAvroDecoder(this.#reader, fields, this.#reader)
      } catch (error) {
        throw new HarrierError('SCHEMA_INVALID', `the source's schema does not give its fields: ${messageOf(error)}`, { cause: error })
      }
    }
  }

  prepare(records: RecordColumns, from = 0, signal?: AbortSignal): Promise<void> | undefined {
    let wanted: Set<number> | undefined
    let last = -1
    for (let row = from; row < records.count; row++) {
      const id = idAt(records, row)
      if (id < 0 || id === last) continue
      last = id
      const known = this.#known.get(id)
      if (known && (known.kind !== 'unknown' || this.#registry.isUnknownId(id))) continue
      wanted ??= new Set()
      wanted.add(id)
    }
    return wanted ? this.#fetch([...wanted], records, from, signal) : undefined
  }

  async #fetch(ids: readonly number[], records: RecordColumns, from: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#known.size > 0 && this.#known.size + ids.length > knownSchemasMax) {
      this.#known.clear()
      return await (this.prepare(records, from, signal) ?? Promise.resolve())
    }
    for (let at = 0; at < ids.length; at += schemaFetchesMax) {
      await Promise.all(ids.slice(at, at + schemaFetchesMax).map((id) => this.#learn(id, signal)))
    }
  }

  async #learn(id: number, signal: AbortSignal | undefined): Promise<void> {
    let schema: object
    try {
      schema = await this.#registry.schemaById(id, signal)
    } catch (error) {
      if (!(error instanceof UnknownSchemaIdError)) throw error
      this.#known.set(id, { kind: 'unknown' })
      return
    }
    try {
      const compiled = compileAvroDecoder(parseAvroSchema(schema), this.#fields, this.#reader)
      this.#known.set(id, { kind: 'decoder', ...compiled })
    } catch (error) {
      this.#known.set(id, { kind: 'unfit', why: `schema ${id}: ${messageOf(error)}` })
    }
  }

  decode(records: RecordColumns, events: EventColumns, from = 0): void {
    assert(records.count <= events.rowsMax, 'event columns have a row for each record')
    if (from === 0) events.reset()
    const { arena, valueAt, valueBytes } = records
    const { numbers, textAt, textBytes } = events
    arena.reserve(readAheadBytes)
    let lastId = -1
    let known: Known | undefined
    for (let row = from; row < records.count; row++) {
      const at = valueAt[row]!
      const size = valueBytes[row]!
      if (size < prefixBytes || size > this.#recordBytesMax || arena.bytes[at] !== 0) {
        this.#envelopeFault(records, events, row)
        continue
      }
      const id = idAt(records, row)
      if (id !== lastId) {
        known = this.#known.get(id)
        lastId = id
        assert(known, 'prepare comes before decode')
      }
      if (known!.kind !== 'decoder') {
        if (known!.kind === 'unknown') events.setFault(row, Fault.unknownSchema, undefined, String(id))
        else events.setFault(row, Fault.schemaUnfit, undefined, known!.why)
        continue
      }
      arena.reserve(known!.textBytesMax + readAheadBytes)
      const fault = known!.decode(arena.bytes, arena.view, at + prefixBytes, at + size, row, numbers, textAt, textBytes, arena)
      if (fault !== 0) decodeRowFault(events, row, fault)
    }
    events.count = records.count
  }

  #envelopeFault(records: RecordColumns, events: EventColumns, row: number): void {
    const size = records.valueBytes[row]!
    if (size < 0) events.setFault(row, Fault.valueNull)
    else if (size > this.#recordBytesMax) events.setFault(row, Fault.valueTooLarge, undefined, `${size} bytes, at most ${this.#recordBytesMax}`)
    else if (size > 0 && records.arena.bytes[records.valueAt[row]!] !== 0) events.setFault(row, Fault.badMagic)
    else events.setFault(row, Fault.valueTooShort, undefined, `${size} bytes`)
  }
}

/** The schema id of a row; -1 where the envelope is not one. */
function idAt(records: RecordColumns, row: number): number {
  const { bytes } = records.arena
  const at = records.valueAt[row]!
  if (records.valueBytes[row]! < prefixBytes || bytes[at] !== 0) return -1
  return ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!) >>> 0
}
