import type { Arena } from '../base/arena.js'
import { declaredStandIn } from './avro-default.js'
import { eventTimeMsMax, eventTimeMsMin, Fault, nestingDepthMax, packFault } from './decode-fault.js'
import type { EventColumns } from './event-columns.js'
import { exponentOf, readDecimalText } from './decimal-text.js'
import { exact } from './exact-number.js'
import { buildPathTree, type PathNode } from './field-paths.js'
import { zoneMinutesOf, type FieldSpec, type FieldType } from './field-spec.js'
import { parseIsoTimeMs } from './iso-time.js'
import { jsonInteger, jsonNumber, jsonTimeMs } from './json-number.js'
import { JsonScanner } from './json-scanner.js'

/** A step of the paths with its name as bytes, and the row in which it was met last. */
interface JsonNode {
  readonly name: Uint8Array
  /** JSON writes the name as it is, without escapes. */
  readonly plain: boolean
  readonly fields: readonly number[]
  /** Steps by name. */
  readonly children: readonly JsonNode[]
  /** Steps into an array. */
  readonly items: readonly JsonNode[]
  readonly index: number
  readonly only: boolean
  /** What its value begins with: 0 a scalar, the byte of { or [, -1 what no value begins with (its paths contradict each other). */
  readonly opens: number
  readonly first: number
  seen: number
}

/** Field types as small integers: the hot path compares no strings. */
const Kind = { text: 0, integer: 1, number: 2, boolean: 3, isoTime: 4, unitTime: 5 } as const

const kindOf: Record<FieldType, number> = {
  text: Kind.text,
  integer: Kind.integer,
  number: Kind.number,
  boolean: Kind.boolean,
  iso8601: Kind.isoTime,
  'timestamp-millis': Kind.unitTime,
  'timestamp-micros': Kind.unitTime,
  'timestamp-seconds': Kind.unitTime,
}

/**
 * Reads the wanted fields of a JSON object into columns in one pass over its bytes. The whole value is checked to be
 * JSON in UTF-8, what is not wanted included. A wanted name that stands twice in one object is a fault: which one
 * counts is not ours to guess.
 */
export class JsonRowDecoder {
  /** Bytes that a row's defaults may append to the arena; text itself is never longer than its JSON. */
  readonly textBytesMax: number
  readonly #fields: readonly FieldSpec[]
  readonly #kind: Uint8Array
  /** Powers of ten from the written number to the column's: the scale of integers, ms of a time unit. */
  readonly #exponent: Int8Array
  /** Infinite where none is declared. */
  readonly #min: Float64Array
  readonly #max: Float64Array
  readonly #optional: Uint8Array
  /** Minutes east of UTC of times that name no zone; NaN: they are refused. */
  readonly #zone: Float64Array
  readonly #root: JsonNode
  readonly #scanner = new JsonScanner()
  /** Number of the row in which a field got its value; rows are numbered over the decoder's life. */
  readonly #filled: Float64Array
  readonly #defaults: readonly (Uint8Array | number | null | undefined)[]
  #stamp = 0
  #row = 0
  #events!: EventColumns
  #arena!: Arena

  constructor(fields: readonly FieldSpec[]) {
    this.#fields = fields
    this.#kind = Uint8Array.from(fields, ({ type }) => kindOf[type])
    this.#exponent = Int8Array.from(fields, exponentOf)
    this.#zone = Float64Array.from(fields, zoneMinutesOf)
    this.#min = Float64Array.from(fields, ({ min }) => min ?? -Infinity)
    this.#max = Float64Array.from(fields, ({ max }) => max ?? Infinity)
    this.#optional = Uint8Array.from(fields, ({ optional }) => Number(optional === true))
    this.#root = toJsonNode(buildPathTree(fields))
    this.#filled = new Float64Array(fields.length)
    this.#defaults = fields.map((field) => {
      const standIn = declaredStandIn(field)
      if (standIn.kind !== 'value') return standIn.kind === 'null' ? null : undefined
      return typeof standIn.value === 'number' ? standIn.value : Buffer.from(standIn.value)
    })
    this.textBytesMax = this.#defaults.reduce<number>((sum, value) => sum + (value instanceof Uint8Array ? value.length : 0), 0)
  }

  /** Decodes bytes [at, end) of the arena. Returns 0 or a packed fault. The caller has reserved room for the text. */
  decode(arena: Arena, at: number, end: number, row: number, events: EventColumns): number {
    const scanner = this.#scanner
    this.#arena = arena
    this.#events = events
    this.#row = row
    this.#stamp++
    scanner.open(arena.bytes, at, end)
    if (scanner.peek() !== 0x7b) {
      const fault = this.#skip(0)
      return fault !== 0 || scanner.peek() >= 0 ? fault || Fault.notJson : Fault.wrongType
    }
    const fault = this.#object(this.#root, 0)
    if (fault !== 0) return fault
    if (scanner.peek() >= 0) return Fault.notJson
    return this.#fillMissing()
  }

  #value(node: JsonNode, depth: number): number {
    const scanner = this.#scanner
    const first = scanner.peek()
    if (first === 0x6e) return scanner.scanWord() || this.#null(node)
    if (first === node.opens) return first === 0x7b ? this.#object(node, depth) : this.#array(node, depth)
    if (node.opens !== 0 || first === 0x7b || first === 0x5b) return this.#skip(depth) || packFault(Fault.wrongType, node.first)
    if (first === 0x22) return this.#string(node)
    if (first === 0x74 || first === 0x66) return this.#boolean(node, first === 0x74)
    return scanner.scanNumber() || this.#number(node)
  }

  #object(node: JsonNode, depth: number): number {
    const scanner = this.#scanner
    if (depth >= nestingDepthMax) return Fault.tooDeep
    scanner.at++
    let next = scanner.peek()
    if (next === 0x7d) {
      scanner.at++
      return Fault.none
    }
    let hint = 0
    for (;;) {
      if (next !== 0x22) return Fault.notJson
      // Writers keep the order of their names: the child after the last one found is tried first.
      let found = hint
      const expected = node.children[hint]
      if (!expected?.plain || !scanner.skipName(expected.name)) {
        const nameFault = scanner.scanString()
        if (nameFault !== 0) return nameFault
        found = this.#find(node)
      }
      if (scanner.peek() !== 0x3a) return Fault.notJson
      scanner.at++
      let fault: number
      if (found < 0) fault = this.#skip(depth + 1)
      else {
        hint = found + 1
        const child = node.children[found]!
        if (child.seen === this.#stamp) return packFault(Fault.duplicateField, child.first)
        child.seen = this.#stamp
        fault = this.#value(child, depth + 1)
      }
      if (fault !== 0) return fault
      next = scanner.peek()
      if (next === 0x7d) {
        scanner.at++
        return Fault.none
      }
      if (next !== 0x2c) return Fault.notJson
      scanner.at++
      next = scanner.peek()
    }
  }

  /** The child whose name the scanner has just read; -1 for none. */
  #find(node: JsonNode): number {
    if (node.children.length === 0) return -1
    const scanner = this.#scanner
    const { bytes } = scanner
    let at = scanner.textAt
    let size = scanner.textEnd - at
    if (scanner.escaped) {
      at = this.#arena.used
      size = scanner.unescapeText(at)
    }
    const { children } = node
    for (let index = 0; index < children.length; index++) {
      const { name } = children[index]!
      if (name.length !== size) continue
      let i = 0
      while (i < size && bytes[at + i] === name[i]) i++
      if (i === size) return index
    }
    return -1
  }

  #string(node: JsonNode): number {
    const scanner = this.#scanner
    const scanFault = scanner.scanString()
    if (scanFault !== 0) return packFault(scanFault, node.first)
    const arena = this.#arena
    let at = scanner.textAt
    let size = scanner.textEnd - at
    if (scanner.escaped) {
      at = arena.used
      size = scanner.unescapeText(at)
      if (size < 0) return packFault(Fault.badUtf8, node.first)
      arena.used += size
    }
    for (const index of node.fields) {
      const kind = this.#kind[index]!
      this.#filled[index] = this.#stamp
      if (kind === Kind.text) {
        this.#events.textAt[index]![this.#row] = at
        this.#events.textBytes[index]![this.#row] = size
      } else if (kind === Kind.isoTime) {
        exact.value = parseIsoTimeMs(scanner.bytes, at, at + size, this.#zone[index]!)
        if (exact.value !== exact.value) return packFault(Fault.badTime, index)
        const fault = this.#setTime(index)
        if (fault !== 0) return fault
      } else if (this.#fields[index]!.from === 'text') {
        const fault = this.#numberText(index, at, at + size)
        if (fault !== 0) return fault
      } else return packFault(Fault.wrongType, index)
    }
    return Fault.none
  }

  #numberText(index: number, at: number, end: number): number {
    const fault = readDecimalText(this.#scanner.bytes, at, end, this.#fields[index]!)
    if (fault === Fault.timeOutOfRange) return this.#setTime(index)
    return fault === 0 ? this.#setNumber(index) : packFault(fault, index)
  }

  #number(node: JsonNode): number {
    const scanner = this.#scanner
    for (const index of node.fields) {
      const kind = this.#kind[index]!
      this.#filled[index] = this.#stamp
      let fault: number
      if (kind === Kind.text) {
        this.#events.textAt[index]![this.#row] = scanner.textAt
        this.#events.textBytes[index]![this.#row] = scanner.textEnd - scanner.textAt
        fault = Fault.none
      } else if (kind === Kind.integer) {
        jsonInteger(scanner, this.#exponent[index]!)
        fault = exact.fault === 0 ? this.#setNumber(index) : packFault(exact.fault, index)
      } else if (kind === Kind.number) {
        jsonNumber(scanner)
        fault = this.#setNumber(index)
      } else if (kind === Kind.unitTime) {
        jsonTimeMs(scanner, this.#exponent[index]!)
        fault = this.#setTime(index)
      } else fault = packFault(Fault.wrongType, index)
      if (fault !== 0) return fault
    }
    return Fault.none
  }

  #boolean(node: JsonNode, value: boolean): number {
    const fault = this.#scanner.scanWord()
    if (fault !== 0) return fault
    for (const index of node.fields) {
      if (this.#kind[index] !== Kind.boolean) return packFault(Fault.wrongType, index)
      this.#filled[index] = this.#stamp
      this.#events.numbers[index]![this.#row] = value ? 1 : 0
    }
    return Fault.none
  }

  /** Null takes no default: it is a statement, not an absence. */
  #null(node: JsonNode): number {
    for (const index of node.fields) {
      if (this.#optional[index] === 0) return packFault(Fault.nullField, index)
      this.#filled[index] = this.#stamp
      this.#setNull(index)
    }
    for (const child of [...node.children, ...node.items]) {
      const fault = this.#null(child)
      if (fault !== 0) return fault
    }
    return Fault.none
  }

  /** Numbers go through `exact.value`: one that is handed over by a call may cost an object each time. */
  #setNumber(index: number): number {
    const { value } = exact
    this.#events.numbers[index]![this.#row] = value
    if (value - value !== 0) return packFault(Fault.notFinite, index)
    if (value < this.#min[index]!) return packFault(Fault.belowMin, index)
    return value > this.#max[index]! ? packFault(Fault.aboveMax, index) : Fault.none
  }

  #setTime(index: number): number {
    if (exact.value >= eventTimeMsMin && exact.value <= eventTimeMsMax) return this.#setNumber(index)
    this.#events.numbers[index]![this.#row] = exact.value
    return packFault(Fault.timeOutOfRange, index)
  }

  #setNull(index: number): void {
    if (this.#kind[index] !== Kind.text) this.#events.numbers[index]![this.#row] = NaN
    else this.#events.textBytes[index]![this.#row] = -1
  }

  #fillMissing(): number {
    for (let index = 0; index < this.#kind.length; index++) {
      if (this.#filled[index] === this.#stamp) continue
      const value = this.#defaults[index]
      if (value === undefined) return packFault(Fault.missingField, index)
      if (value === null) this.#setNull(index)
      else if (typeof value === 'number') this.#events.numbers[index]![this.#row] = value
      else {
        this.#events.textAt[index]![this.#row] = this.#arena.append(value)
        this.#events.textBytes[index]![this.#row] = value.length
      }
    }
    return Fault.none
  }

  /** Checks and passes over any value. */
  #skip(depth: number): number {
    const scanner = this.#scanner
    const first = scanner.peek()
    if (first === 0x22) return scanner.scanString()
    if (first === 0x7b) return this.#object(noNode, depth)
    if (first === 0x5b) return this.#array(noNode, depth)
    if (first === 0x74 || first === 0x66 || first === 0x6e) return scanner.scanWord()
    return scanner.scanNumber()
  }

  /** An array, with the items that are wanted. */
  #array(node: JsonNode, depth: number): number {
    const scanner = this.#scanner
    if (depth >= nestingDepthMax) return Fault.tooDeep
    scanner.at++
    if (scanner.peek() === 0x5d) {
      scanner.at++
      return Fault.none
    }
    for (let place = 0; ; place++) {
      const fault = this.#item(node, place, depth + 1)
      if (fault !== 0) return fault
      const next = scanner.peek()
      if (next !== 0x2c && next !== 0x5d) return Fault.notJson
      scanner.at++
      if (next === 0x5d) return Fault.none
    }
  }

  #item(node: JsonNode, place: number, depth: number): number {
    let wanted: JsonNode | undefined
    for (const item of node.items) {
      if (place > 0 && item.only) return packFault(Fault.tooMany, item.first)
      if (item.index === place) wanted = item
    }
    return wanted ? this.#value(wanted, depth) : this.#skip(depth)
  }
}

const noNode: JsonNode = { name: new Uint8Array(0), plain: false, fields: [], children: [], items: [], index: -1, only: false, opens: 0, first: -1, seen: 0 }

function toJsonNode(node: PathNode): JsonNode {
  const children = node.children.filter(({ index }) => index === undefined).map(toJsonNode)
  const items = node.children.filter(({ index }) => index !== undefined).map(toJsonNode)
  const first = node.fields[0] ?? children[0]?.first ?? items[0]?.first ?? -1
  const kinds = [node.fields, children, items].filter(({ length }) => length > 0).length
  const opens = kinds > 1 ? -1 : children.length > 0 ? 0x7b : items.length > 0 ? 0x5b : 0
  const plain = JSON.stringify(node.name) === `"${node.name}"`
  return { name: Buffer.from(node.name), plain, fields: node.fields, children, items, index: node.index ?? -1, only: node.only === true, opens, first, seen: 0 }
}
