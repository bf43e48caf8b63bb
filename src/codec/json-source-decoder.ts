import { assert } from '../base/assert.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import { Fault } from './decode-fault.js'
import { decodeRowFault } from './decode-row-fault.js'
import type { EventColumns } from './event-columns.js'
import type { FieldSpec } from './field-spec.js'
import { JsonContractDecoder } from './json-contract-decoder.js'
import { packedRowMark, type PackedRowDecoder } from './packed-row.js'

/** Decodes JSON objects, without an envelope. */
export class JsonSourceDecoder {
  readonly #recordBytesMax: number
  readonly #decoder: JsonContractDecoder
  readonly #packed: PackedRowDecoder | undefined

  /** `schema` is the JSON Schema of the values, where the topology names one. `packed`: some rows may be packed; of no topic. */
  constructor(fields: readonly FieldSpec[], recordBytesMax: number, schema?: object, packed?: PackedRowDecoder) {
    this.#recordBytesMax = recordBytesMax
    this.#decoder = contractDecoder(fields, schema)
    this.#packed = packed
  }

  /** JSON names no schema: there is never anything to fetch. */
  prepare(): undefined {
    return undefined
  }

  decode(records: RecordColumns, events: EventColumns, from = 0): void {
    assert(records.count <= events.rowsMax, 'event columns have a row for each record')
    if (from === 0) events.reset()
    const { arena, valueAt, valueBytes } = records
    const packed = this.#packed
    for (let row = from; row < records.count; row++) {
      const size = valueBytes[row]!
      if (size < 0) events.setFault(row, Fault.valueNull)
      else if (size > this.#recordBytesMax) events.setFault(row, Fault.valueTooLarge, undefined, `${size} bytes, at most ${this.#recordBytesMax}`)
      else {
        const at = valueAt[row]!
        if (packed && arena.bytes[at] === packedRowMark) {
          packed.decode(arena, at, row, events)
          continue
        }
        // Unescaped text is never longer than it was; defaults add what they need.
        arena.reserve(size + this.#decoder.textBytesMax)
        const fault = this.#decoder.decode(arena, at, at + size, row, events)
        if (fault !== 0) decodeRowFault(events, row, fault, this.#decoder.fields)
      }
    }
    events.count = records.count
  }
}

/** Throws SCHEMA_INVALID when the topology's own schema does not give the fields. */
export function contractDecoder(fields: readonly FieldSpec[], schema: object | undefined): JsonContractDecoder {
  try {
    return new JsonContractDecoder(fields, schema)
  } catch (error) {
    throw new HarrierError('SCHEMA_INVALID', `the source's schema does not give its fields: ${messageOf(error)}`, { cause: error })
  }
}
