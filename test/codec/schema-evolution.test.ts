import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import avro from 'avsc'
import { HarrierError } from '../../src/base/errors.js'
import type { FieldSpec } from '../../src/codec/field-spec.js'
import { loadSchemaFolder } from '../../src/codec/schema-files.js'
import { createSourceDecoder } from '../../src/codec/source-decoder.js'
import { decodeAll, fakeRegistry, withPrefix } from './decode-fixture.js'

const golden = 'test/golden/codec'

test('every schema reads what its predecessors wrote', () => {
  const present = loadSchemaFolder()
  const versions = readdirSync(golden).filter((name) => name.startsWith('schemas-'))
  assert.ok(versions.length > 0)
  for (const version of versions) {
    for (const [name, predecessor] of loadSchemaFolder(`${golden}/${version}`)) {
      const reader = present.get(name)
      assert.ok(reader, `${name}.avsc of ${version} is still there`)
      const readerType = avro.Type.forSchema(reader as avro.Schema)
      assert.doesNotThrow(() => readerType.createResolver(avro.Type.forSchema(predecessor as avro.Schema)), `${name} of ${version}`)
    }
  }
})

const reader = {
  type: 'record',
  name: 'Payment',
  fields: [
    { name: 'id', type: 'long', aliases: ['payment_id'] },
    { name: 'amount', type: 'double' },
    { name: 'currency', type: 'string', default: 'EUR' },
    { name: 'place', type: { type: 'record', name: 'Place', fields: [{ name: 'city', type: 'string', default: 'Bern' }, { name: 'zip', type: ['null', 'int'], default: null }] }, default: { city: 'Basel' } },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-micros' }, default: 1_000_000 },
  ],
}

const fields: FieldSpec[] = [
  { name: 'id', path: 'id', type: 'text' },
  { name: 'amount', path: 'amount', type: 'number' },
  { name: 'currency', path: 'currency', type: 'text' },
  { name: 'city', path: 'place.city', type: 'text' },
  { name: 'zip', path: 'place.zip', type: 'integer', optional: true },
  { name: 'at', path: 'at', type: 'timestamp-micros' },
]

async function readWith(writer: { type: string; name: string; fields: { name: string; type: unknown }[] }, value: object): Promise<unknown> {
  const bytes = withPrefix(1, avro.Type.forSchema(writer as avro.Schema).toBuffer(value))
  const [row] = await decodeAll(fields, [bytes], { schemas: new Map([[1, writer]]), readerSchema: reader })
  return row!.cells ?? row!.message
}

test('what a writer lacks comes from the reader\'s defaults, names from its aliases, numbers are promoted', async () => {
  const old = { type: 'record', name: 'Payment', fields: [{ name: 'amount', type: 'int' }, { name: 'payment_id', type: 'int' }] }
  assert.deepEqual(await readWith(old, { amount: 12, payment_id: 3 }), { id: '3', amount: 12, currency: 'EUR', city: 'Basel', zip: null, at: 1000 })
  const newer = {
    type: 'record',
    name: 'Payment',
    fields: [
      { name: 'added', type: { type: 'map', values: 'string' } },
      { name: 'place', type: { type: 'record', name: 'Place', fields: [{ name: 'zip', type: 'int' }] } },
      { name: 'amount', type: 'float' },
      { name: 'at', type: 'long' },
      { name: 'id', type: 'string' },
    ],
  }
  const value = { added: { a: 'b' }, place: { zip: 8000 }, amount: 1.5, at: 2_000_000, id: 'p-7' }
  assert.deepEqual(await readWith(newer, value), { id: 'p-7', amount: 1.5, currency: 'EUR', city: 'Bern', zip: 8000, at: 2000 })
})

test('a writer that lacks a field without default is refused, record by record', async () => {
  const without = { type: 'record', name: 'Payment', fields: [{ name: 'id', type: 'long' }] }
  assert.equal(await readWith(without, { id: 3 }), 'the schema of the record cannot serve the source: schema 1: has no field amount for amount')
})

test('fields that the reader schema cannot give are refused at set-up, by name', () => {
  const registry = fakeRegistry(new Map())
  const refuse = (field: FieldSpec, message: RegExp): void => {
    assert.throws(
      () => createSourceDecoder({ format: 'avro', fields: [field], readerSchema: reader, registry }),
      (error) => error instanceof HarrierError && error.code === 'SCHEMA_INVALID' && message.test(error.message),
    )
  }
  refuse({ name: 'x', path: 'nowhere', type: 'text' }, /has no field nowhere for x/)
  refuse({ name: 'x', path: 'place', type: 'text' }, /field x \(place\): cannot be read from record Place/)
  refuse({ name: 'x', path: 'currency', type: 'integer' }, /field x \(currency\): cannot be read from string/)
  refuse({ name: 'x', path: 'currency.code', type: 'text' }, /currency is string, not a record/)
})

test('declarations that contradict themselves are refused', () => {
  const refuse = (field: FieldSpec, message: RegExp): void => {
    assert.throws(
      () => createSourceDecoder({ format: 'json', fields: [field] }),
      (error) => error instanceof HarrierError && error.code === 'TOPOLOGY_INVALID' && message.test(error.message),
    )
  }
  refuse({ name: 'x', path: 'a..b', type: 'text' }, /not a dotted path/)
  refuse({ name: 'x', path: 'a', type: 'text', min: 1 }, /min and max do not fit/)
  refuse({ name: 'x', path: 'a', type: 'number', min: 2, max: 1 }, /min is above max/)
  refuse({ name: 'x', path: 'a', type: 'number', scale: 2 }, /scale is for type integer/)
  refuse({ name: 'x', path: 'a', type: 'integer', default: 1.5 }, /default does not fit/)
  refuse({ name: 'x', path: 'a', type: 'money' as 'text' }, /unknown type "money"/)
})

test('one batch may hold records of several schemas, and each is fetched once', async () => {
  const writers = [1, 2, 3].map((id) => ({ type: 'record', name: 'Payment', fields: [...(id === 2 ? [{ name: 'noise', type: 'string' }] : []), { name: 'id', type: 'long' }, { name: 'amount', type: 'int' }] }))
  const schemas = new Map(writers.map((writer, i) => [i + 1, writer as object]))
  const registry = fakeRegistry(schemas)
  const decoder = createSourceDecoder({ format: 'avro', fields, readerSchema: reader, registry })
  const { EventColumns } = await import('../../src/codec/event-columns.js')
  const { fillRecords, readRows } = await import('./decode-fixture.js')
  const values = Array.from({ length: 30 }, (_, i) =>
    withPrefix((i % 3) + 1, avro.Type.forSchema(writers[i % 3] as avro.Schema).toBuffer({ id: i, amount: i * 2, noise: 'n' })),
  )
  const records = fillRecords(values, () => 0)
  const events = new EventColumns(fields, 30)
  await decoder.prepare(records)
  assert.equal(decoder.prepare(records), undefined, 'nothing is awaited once the schemas are known')
  decoder.decode(records, events)
  assert.deepEqual(registry.asked, [1, 2, 3])
  readRows(records, events).forEach((row, i) => assert.equal(row.cells?.['id'], String(i)))
})
