import { messageOf } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { EventColumns } from './event-columns.js'
import { Fault } from './decode-fault.js'
import type { SchemaType } from './registered-schema.js'
import { UnknownSchemaIdError, WrongSchemaTypeError, type SchemaLookup } from './registry-client.js'
import { prefixBytes, schemaIdAt } from './registry-prefix.js'

/** What is known of a writer schema id: a decoder, or why its records cannot be decoded. */
export type Known<T> = { readonly kind: 'decoder'; readonly decoder: T } | { readonly kind: 'unknown' } | { readonly kind: 'unfit'; readonly why: string }

/** Ids of which something is known; where hostile records name more, all is forgotten and learnt again. */
export const knownSchemasMax = 20_000
/** Requests for schemas in flight at a time. */
export const schemaFetchesMax = 8

const unknown = { kind: 'unknown' } as const

/** A decoder for each writer schema id that records name: made when the id is first met, kept for good. */
export class KnownSchemas<T> {
  readonly #registry: SchemaLookup
  readonly #type: SchemaType
  readonly #compile: (schema: object) => T
  readonly #known = new Map<number, Known<T>>()

  /** `compile` throws an Error that says why a schema cannot serve the source. */
  constructor(registry: SchemaLookup, type: SchemaType, compile: (schema: object) => T) {
    this.#registry = registry
    this.#type = type
    this.#compile = compile
  }

  /** As `SourceDecoder.prepare`. */
  prepare(records: RecordColumns, from: number, signal: AbortSignal | undefined, unknownIds: ReadonlySet<number> | undefined): Promise<void> | undefined {
    let wanted: Set<number> | undefined
    let last = -1
    for (let row = from; row < records.count; row++) {
      const id = schemaIdAt(records, row)
      if (id < 0 || id === last) continue
      last = id
      const known = this.#known.get(id)
      if (known && (known.kind !== 'unknown' || this.#registry.isUnknownId(id))) continue
      if (unknownIds?.has(id)) continue
      wanted ??= new Set()
      wanted.add(id)
    }
    return wanted ? this.#fetch([...wanted], records, from, signal, unknownIds) : undefined
  }

  /** Undefined for an id that was never prepared. */
  get(id: number, unknownIds: ReadonlySet<number> | undefined): Known<T> | undefined {
    return unknownIds?.has(id) ? unknown : this.#known.get(id)
  }

  async #fetch(ids: readonly number[], records: RecordColumns, from: number, signal: AbortSignal | undefined, unknownIds: ReadonlySet<number> | undefined): Promise<void> {
    if (this.#known.size > 0 && this.#known.size + ids.length > knownSchemasMax) {
      this.#known.clear()
      return await (this.prepare(records, from, signal, unknownIds) ?? Promise.resolve())
    }
    for (let at = 0; at < ids.length; at += schemaFetchesMax) {
      await Promise.all(ids.slice(at, at + schemaFetchesMax).map((id) => this.#learn(id, signal)))
    }
  }

  async #learn(id: number, signal: AbortSignal | undefined): Promise<void> {
    let schema: object
    try {
      schema = await this.#registry.schemaById(id, signal, this.#type)
    } catch (error) {
      if (error instanceof UnknownSchemaIdError) this.#known.set(id, unknown)
      else if (error instanceof WrongSchemaTypeError) this.#known.set(id, { kind: 'unfit', why: error.message })
      else throw error
      return
    }
    try {
      this.#known.set(id, { kind: 'decoder', decoder: this.#compile(schema) })
    } catch (error) {
      this.#known.set(id, { kind: 'unfit', why: `schema ${id}: ${messageOf(error)}` })
    }
  }
}

/** Notes why the records of an id cannot be decoded. */
export function schemaFault(known: Exclude<Known<unknown>, { kind: 'decoder' }>, id: number, events: EventColumns, row: number): void {
  if (known.kind === 'unknown') events.setFault(row, Fault.unknownSchema, undefined, String(id))
  else events.setFault(row, Fault.schemaUnfit, undefined, known.why)
}

/** Whether a value is neither too large nor without the envelope of the registry; notes the fault where it is. */
export function envelopeFits(records: RecordColumns, events: EventColumns, row: number, recordBytesMax: number): boolean {
  const size = records.valueBytes[row]!
  const magic = records.arena.bytes[records.valueAt[row]!]
  if (size >= prefixBytes && size <= recordBytesMax && magic === 0) return true
  if (size < 0) events.setFault(row, Fault.valueNull)
  else if (size > recordBytesMax) events.setFault(row, Fault.valueTooLarge, undefined, `${size} bytes, at most ${recordBytesMax}`)
  else if (size > 0 && magic !== 0) events.setFault(row, Fault.badMagic)
  else events.setFault(row, Fault.valueTooShort, undefined, `${size} bytes`)
  return false
}
