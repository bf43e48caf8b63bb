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
import { tokenTextBytesMax } from '../privacy/token-text.js'
import type { Tokeniser } from '../privacy/tokeniser.js'
import type { EventColumns } from './event-columns.js'
import { isText, type FieldSpec } from './field-spec.js'
import { reasonsMax, type OutcomeColumns } from './outcome-columns.js'
import type { OutputTokens } from './output-tokens.js'
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
  /** Stand in place of personal fields; absent: all fields go as they are. */
  readonly tokens?: OutputTokens | undefined
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
  /** Whether its column holds text. */
  readonly text: boolean
  /** The key of the map's entry and the union index. */
  readonly head: EncodedPart
  /** Domain of its tokens; -1: it goes as it is. */
  readonly domain: number
  /** Of a personal one while two keys are in force: the head of the entry with the second token. */
  readonly second: EncodedPart | null
}

/** `@2024-03-01` behind the entity: the id of a day that turned. */
const dayBytes = 11
const atSign = 0x40

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
  readonly #tokeniser: Tokeniser | null
  /** Domain of the entity's tokens; -1: it is not personal. */
  readonly #entityDomain: number
  /** Head of the entry with the entity's second token, where no attribute has it. */
  readonly #entitySecond: EncodedPart | null
  readonly #digits = new Uint8Array(20)
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
    const { tokens } = shape
    const headOf = (name: string, union: number): EncodedPart => new EncodedPart(Buffer.concat([encodeString(name), Uint8Array.of(union)]))
    const secondOf = (name: string): EncodedPart | null => {
      const second = tokens?.secondName(name)
      return second === undefined ? null : headOf(second, unionString)
    }
    this.#attributes = shape.attributes.map((name) => {
      const field = fieldNumber(shape, name)
      const domain = tokens?.domainOf(name) ?? -1
      const union = domain < 0 ? unionOf(shape.fields[field]!) : unionString
      return { field, union, text: isText(shape.fields[field]!), head: headOf(name, union), domain, second: domain < 0 ? null : secondOf(name) }
    })
    this.#tokeniser = tokens?.tokeniser ?? null
    this.#entityDomain = tokens?.domainOf(shape.entity) ?? -1
    this.#entitySecond = this.#entityDomain < 0 || shape.attributes.includes(shape.entity) ? null : secondOf(shape.entity)
    const bytesOf = (parts: readonly EncodedPart[]): number => parts.reduce((sum, part) => sum + part.length, 0)
    const tokenBytes = 2 * (tokenTextBytesMax + longBytesMax)
    const attributes = this.#attributes.reduce((sum, { head, second }) => sum + head.length + longBytesMax + (second?.length ?? 0) + tokenBytes, 0) + (this.#entitySecond?.length ?? 0) + 2 * tokenBytes + dayBytes
    this.#staticBytes = fixedBytesMax + partOverrunBytes + Math.max(0, ...this.#deciders.map((decider) => decider.length)) + bytesOf(this.#reasons) + attributes
  }

  /** Sets the lineage reference of the rows that follow: once for each task of a batch. */
  setLineage(task: string, sequence: number): void {
    this.#lineage = new EncodedPart(Buffer.concat([encodeString(task), encodeLong(sequence)]))
  }

  /** An upper bound of a row's size without what the encoder itself adds. */
  sizeMax(events: EventColumns, outcome: OutcomeColumns, row: number): number {
    let bytes = (outcome.explanations.get(row)?.length ?? 1) + this.#staticBytes + this.#lineage.length + events.textBytes[this.#eventId]![row]! + events.textBytes[this.#entity]![row]!
    for (const { field, text } of this.#attributes) if (text) bytes += Math.max(0, events.textBytes[field]![row]!)
    return bytes
  }

  /** event_id, entity, event_time. */
  writeHead(out: Arena, source: Arena, events: EventColumns, row: number): void {
    writePart(out, this.#prefix)
    if (this.#entityDomain < 0) {
      writeBytesFrom(out, source.bytes, events.textAt[this.#eventId]![row]!, events.textBytes[this.#eventId]![row]!)
      writeBytesFrom(out, source.bytes, events.textAt[this.#entity]![row]!, events.textBytes[this.#entity]![row]!)
    } else this.#writeTokenHead(out, source, events, row)
    writeLongAt(out, events.numbers[this.#eventTime]!, row)
  }

  /** The id of a day that turned begins with its entity: there, too, stands the token. */
  #writeTokenHead(out: Arena, { bytes }: Arena, events: EventColumns, row: number): void {
    const tokeniser = this.#tokeniser!
    const idAt = events.textAt[this.#eventId]![row]!
    const idBytes = events.textBytes[this.#eventId]![row]!
    const entityAt = events.textAt[this.#entity]![row]!
    const entityBytes = events.textBytes[this.#entity]![row]!
    const token = tokeniser.find(this.#entityDomain, bytes, entityAt, entityBytes)
    const tokenBytes = tokeniser.tokenBytes[0]!
    if (idBytes === entityBytes + dayBytes && bytes[idAt + entityBytes] === atSign && sameBytes(bytes, idAt, entityAt, entityBytes)) {
      writeLong(out, tokenBytes + dayBytes)
      copyBytes(out, tokeniser.bytes, token, tokenBytes)
      copyBytes(out, bytes, idAt + entityBytes, dayBytes)
    } else writeBytesFrom(out, bytes, idAt, idBytes)
    writeBytesFrom(out, tokeniser.bytes, token, tokenBytes)
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
    let count = this.#entitySecond === null ? 0 : 1
    for (let a = 0; a < attributes.length; a++) if (!isNull(attributes[a]!, events, row)) count += attributes[a]!.second === null ? 1 : 2
    if (count > 0) {
      writeLong(out, count)
      for (let a = 0; a < attributes.length; a++) {
        const attribute = attributes[a]!
        if (isNull(attribute, events, row)) continue
        const { field, union } = attribute
        writePart(out, attribute.head)
        if (attribute.domain >= 0) this.#writeTokens(out, source, events, row, attribute)
        else if (union === unionString) writeBytesFrom(out, source.bytes, events.textAt[field]![row]!, events.textBytes[field]![row]!)
        else if (union === unionLong) writeLongAt(out, events.numbers[field]!, row)
        else writeDouble(out, events.numbers[field]![row]!)
      }
      if (this.#entitySecond !== null) {
        writePart(out, this.#entitySecond)
        const token = this.#tokeniser!.find(this.#entityDomain, source.bytes, events.textAt[this.#entity]![row]!, events.textBytes[this.#entity]![row]!)
        writeBytesFrom(out, this.#tokeniser!.bytes, token + tokenTextBytesMax, this.#tokeniser!.tokenBytes[1]!)
      }
    }
    writeByte(out, 0)
  }

  /** The token of an attribute whose head is written, and behind it the entry with the second one. An integer's is that of its digits. */
  #writeTokens(out: Arena, source: Arena, events: EventColumns, row: number, { field, text, domain, second }: Attribute): void {
    const tokeniser = this.#tokeniser!
    let token: number
    if (text) token = tokeniser.find(domain, source.bytes, events.textAt[field]![row]!, events.textBytes[field]![row]!)
    else {
      const from = writeDigits(this.#digits, events.numbers[field]!, row)
      token = tokeniser.find(domain, this.#digits, from, this.#digits.length - from)
    }
    writeBytesFrom(out, tokeniser.bytes, token, tokeniser.tokenBytes[0]!)
    if (second === null) return
    writePart(out, second)
    writeBytesFrom(out, tokeniser.bytes, token + tokenTextBytesMax, tokeniser.tokenBytes[1]!)
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

function copyBytes(out: Arena, source: Uint8Array, from: number, length: number): void {
  for (let i = 0; i < length; i++) out.bytes[out.used + i] = source[from + i]!
  out.used += length
}

function sameBytes(bytes: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false
  return true
}

/** A safe integer as decimal digits at the end of `into`; returns where they begin. */
function writeDigits(into: Uint8Array, values: Float64Array, index: number): number {
  let rest = Math.abs(values[index]!)
  let at = into.length
  do {
    const next = Math.floor(rest / 10)
    into[--at] = 0x30 + (rest - next * 10)
    rest = next
  } while (rest > 0)
  if (values[index]! < 0) into[--at] = 0x2d
  return at
}

function isNull(attribute: Attribute, events: EventColumns, row: number): boolean {
  if (attribute.text) return events.textBytes[attribute.field]![row]! < 0
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
