import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Prng } from '../../src/base/prng.js'
import { parseAvroSchema } from '../../src/codec/avro-schema.js'
import { AvroValueReader } from '../../src/codec/avro-value-reader.js'
import { GenericDecoder } from '../../src/codec/generic-decoder.js'
import { fakeRegistry, withPrefix } from './decode-fixture.js'
import { avscType, randomRecord, type RandomType } from './random-avro.js'

/** What a person should see of a value as avsc takes it. */
function shown(type: RandomType, value: unknown): unknown {
  if (type.branches) {
    if (value === null) return null
    const [branch, inner] = Object.entries(value as Record<string, unknown>)[0]!
    return shown(type.branches.find((candidate) => candidate.branch === branch)!, inner)
  }
  if (type.fields) return Object.fromEntries(type.fields.map((field) => [field.name, shown(field.type, (value as Record<string, unknown>)[field.name])]))
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()
  return Buffer.isBuffer(value) ? value.toString('hex') : value
}

test('any record that avsc wrote is shown whole and exactly', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0x7fffffff }), (seed) => {
      const type = randomRecord(new Prng(seed))
      if (/"(array|map|float)"/.test(JSON.stringify(type.schema))) return
      const value = type.make()
      const seen = new AvroValueReader(avscType(type.schema).toBuffer(value)).readAll(parseAvroSchema(type.schema))
      assert.deepEqual(seen, shown(type, value))
    }),
    { numRuns: 2000 },
  )
})

const schema = {
  type: 'record',
  name: 'R',
  fields: [
    { name: 'id', type: 'long' },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'price', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
    { name: 'score', type: 'float' },
    { name: 'tags', type: { type: 'array', items: 'string' } },
    { name: 'more', type: { type: 'map', values: ['long', 'string'] } },
  ],
}

test('a person sees times in ISO 8601, decimals as text, short floats and 64-bit integers exactly', async () => {
  const decoder = new GenericDecoder(fakeRegistry(new Map([[6, schema]])))
  const body = Buffer.concat([
    Buffer.from([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
    Buffer.from([0x00, 0x04, 0x04, 0xd2]),
    Buffer.from(Float32Array.of(0.1).buffer),
    Buffer.from([2, 2, 0x61, 0]),
    Buffer.from([1, 8, 2, 0x6b, 2, 2, 0x76, 0]),
  ])
  assert.deepEqual(await decoder.decode(withPrefix(6, body)), {
    encoding: 'avro',
    schemaId: 6,
    value: { id: '9223372036854775807', at: '1970-01-01T00:00:00.000Z', price: '12.34', score: 0.1, tags: ['a'], more: { k: 'v' } },
  })
})

test('what is not Avro is shown as JSON, text or hex, and a broken record says why', async () => {
  const decoder = new GenericDecoder(fakeRegistry(new Map([[6, schema]])))
  assert.deepEqual(await decoder.decode(null), { encoding: 'null', value: null })
  const json = '{"id":12345678901234567890,"s":"12345678901234567890","n":-1.5e3,"d":1234567890123456.5}'
  const value = { id: '12345678901234567890', s: '12345678901234567890', n: -1500, d: 1234567890123456.5 }
  assert.deepEqual(await decoder.decode(Buffer.from(json)), { encoding: 'json', value })
  assert.deepEqual(await decoder.decode(Buffer.from('{"broken')), { encoding: 'text', value: '{"broken' })
  assert.deepEqual(await decoder.decode(Buffer.from([0xff, 0xfe])), { encoding: 'binary', value: 'fffe' })
  const broken = await decoder.decode(withPrefix(6, Buffer.from([0xff])))
  assert.match(broken.problem ?? '', /ends too early/)
  const unknown = await decoder.decode(withPrefix(99, Buffer.from([0])))
  assert.match(unknown.problem ?? '', /unknown schema id 99/)
})

test('a block of nulls that claims billions of items is refused', () => {
  const type = parseAvroSchema({ type: 'array', items: 'null' })
  assert.throws(() => new AvroValueReader(Buffer.from([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03, 0])).readAll(type), /more than 1000000 items/)
})
