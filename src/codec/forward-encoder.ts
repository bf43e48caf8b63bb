import type { Arena } from '../base/arena.js'
import type { RecordColumns } from '../base/record-columns.js'
import { EncodedPart, longBytesMax, partOverrunBytes, writeByte, writeBytesFrom, writeDouble, writeFloat, writeFloatAt, writeLong, writePart } from './avro-writer.js'
import type { EventColumns } from './event-columns.js'
import { isText, isTime, type FieldSpec } from './field-spec.js'
import { schemaPrefix } from './registry-prefix.js'

/** Fields of a forwarded record beyond those of the event; their names are no identifiers of a topology. */
export const forwardFields = {
  /** 0: an event. 1: a label, of which only id, time, key and label fields are filled. */
  kind: '_kind',
  /** Partition of the upstream task. */
  upstream: '_upstream',
  /** Stream time of the upstream task at this record, ms. */
  streamTime: '_stream_time',
  /** The event was late upstream: it has changed no state there. */
  late: '_late',
  isFraud: '_is_fraud',
} as const

export const ForwardKind = { event: 0, label: 1 } as const

/** What a missing score is forwarded as. */
export const noScore = -1

export interface ForwardShape {
  /** Fields of the upstream stage's events, all forwarded. */
  readonly fields: readonly FieldSpec[]
  /** Feature columns of the upstream stage, then its models' scores: float32. */
  readonly floats: readonly string[]
  /** Floats that tell of a personal field. */
  readonly personalFloats: ReadonlySet<string>
}

/** The Avro schema of what a stage forwards. `name`: of the record. */
export function forwardSchema(name: string, { fields, floats, personalFloats }: ForwardShape): object {
  return {
    type: 'record',
    name,
    namespace: 'harrier.forward',
    doc: 'An event on its way from one stage to the next, with the features and scores of the stages before; or a label.',
    fields: [
      { name: forwardFields.kind, type: 'int', doc: '0 event, 1 label' },
      { name: forwardFields.upstream, type: 'int' },
      { name: forwardFields.streamTime, type: { type: 'long', logicalType: 'timestamp-millis' } },
      { name: forwardFields.late, type: 'boolean' },
      { name: forwardFields.isFraud, type: 'boolean', doc: 'of a label' },
      ...fields.map((field) => ({ name: avroName(field.name), type: field.optional ? ['null', typeOf(field)] : typeOf(field), ...(field.personal ? { personal: field.personal } : {}) })),
      ...floats.map((float) => ({ name: avroName(float), type: 'float', ...(personalFloats.has(float) ? { personal: true } : {}) })),
    ],
  }
}

/** How the next stage reads it: all fields under their names. */
export function forwardedFields({ fields, floats, personalFloats }: ForwardShape): FieldSpec[] {
  return [
    { name: forwardFields.kind, path: forwardFields.kind, type: 'integer' },
    { name: forwardFields.upstream, path: forwardFields.upstream, type: 'integer' },
    { name: forwardFields.streamTime, path: forwardFields.streamTime, type: 'timestamp-millis' },
    { name: forwardFields.late, path: forwardFields.late, type: 'boolean' },
    { name: forwardFields.isFraud, path: forwardFields.isFraud, type: 'boolean' },
    ...fields.map((field) => ({ name: field.name, path: avroName(field.name), type: isTime(field) ? ('timestamp-millis' as const) : field.type, ...(field.optional ? { optional: true } : {}), ...(field.personal ? { personal: field.personal } : {}) })),
    ...floats.map((float) => ({ name: float, path: avroName(float), type: 'number' as const, ...(personalFloats.has(float) ? { personal: true } : {}) })),
  ]
}

/** Avro names have neither hyphen nor dot. */
function avroName(name: string): string {
  return name.replaceAll('-', '_').replaceAll('.', '__')
}

function typeOf(field: FieldSpec): unknown {
  if (isTime(field)) return { type: 'long', logicalType: 'timestamp-millis' }
  const types = { text: 'string', integer: 'long', number: 'double', boolean: 'boolean' } as const
  return types[field.type as keyof typeof types]
}

const unionNull = 0
const unionValue = 2

/** What is read of a scored frame: feature rows [rows, F] and scores by model. */
interface FrameRows {
  readonly rows: Float32Array
  readonly scores: readonly Float32Array[]
}

/** Where a forwarded record comes from and what it is. */
export interface ForwardHead {
  kind: number
  upstream: number
  streamTimeMs: number
  late: boolean
  isFraud: boolean
}

/** Writes forwarded records (`forwardSchema`) from columns into an arena, with the registry's prefix. Set `head` first. */
export class ForwardEncoder {
  readonly head: ForwardHead = { kind: ForwardKind.event, upstream: 0, streamTimeMs: 0, late: false, isFraud: false }
  readonly #prefix: EncodedPart
  readonly #fields: readonly FieldSpec[]
  /** Column of each field in the events. */
  readonly #columns: readonly number[]
  readonly #floats: number
  readonly #staticBytes: number

  /** `source`: the fields of the events that are given to `encodeEvent`. */
  constructor(schemaId: number, { fields, floats }: ForwardShape, source: readonly FieldSpec[]) {
    this.#prefix = new EncodedPart(schemaPrefix(schemaId))
    this.#fields = fields
    this.#columns = fields.map(({ name }) => source.findIndex((field) => field.name === name))
    this.#floats = floats.length
    this.#staticBytes = this.#prefix.length + partOverrunBytes + (5 + fields.length) * (longBytesMax + 1) + floats.length * 4
  }

  /** An event, with row `at` of the frame: its features, and the champion's score where the shape has one. */
  encodeEvent(out: RecordColumns, outRow: number, records: RecordColumns, events: EventColumns, row: number, frame: FrameRows, at: number, features: number): void {
    const start = this.#begin(out, events, row, this.#columns)
    const { arena } = out
    for (let f = 0; f < this.#fields.length; f++) this.#field(arena, records, events, row, this.#fields[f]!, this.#columns[f]!)
    for (let i = 0; i < features; i++) writeFloatAt(arena, frame.rows, at * features + i)
    if (this.#floats > features) {
      const score = frame.scores[0]![at]!
      writeFloat(arena, Number.isFinite(score) ? score : noScore)
    }
    out.setValue(outRow, start, arena.used - start)
  }

  /** A label: `columns[f]` is the column of field f in `labels`, -1 where it has none. */
  encodeLabel(out: RecordColumns, outRow: number, records: RecordColumns, labels: EventColumns, row: number, columns: readonly number[]): void {
    const start = this.#begin(out, labels, row, columns)
    const { arena } = out
    for (let f = 0; f < this.#fields.length; f++) this.#field(arena, records, labels, row, this.#fields[f]!, columns[f]!)
    for (let i = 0; i < this.#floats; i++) writeFloat(arena, 0)
    out.setValue(outRow, start, arena.used - start)
  }

  #begin({ arena }: RecordColumns, events: EventColumns, row: number, columns: readonly number[]): number {
    const { head } = this
    let bytes = this.#staticBytes
    for (const column of columns) if (column >= 0 && events.textBytes[column]!.length > 0) bytes += Math.max(0, events.textBytes[column]![row]!)
    arena.reserve(bytes)
    const start = arena.used
    writePart(arena, this.#prefix)
    writeLong(arena, head.kind)
    writeLong(arena, head.upstream)
    writeLong(arena, head.streamTimeMs)
    writeByte(arena, head.late ? 1 : 0)
    writeByte(arena, head.isFraud ? 1 : 0)
    return start
  }

  /** Column -1: null where that is allowed, else empty or zero. */
  #field(arena: Arena, records: RecordColumns, events: EventColumns, row: number, field: FieldSpec, column: number): void {
    const text = isText(field)
    const length = !text || column < 0 ? -1 : events.textBytes[column]![row]!
    const value = text || column < 0 ? NaN : events.numbers[column]![row]!
    const isNull = text ? length < 0 : value !== value
    if (field.optional) writeByte(arena, isNull ? unionNull : unionValue)
    if (isNull) {
      if (field.optional) return
      if (field.type === 'number') writeDouble(arena, 0)
      else writeByte(arena, 0)
    } else if (text) writeBytesFrom(arena, records.arena.bytes, events.textAt[column]![row]!, length)
    else if (field.type === 'boolean') writeByte(arena, value)
    else if (field.type === 'number') writeDouble(arena, value)
    else writeLong(arena, value)
  }
}
