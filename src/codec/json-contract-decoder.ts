import type { Arena } from '../base/arena.js'
import { Fault, packFault } from './decode-fault.js'
import type { EventColumns } from './event-columns.js'
import type { FieldSpec } from './field-spec.js'
import { JsonRowDecoder } from './json-row-decoder.js'
import { JsonSchema } from './json-schema.js'

interface Allowed {
  readonly field: number
  readonly texts: readonly Uint8Array[]
}

/** Reads the wanted fields of a JSON object and holds them to what a JSON Schema demands of them. */
export class JsonContractDecoder {
  /** With the bounds that hold: the narrower of the topology's and the schema's. */
  readonly fields: readonly FieldSpec[]
  readonly #rows: JsonRowDecoder
  readonly #allowed: readonly Allowed[]

  /** Throws an Error that says which field the schema cannot give. */
  constructor(fields: readonly FieldSpec[], schema?: object) {
    const contract = schema && new JsonSchema(schema)
    const demands = fields.map((field) => {
      const why = contract?.refusal(field)
      if (why !== undefined) throw new Error(why)
      return contract?.demand(field) ?? {}
    })
    this.fields = fields.map((field, i) => ({ ...field, min: larger(field.min, demands[i]!.min), max: smaller(field.max, demands[i]!.max) }))
    this.#rows = new JsonRowDecoder(this.fields)
    this.#allowed = demands.flatMap(({ allowed }, field) => (allowed ? [{ field, texts: allowed.map((text) => Buffer.from(text)) }] : []))
  }

  get textBytesMax(): number {
    return this.#rows.textBytesMax
  }

  /** As `JsonRowDecoder.decode`. */
  decode(arena: Arena, at: number, end: number, row: number, events: EventColumns): number {
    const fault = this.#rows.decode(arena, at, end, row, events)
    if (fault !== 0 || this.#allowed.length === 0) return fault
    for (const { field, texts } of this.#allowed) {
      const size = events.textBytes[field]![row]!
      if (size >= 0 && !texts.some((text) => text.length === size && equal(arena.bytes, events.textAt[field]![row]!, text))) return packFault(Fault.notAllowed, field)
    }
    return Fault.none
  }
}

function equal(bytes: Uint8Array, at: number, text: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false
  return true
}

function larger(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b)
}

function smaller(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
}
