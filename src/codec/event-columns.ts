import type { Arena } from '../base/arena.js'
import { HarrierError } from '../base/errors.js'
import { describeFault } from './decode-fault.js'
import { checkFieldSpecs, isText, type FieldSpec } from './field-spec.js'

const noNumbers = new Float64Array(0)
const noOffsets = new Int32Array(0)

/**
 * The fields of a batch's events, one column for each field, filled by a `SourceDecoder`. Row i is row i of the
 * `RecordColumns` that was decoded, and text points into that batch's arena.
 *
 * Columns by field number (`index(name)`, looked up once at set-up):
 * - `numbers[f]` for integer (exact), number, boolean (0 or 1) and times (whole ms since 1970); NaN is null;
 *   empty for text fields.
 * - `textAt[f]`, `textBytes[f]` for text: UTF-8, -1 bytes is null; empty for other fields.
 *
 * In a row with a fault the columns hold nothing to rely on.
 */
export class EventColumns {
  readonly fields: readonly FieldSpec[]
  readonly rowsMax: number
  /** Rows of the batch that was decoded last, faulty ones included. */
  count = 0
  readonly numbers: readonly Float64Array[]
  readonly textAt: readonly Int32Array[]
  readonly textBytes: readonly Int32Array[]
  /** 0, or a code of `Fault`. */
  readonly fault: Uint8Array
  /** By row: what was wrong, and the value where it is told. */
  readonly #messages = new Map<number, { readonly bare: string; readonly whole: string }>()

  constructor(fields: readonly FieldSpec[], rowsMax: number) {
    checkFieldSpecs(fields)
    this.fields = fields
    this.rowsMax = rowsMax
    this.numbers = fields.map((field) => (isText(field) ? noNumbers : new Float64Array(rowsMax)))
    this.textAt = fields.map((field) => (isText(field) ? new Int32Array(rowsMax) : noOffsets))
    this.textBytes = fields.map((field) => (isText(field) ? new Int32Array(rowsMax) : noOffsets))
    this.fault = new Uint8Array(rowsMax)
  }

  /** The number of a field. Throws TOPOLOGY_INVALID when the source does not declare it. */
  index(name: string): number {
    const index = this.fields.findIndex((field) => field.name === name)
    if (index < 0) {
      const names = this.fields.map((field) => field.name).join(', ')
      throw new HarrierError('TOPOLOGY_INVALID', `the source has no field "${name}"; it declares ${names}`)
    }
    return index
  }

  /** How many rows of the batch have a fault. */
  get faults(): number {
    return this.#messages.size
  }

  /** Forgets the batch before. Called by the decoder. */
  reset(): void {
    if (this.#messages.size > 0) {
      for (const row of this.#messages.keys()) this.fault[row] = 0
      this.#messages.clear()
    }
    this.count = 0
  }

  /** A row that no record was decoded to: every field is null. */
  setNull(row: number): void {
    for (let f = 0; f < this.fields.length; f++) {
      if (this.numbers[f]!.length > 0) this.numbers[f]![row] = NaN
      else this.textBytes[f]![row] = -1
    }
  }

  setFault(row: number, code: number, field?: number, detail?: string): void {
    this.fault[row] = code
    const spec = field === undefined ? undefined : this.fields[field]
    this.#messages.set(row, { bare: describeFault(code, spec, undefined), whole: describeFault(code, spec, detail) })
  }

  /** Why a row is a dead letter; the empty string for a good row. */
  faultMessage(row: number): string {
    return this.#messages.get(row)?.whole ?? ''
  }

  /** The same without any value of the record. */
  bareFaultMessage(row: number): string {
    return this.#messages.get(row)?.bare ?? ''
  }

  /** A copy of a text for people and tests; null when the text is null. Not for the hot path. */
  text(field: number, row: number, arena: Arena): string | null {
    const bytes = this.textBytes[field]![row]!
    const at = this.textAt[field]![row]!
    return bytes < 0 ? null : Buffer.from(arena.bytes.buffer, arena.bytes.byteOffset + at, bytes).toString('utf8')
  }
}
