import avro from 'avsc'
import type { Prng } from '../../src/base/prng.js'
import { parsePath } from '../../src/codec/field-paths.js'
import type { FieldSpec, FieldType } from '../../src/codec/field-spec.js'
import type { Cell } from './decode-fixture.js'

/** A schema with a maker of values for avsc (unions wrapped, longs as bigint), drawn from a seeded generator. */
export interface RandomType {
  readonly schema: unknown
  readonly kind: string
  /** Name of the type as a union's branch. */
  readonly branch: string
  readonly fields?: readonly { readonly name: string; readonly type: RandomType }[]
  readonly branches?: readonly RandomType[]
  /** Of an array or a map. */
  readonly items?: RandomType
  readonly make: () => unknown
}

/** avsc's own way to keep 64 bits; the peer that checks ours. */
export const bigLong = avro.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64LE(value)
    return buffer
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
})

export function avscType(schema: unknown): avro.Type {
  return avro.Type.forSchema(schema as avro.Schema, { registry: { long: bigLong }, wrapUnions: 'always' })
}

const words = ['', 'a', 'zwölf', '日本', '🂡 card', 'x'.repeat(70), 'customer-1234567', '\u0000']

export function randomType(prng: Prng, depth: number, names: { count: number }): RandomType {
  const leaf = depth <= 0 || prng.below(3) > 0
  const kinds = leaf
    ? ['boolean', 'int', 'long', 'float', 'double', 'string', 'bytes', 'enum', 'fixed', 'null']
    : ['record', 'record', 'array', 'map', 'union', 'union']
  return typeOfKind(kinds[prng.below(kinds.length)]!, prng, depth, names)
}

function typeOfKind(kind: string, prng: Prng, depth: number, names: { count: number }): RandomType {
  const name = `t${names.count++}`
  const simple = (make: () => unknown): RandomType => ({ schema: kind, kind, branch: kind, make })
  switch (kind) {
    case 'null':
      return simple(() => null)
    case 'boolean':
      return simple(() => prng.below(2) === 1)
    case 'int':
      return simple(() => (prng.below(2) ? prng.below(200) - 100 : prng.uint32() | 0))
    case 'long':
      return simple(() => randomLong(prng))
    case 'float':
      return simple(() => Math.fround(prng.normal() * 10 ** (prng.below(10) - 5)))
    case 'double':
      return simple(() => prng.normal() * 10 ** (prng.below(10) - 5))
    case 'string':
      return simple(() => words[prng.below(words.length)])
    case 'bytes':
      return simple(() => Buffer.from(Array.from({ length: prng.below(9) }, () => prng.below(prng.below(2) ? 256 : 128))))
    case 'fixed': {
      const size = prng.below(20)
      const make = (): Buffer => Buffer.from(Array.from({ length: size }, () => prng.below(256)))
      return { schema: { type: 'fixed', name, size }, kind, branch: name, make }
    }
    case 'enum': {
      const symbols = Array.from({ length: 1 + prng.below(90) }, (_, i) => `S${i}`)
      return { schema: { type: 'enum', name, symbols }, kind, branch: name, make: () => symbols[prng.below(symbols.length)] }
    }
    case 'array': {
      const items = randomType(prng, depth - 1, names)
      const make = (): unknown => Array.from({ length: prng.below(4) }, () => items.make())
      return { schema: { type: 'array', items: items.schema }, kind, branch: 'array', items, make }
    }
    case 'map': {
      const values = randomType(prng, depth - 1, names)
      const make = (): unknown => Object.fromEntries(Array.from({ length: prng.below(4) }, (_, i) => [`key${i}`, values.make()]))
      return { schema: { type: 'map', values: values.schema }, kind, branch: 'map', items: values, make }
    }
    case 'union': {
      const branches: RandomType[] = prng.below(4) > 0 ? [typeOfKind('null', prng, 0, names)] : []
      for (let i = 0; i < 1 + prng.below(3); i++) {
        const branch = randomType(prng, depth - 1, names)
        if (branch.kind !== 'union' && !branches.some((other) => other.branch === branch.branch)) branches.push(branch)
      }
      if (branches.length === 0) branches.push(typeOfKind('long', prng, 0, names))
      const make = (): unknown => {
        const branch = branches[prng.below(branches.length)]!
        return branch.kind === 'null' ? null : { [branch.branch]: branch.make() }
      }
      return { schema: branches.map(({ schema }) => schema), kind, branch: 'union', branches, make }
    }
    default: {
      const fields = Array.from({ length: 1 + prng.below(5) }, (_, i) => ({ name: `f${i}`, type: randomType(prng, depth - 1, names) }))
      const make = (): unknown => Object.fromEntries(fields.map((field) => [field.name, field.type.make()]))
      const schema = { type: 'record', name, fields: fields.map((field) => ({ name: field.name, type: field.type.schema })) }
      return { schema, kind: 'record', branch: name, fields, make }
    }
  }
}

export function randomRecord(prng: Prng): RandomType {
  return typeOfKind('record', prng, 4, { count: 0 })
}

function randomLong(prng: Prng): bigint {
  const bits = BigInt(prng.below(65))
  const value = ((BigInt(prng.uint32()) << 32n) | BigInt(prng.uint32())) >> (64n - bits)
  return BigInt.asIntN(64, prng.below(2) ? value : -value)
}

const takes: Record<string, readonly FieldType[]> = {
  boolean: ['boolean'],
  int: ['integer', 'number', 'text'],
  long: ['integer', 'number', 'text'],
  float: ['number'],
  double: ['number'],
  string: ['text'],
  bytes: ['text'],
  enum: ['text'],
  fixed: ['text'],
}

/** Fields that can be read from a type: leaves of records, of items of arrays and of entries of maps, also within unions. */
export function randomFields(type: RandomType, prng: Prng): FieldSpec[] {
  const fields: FieldSpec[] = []
  const walk = (inner: RandomType, path: string): void => {
    const branches = inner.branches ?? [inner]
    const records = branches.filter(({ kind }) => kind === 'record')
    const scalars = branches.filter(({ kind }) => takes[kind] !== undefined)
    const container = branches.find(({ items }) => items !== undefined)
    if (container && path !== '' && prng.below(3) > 0) {
      const steps = container.kind === 'array' ? ['[0]', '[1]', '[only]'] : ['.key0', '["key2"]']
      for (const step of steps) if (prng.below(2) === 0) walk(container.items!, path + step)
    } else if (records[0] && prng.below(10) > 0) for (const field of records[0].fields!) walk(field.type, path === '' ? field.name : `${path}.${field.name}`)
    else if (scalars[0] && path !== '' && prng.below(3) > 0) {
      const types = takes[scalars[0].kind]!
      fields.push({ name: `c${fields.length}`, path, type: types[prng.below(types.length)]!, optional: prng.below(4) > 0 })
    }
  }
  walk(type, '')
  return fields
}

/** What a field must read from a value, worked out from the value as avsc takes it; 'fault' where it must be refused. */
export function expectedCell(type: RandomType, value: unknown, field: FieldSpec, steps = parsePath(field.path)!): Cell | 'fault' {
  if (type.branches) {
    if (value === null) return field.optional ? null : 'fault'
    const [branch, inner] = Object.entries(value as Record<string, unknown>)[0]!
    return expectedCell(type.branches.find((candidate) => candidate.branch === branch)!, inner, field, steps)
  }
  if (type.kind === 'null') return field.optional ? null : 'fault'
  const step = steps[0]
  if (step !== undefined) {
    if (type.items) {
      if ((type.kind === 'array') !== (step.index !== undefined)) return 'fault'
      if (step.only && (value as unknown[]).length > 1) return 'fault'
      const item = (value as Record<string | number, unknown>)[step.index ?? step.name]
      if (item === undefined) return field.optional ? null : 'fault'
      return expectedCell(type.items, item, field, steps.slice(1))
    }
    if (step.index !== undefined) return 'fault'
    const inner = type.fields?.find(({ name }) => name === step.name)
    // A record of a union that lacks the field is as good as a writer that lacks it.
    if (!inner) return type.fields && field.optional ? null : 'fault'
    return expectedCell(inner.type, (value as Record<string, unknown>)[step.name], field, steps.slice(1))
  }
  if (!takes[type.kind]?.includes(field.type)) return 'fault'
  return scalarCell(type.kind, value, field.type)
}

function scalarCell(kind: string, value: unknown, type: FieldType): Cell | 'fault' {
  if (kind === 'boolean') return Number(value)
  if (kind === 'bytes') return utf8OrFault(value as Buffer)
  if (kind === 'fixed') return (value as Buffer).toString('hex')
  if (kind === 'int' || kind === 'long') {
    if (type === 'text') return String(value)
    if (type === 'number') return Number(value)
    return Number.isSafeInteger(Number(value)) ? Number(value) : 'fault'
  }
  return value as Cell
}

function utf8OrFault(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return 'fault'
  }
}
