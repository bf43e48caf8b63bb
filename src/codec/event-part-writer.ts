import type { Arena } from '../base/arena.js'
import { assert } from '../base/assert.js'
import { HarrierError } from '../base/errors.js'
import {
  EncodedPart,
  encodeLong,
  encodeString,
  longBytesMax,
  partOverrunBytes,
  writeByte,
  writeBytesFrom,
  writeDouble,
  writeFloatAt,
  writeLong,
  writeLongAt,
  writePart,
  writeRaw,
} from './avro-writer.js'
import type { EventColumns } from './event-columns.js'
import { isText, type FieldSpec } from './field-spec.js'
import { reasonsMax, type OutcomeColumns } from './outcome-columns.js'
import { schemaPrefix } from './registry-prefix.js'

/** What scored events and alerts have in common, fixed for the life of an encoder. */
export interface EventShape {
  readonly schemaId: number
  readonly fields: readonly FieldSpec[]
  /** Names of the source fields that hold the event's id (text), its entity (text) and its time. */
  readonly eventId: string
  readonly entity: string
  readonly eventTime: string
  /** name@version of each model, in the order of `OutcomeColumns.scores`. */
  readonly models: readonly { readonly label: string; readonly role: string }[]
  /** Who may decide; `OutcomeColumns.decider` is a number into it: champion, fall-back model, rule, review. */
  readonly deciders: readonly string[]
  /** `OutcomeColumns.reasons` has a bit for each. */
  readonly reasons: readonly string[]
  /** Names of the source fields that are passed on. Null ones are left out of the map. */
  readonly attributes: readonly string[]
}

/** Prefix, lengths, time, score, decision, block counts and block ends: all that is not a text, an attribute or lineage. */
const fixedBytesMax = 128
const unionLong = 0
const unionDouble = 2
const unionString = 4

interface Attribute {
  readonly field: number
  /** Avro union index, zig-zag: long 0, double 1, string 2. */
  readonly union: number
  /** The key of the map's entry and the union index. */
  readonly head: EncodedPart
}

/**
 * The parts of which scored events and alerts are made. Everything that does not change from row to row was encoded
 * once; a row costs copies and varints only, no object and no string.
 */
export class EventPartWriter {
  readonly #prefix: EncodedPart
  readonly #eventId: number
  readonly #entity: number
  readonly #eventTime: number
  readonly #deciders: readonly EncodedPart[]
  readonly #reasons: readonly EncodedPart[]
  readonly #attributes: readonly Attribute[]
  #lineage = new EncodedPart(new Uint8Array(0))
  readonly #staticBytes: number

  constructor(shape: EventShape) {
    this.#prefix = new EncodedPart(schemaPrefix(shape.schemaId))
    this.#eventId = fieldNumber(shape, shape.eventId)
    this.#entity = fieldNumber(shape, shape.entity)
    this.#eventTime = fieldNumber(shape, shape.eventTime)
    for (const name of [shape.eventId, shape.entity]) {
      if (!isText(shape.fields[fieldNumber(shape, name)]!)) throw new HarrierError('TOPOLOGY_INVALID', `source field "${name}" must be of type text`)
    }
    assert(shape.reasons.length <= reasonsMax, `at most ${reasonsMax} reasons`)
    this.#deciders = shape.deciders.map((decider) => new EncodedPart(encodeString(decider)))
    this.#reasons = shape.reasons.map((reason) => new EncodedPart(encodeString(reason)))
    this.#attributes = shape.attributes.map((name) => {
      const field = fieldNumber(shape, name)
      const union = unionOf(shape.fields[field]!)
      return { field, union, head: new EncodedPart(Buffer.concat([encodeString(name), Uint8Array.of(union)])) }
    })
    const bytesOf = (parts: readonly EncodedPart[]): number => parts.reduce((sum, part) => sum + part.length, 0)
    const attributes = this.#attributes.reduce((sum, { head }) => sum + head.length + longBytesMax, 0)
    this.#staticBytes = fixedBytesMax + partOverrunBytes + Math.max(0, ...this.#deciders.map((decider) => decider.length)) + bytesOf(this.#reasons) + attributes
  }

  /** Sets the lineage reference of the rows that follow: once for each task of a batch. */
  setLineage(task: string, sequence: number): void {
    this.#lineage = new EncodedPart(Buffer.concat([encodeString(task), encodeLong(sequence)]))
  }

  /** An upper bound of a row's size without what the encoder itself adds. */
  sizeMax(events: EventColumns, outcome: OutcomeColumns, row: number): number {
    let bytes = (outcome.explanations.get(row)?.length ?? 1) + this.#staticBytes + this.#lineage.length + events.textBytes[this.#eventId]![row]! + events.textBytes[this.#entity]![row]!
    for (const { field, union } of this.#attributes) if (union === unionString) bytes += Math.max(0, events.textBytes[field]![row]!)
    return bytes
  }

  /** event_id, entity, event_time. */
  writeHead(out: Arena, source: Arena, events: EventColumns, row: number): void {
    writePart(out, this.#prefix)
    writeBytesFrom(out, source.bytes, events.textAt[this.#eventId]![row]!, events.textBytes[this.#eventId]![row]!)
    writeBytesFrom(out, source.bytes, events.textAt[this.#entity]![row]!, events.textBytes[this.#entity]![row]!)
    writeLongAt(out, events.numbers[this.#eventTime]!, row)
  }

  /** score, decision, model. */
  writeDecision(out: Arena, outcome: OutcomeColumns, row: number): void {
    writeFloatAt(out, outcome.score, row)
    writeByte(out, outcome.decision[row]! << 1)
    const decider = this.#deciders[outcome.decider[row]!]
    assert(decider, 'a decider is one of the encoder\'s')
    writePart(out, decider)
  }

  writeReasons(out: Arena, bits: number): void {
    if (bits === 0) return writeByte(out, 0)
    let count = 0
    for (let rest = bits; rest !== 0; rest &= rest - 1) count++
    writeLong(out, count)
    for (let r = 0; r < this.#reasons.length; r++) if ((bits & (1 << r)) !== 0) writePart(out, this.#reasons[r]!)
    writeByte(out, 0)
  }

  writeAttributes(out: Arena, source: Arena, events: EventColumns, row: number): void {
    const attributes = this.#attributes
    let count = 0
    for (let a = 0; a < attributes.length; a++) if (!isNull(attributes[a]!, events, row)) count++
    if (count > 0) {
      writeLong(out, count)
      for (let a = 0; a < attributes.length; a++) {
        const attribute = attributes[a]!
        if (isNull(attribute, events, row)) continue
        const { field, union } = attribute
        writePart(out, attribute.head)
        if (union === unionString) writeBytesFrom(out, source.bytes, events.textAt[field]![row]!, events.textBytes[field]![row]!)
        else if (union === unionLong) writeLongAt(out, events.numbers[field]!, row)
        else writeDouble(out, events.numbers[field]![row]!)
      }
    }
    writeByte(out, 0)
  }

  /** The last field: null but for the few rows that have one. */
  writeExplanation(out: Arena, outcome: OutcomeColumns, row: number): void {
    const explanation = outcome.explanations.size > 0 ? outcome.explanations.get(row) : undefined
    if (explanation) writeRaw(out, explanation)
    else writeByte(out, 0)
  }

  writeLineage(out: Arena): void {
    assert(this.#lineage.length > 0, 'setLineage comes before the first row')
    writePart(out, this.#lineage)
  }
}

function isNull(attribute: Attribute, events: EventColumns, row: number): boolean {
  if (attribute.union === unionString) return events.textBytes[attribute.field]![row]! < 0
  const value = events.numbers[attribute.field]![row]!
  return value !== value
}

function unionOf(field: FieldSpec): number {
  if (isText(field)) return unionString
  return field.type === 'number' ? unionDouble : unionLong
}

function fieldNumber(shape: EventShape, name: string): number {
  const index = shape.fields.findIndex((field) => field.name === name)
  if (index < 0) throw new HarrierError('TOPOLOGY_INVALID', `the source has no field "${name}"`)
  return index
}
