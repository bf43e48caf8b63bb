import { integerBytesMax, TextWriter } from '../base/text-writer.js'
import { declaredStandIn } from '../codec/avro-default.js'
import { eventTimeMsMax, eventTimeMsMin } from '../codec/decode-fault.js'
import { exponentOf } from '../codec/decimal-text.js'
import { powersOfTen } from '../codec/exact-number.js'
import { isText, isTime, type FieldSpec } from '../codec/field-spec.js'
import { packedLengthBytes, packedNumberBytes, packedRowMark } from '../codec/packed-row.js'
import { vectorRowsMax } from './column-appender.js'

export type Value = string | number | bigint | boolean | null

export interface WrittenRows {
  /** Each row as a record, and behind it the value of the key field as text. */
  readonly bytes: Uint8Array
  /** Where the record of each row ends, and where its key does: the next record begins there. */
  readonly recordEnds: Int32Array
  readonly keyEnds: Int32Array
}

/**
 * Writes the rows of a chunk as records of a JSON topic that the source's decoder reads. Rows whose values need no conversion and
 * are within all bounds are packed: there is nothing in them to check. Any other is a JSON document in the shape of the source, and what
 * is wrong with it is told as of a record of the topic.
 */
export class RowWriter {
  readonly #writer = new TextWriter()
  readonly #fields: readonly PackedField[]
  /** Of a document: text as bytes, or the number of a field. */
  readonly #pieces: readonly (Uint8Array | number)[]
  readonly #key: number
  /** By field: whole numbers, which are most values; NaN where `#values` has to be looked at. */
  readonly #numbers: readonly Float64Array[]
  readonly #values: readonly Value[][]
  readonly #recordEnds = new Int32Array(vectorRowsMax)
  readonly #keyEnds = new Int32Array(vectorRowsMax)
  /** Of a row without its values that are no whole numbers. */
  readonly #rowBytesMax: number

  /** `has`: whether there is a column for the field of this name. */
  constructor(fields: readonly FieldSpec[], { key, has }: { key: number; has: (name: string) => boolean }) {
    this.#fields = fields.map((field) => packedField(field, has(field.name)))
    this.#pieces = documentPieces(fields, has)
    this.#key = key
    this.#numbers = fields.map(() => new Float64Array(vectorRowsMax).fill(NaN))
    this.#values = fields.map(() => Array<Value>(vectorRowsMax).fill(null))
    const documentBytes = this.#pieces.reduce<number>((sum, piece) => sum + (typeof piece === 'number' ? integerBytesMax + 2 : piece.length), 0)
    this.#rowBytesMax = integerBytesMax + Math.max(documentBytes, 1 + fields.length * (packedNumberBytes + integerBytesMax))
  }

  set(field: number, row: number, value: Value): void {
    const number = typeof value === 'number' || typeof value === 'bigint' ? Number(value) : NaN
    const isWhole = Number.isSafeInteger(number)
    this.#numbers[field]![row] = isWhole ? number : NaN
    if (!isWhole) this.#values[field]![row] = value
  }

  /** The rows that were set. */
  write(count: number): WrittenRows {
    const writer = this.#writer
    writer.used = 0
    for (let row = 0; row < count; row++) {
      writer.reserve(this.#rowBytesMax)
      const start = writer.used
      if (!this.#pack(row)) {
        writer.used = start
        this.#writeDocument(row)
      }
      this.#recordEnds[row] = writer.used
      this.#writeKey(row)
      this.#keyEnds[row] = writer.used
    }
    return { bytes: writer.bytes.subarray(0, writer.used), recordEnds: this.#recordEnds, keyEnds: this.#keyEnds }
  }

  /** False where a value needs a conversion or a check: what has been written of the row is to be taken back. */
  #pack(row: number): boolean {
    const writer = this.#writer
    const fields = this.#fields
    writer.byte(packedRowMark)
    for (let index = 0; index < fields.length; index++) {
      if (fields[index]!.isText) {
        if (!this.#packText(fields[index]!, index, row)) return false
        continue
      }
      const number = this.#packedNumber(fields[index]!, index, row)
      if (number === notPacked) return false
      writer.float64(number)
    }
    return true
  }

  #packText({ optional, standIn }: PackedField, index: number, row: number): boolean {
    const writer = this.#writer
    const at = writer.used
    writer.used += packedLengthBytes
    const number = this.#numbers[index]![row]!
    if (number === number) writer.integer(number)
    else {
      const value = standIn === undefined ? this.#values[index]![row]! : standIn
      if (value === null && optional) {
        writer.setInt32(at, -1)
        return true
      }
      if (typeof value !== 'string') return false
      writer.text(value)
      writer.reserve(this.#rowBytesMax)
    }
    writer.setInt32(at, writer.used - at - packedLengthBytes)
    return true
  }

  /** In the units of the column; NaN is null, `notPacked` what a document must tell. */
  #packedNumber({ factor, takesFractions, isBoolean, optional, min, max, standIn }: PackedField, index: number, row: number): number {
    const whole = this.#numbers[index]![row]!
    if (whole === whole) {
      const value = whole * factor
      // -0 becomes 0, as in JSON.
      return factor > 0 && value >= min && value <= max ? value + 0 : notPacked
    }
    if (standIn !== undefined) return standIn === null ? NaN : (standIn as number)
    const value = this.#values[index]![row]!
    if (takesFractions && typeof value === 'number') return value >= min && value <= max ? value : notPacked
    if (isBoolean && typeof value === 'boolean') return value ? 1 : 0
    return value === null && optional ? NaN : notPacked
  }

  #writeDocument(row: number): void {
    for (const piece of this.#pieces) {
      if (typeof piece !== 'number') this.#writer.raw(piece)
      else this.#writeValue(piece, row)
    }
  }

  #writeValue(index: number, row: number): void {
    const writer = this.#writer
    const number = this.#numbers[index]![row]!
    const { isQuoted } = this.#fields[index]!
    if (Number.isNaN(number)) {
      writer.text(toJson(this.#values[index]![row]!, isQuoted))
      writer.reserve(this.#rowBytesMax)
      return
    }
    if (isQuoted) writer.raw(quote)
    writer.integer(number)
    if (isQuoted) writer.raw(quote)
  }

  #writeKey(row: number): void {
    const number = this.#numbers[this.#key]![row]!
    if (Number.isNaN(number)) this.#writer.text(String(this.#values[this.#key]![row] ?? ''))
    else this.#writer.integer(number)
  }
}

export function isTextual({ type }: FieldSpec): boolean {
  return type === 'text' || type === 'iso8601'
}

/** What a packed row may hold of a field. */
interface PackedField {
  readonly isText: boolean
  /** Its JSON is a string. */
  readonly isQuoted: boolean
  readonly isBoolean: boolean
  readonly takesFractions: boolean
  readonly optional: boolean
  /** From a whole number of the table to the column; 0: such numbers are not packed. */
  readonly factor: number
  /** In the units of the column. */
  readonly min: number
  readonly max: number
  /** Of a field without a column, in the units of the column; undefined: there is one. */
  readonly standIn: number | string | null | undefined
}

/** No number of a packed row is infinite. */
const notPacked = Infinity

function packedField(field: FieldSpec, hasColumn: boolean): PackedField {
  const { type } = field
  const exponent = exponentOf(field)
  const [least, most] = isTime(field) ? [eventTimeMsMin, eventTimeMsMax] : type === 'integer' ? [-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] : [-Number.MAX_VALUE, Number.MAX_VALUE]
  const standIn = declaredStandIn(field)
  return {
    isText: isText(field),
    isQuoted: isTextual(field),
    isBoolean: type === 'boolean',
    takesFractions: type === 'number',
    optional: field.optional === true,
    // ISO 8601 is text, and microseconds have to be cut.
    factor: type === 'boolean' || type === 'iso8601' || exponent < 0 ? 0 : powersOfTen[exponent]!,
    min: Math.max(least, field.min ?? -Infinity),
    max: Math.min(most, field.max ?? Infinity),
    standIn: hasColumn ? undefined : standIn.kind === 'value' ? standIn.value : null,
  }
}

const quote = Buffer.from('"')

/** The dotted paths of the fields that have columns, compiled to pieces of text; values come between. */
function documentPieces(fields: readonly FieldSpec[], has: (name: string) => boolean): (Uint8Array | number)[] {
  interface Node {
    readonly children: Map<string, Node>
    field: number
  }
  const root: Node = { children: new Map(), field: -1 }
  for (const [index, field] of fields.entries()) {
    if (!has(field.name)) continue
    let node = root
    for (const part of field.path.split('.')) {
      const child = node.children.get(part) ?? { children: new Map(), field: -1 }
      node.children.set(part, child)
      node = child
    }
    node.field = index
  }
  const pieces: (Uint8Array | number)[] = []
  const walk = (node: Node): void => {
    if (node.children.size === 0) return void pieces.push(node.field)
    let separator = '{'
    for (const [name, child] of node.children) {
      pieces.push(Buffer.from(`${separator}${JSON.stringify(name)}:`))
      walk(child)
      separator = ','
    }
    pieces.push(Buffer.from('}'))
  }
  walk(root)
  return pieces
}

function toJson(value: Value, asText: boolean): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return JSON.stringify(value)
  return asText ? `"${value}"` : String(value)
}
