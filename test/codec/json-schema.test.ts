import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FieldSpec } from '../../src/codec/field-spec.js'
import { JsonSchema } from '../../src/codec/json-schema.js'
import { bundleSchema } from '../../src/codec/registered-schema.js'
import { decodeAll, decodeJson, withPrefix } from './decode-fixture.js'

const schema = {
  $id: 'https://bank/payment.json',
  type: 'object',
  additionalProperties: false,
  properties: {
    id: { type: ['string', 'integer'] },
    amount: { $ref: '#/$defs/money' },
    fee: { anyOf: [{ type: 'null' }, { $ref: 'https://bank/payment.json#/$defs/money' }] },
    legs: { type: 'array', items: { allOf: [{ type: 'object' }, { properties: { rate: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 } } }] } },
    pair: { prefixItems: [{ type: 'boolean' }, { type: 'string' }], items: false },
    tags: { type: 'object', additionalProperties: { type: 'string' } },
    level: { enum: [1, 2, 'max'] },
    open: { type: 'object', properties: { known: {} } },
    address: { $ref: 'address.json#/definitions/address' },
  },
  $defs: { money: { type: 'object', properties: { value: { type: 'number', minimum: 0.29, maximum: 100 } } } },
}
const bundled = bundleSchema('JSON', schema, new Map([['address.json', { definitions: { address: { properties: { zip: { $ref: '#/definitions/zip' } } }, zip: { type: 'string' } } }]]))
const contract = new JsonSchema(bundled)
const field = (path: string, type: FieldSpec['type'], more: Partial<FieldSpec> = {}): FieldSpec => ({ name: 'x', path, type, ...more })

test('a schema gives what its properties, items, references and choices say', () => {
  const fits: [string, FieldSpec['type'], Partial<FieldSpec>?][] = [
    ['id', 'text'], ['id', 'integer'], ['amount.value', 'integer'], ['fee.value', 'number'], ['legs[0].rate', 'number'], ['pair[0]', 'boolean'], ['tags.any', 'text'],
    ['level', 'text'], ['open.known', 'boolean'], ['address.zip', 'text'], ['nowhere', 'text', { optional: true }], ['address.zip', 'integer', { from: 'text' }],
  ]
  for (const [path, type, more] of fits) assert.equal(contract.refusal(field(path, type, more)), undefined, `${path} as ${type}`)
  const misfits: [string, FieldSpec['type'], RegExp][] = [
    ['nowhere', 'text', /has no field nowhere/],
    ['amount', 'text', /cannot be read from object/],
    ['amount.valeu', 'number', /has no field amount\.valeu/],
    ['amount[0]', 'number', /amount is object, not array/],
    ['id.x', 'text', /id is string or integer, not object/],
    ['address.zip', 'integer', /cannot be read from string/],
    ['pair[2]', 'text', /has no field pair\[2\]/],
    ['pair[0]', 'text', /cannot be read from boolean/],
    ['id', 'boolean', /cannot be read from/],
    ['open.unknown', 'text', /has no field open\.unknown/],
  ]
  for (const [path, type, why] of misfits) assert.match(contract.refusal(field(path, type)) ?? 'none', why, `${path} as ${type}`)
})

test('bounds come in the units of the column', () => {
  assert.deepEqual(contract.demand(field('amount.value', 'integer', { scale: 2 })), { min: 29, max: 10_000 })
  assert.deepEqual(contract.demand(field('fee.value', 'number')), { min: 0.29, max: 100 })
  const rate = contract.demand(field('legs[1].rate', 'number'))
  assert.ok(rate.min! > 0 && rate.min! < 1e-300 && rate.max! < 1 && rate.max! > 0.999_999)
  assert.deepEqual(contract.demand(field('legs[1].rate', 'integer', { scale: 1 })), { min: 1, max: 9 })
  assert.deepEqual(contract.demand(field('level', 'text')), { allowed: ['1', '2', 'max'] })
  assert.deepEqual(contract.demand(field('id', 'text')), {})
})

test('references that lead nowhere or in a circle are named, not followed for ever', () => {
  const wrong = (properties: object): (() => unknown) => () => new JsonSchema({ properties, $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } }).refusal(field('x', 'text'))
  assert.throws(wrong({ x: { $ref: '#/$defs/none' } }), /"#\/\$defs\/none" leads nowhere/)
  assert.throws(wrong({ x: { $ref: 'other.json' } }), /"other\.json" is neither within the schema nor among its references/)
  assert.throws(wrong({ x: { $ref: '#/$defs/a' } }), /nested deeper than 64/)
})

test('records behind the envelope are held to the schema of their own id', async () => {
  const fields: FieldSpec[] = [field('amount.value', 'integer', { scale: 2 }), { ...field('level', 'text'), name: 'level', default: 'max' }]
  const schemas = new Map<number, object>([[1, schema], [2, { properties: { amount: { properties: { value: { maximum: 1 } } } } }], [3, { type: 'object', properties: { other: {} } }]])
  const values: [number, unknown][] = [
    [1, { amount: { value: 12.5 } }], [2, { amount: { value: 12.5 } }], [1, { amount: { value: 0.28 } }], [1, { amount: { value: 1 }, level: 3 }], [1, { amount: { value: 1 }, level: 2 }], [3, {}], [1, {}], [9, {}],
  ]
  const rows = await decodeAll(fields, values.map(([id, value]) => withPrefix(id, Buffer.from(JSON.stringify(value)))), { format: 'json-schema', schemas })
  assert.deepEqual(rows.map(({ fault }) => fault), ['none', 'aboveMax', 'belowMin', 'notAllowed', 'none', 'schemaUnfit', 'missingField', 'unknownSchema'])
  assert.deepEqual(rows[0]!.cells, { x: 1250, level: 'max' })
  assert.equal(rows[1]!.message, 'field x (amount.value): is above its maximum: 1250 > 100')
  assert.match(rows[5]!.message, /schema 3: has no field amount for x|schema 3: has no field amount\.value for x/)
  const bare = await decodeAll(fields, [Buffer.from('{"amount":{"value":1}}'), Buffer.alloc(3)], { format: 'json-schema', schemas })
  assert.deepEqual(bare.map(({ fault }) => fault), ['badMagic', 'valueTooShort'])
})

test('plain JSON is held to the schema file of its topology', async () => {
  const rows = await decodeJson([field('amount.value', 'number')], ['{"amount":{"value":0.3}}', '{"amount":{"value":101}}'], { readerSchema: schema })
  assert.deepEqual(rows.map(({ fault }) => fault), ['none', 'aboveMax'])
})
