import type { Arena } from '../base/arena.js'
import type { EventColumns } from './event-columns.js'
import { isText, type FieldSpec } from './field-spec.js'

/** The first byte of a packed row: no JSON document begins with it. */
export const packedRowMark = 0x01
/** Of a number, little-endian; NaN is null. */
export const packedNumberBytes = 8
/** Of the length before a text, little-endian; -1 is null. */
export const packedLengthBytes = 4

/**
 * Reads rows of a table that their source has checked already: behind the mark stand the fields in their order, numbers in the units of
 * the columns, texts as UTF-8 behind their length. Such a row has no faults.
 */
export class PackedRowDecoder {
  readonly #isText: readonly boolean[]

  constructor(fields: readonly FieldSpec[]) {
    this.#isText = fields.map(isText)
  }

  /** `at`: the byte of the mark. */
  decode({ view }: Arena, at: number, row: number, { numbers, textAt, textBytes }: EventColumns): void {
    const isTexts = this.#isText
    let next = at + 1
    for (let field = 0; field < isTexts.length; field++) {
      if (!isTexts[field]!) {
        numbers[field]![row] = view.getFloat64(next, true)
        next += packedNumberBytes
        continue
      }
      const size = view.getInt32(next, true)
      next += packedLengthBytes
      textAt[field]![row] = next
      textBytes[field]![row] = size
      if (size > 0) next += size
    }
  }
}
