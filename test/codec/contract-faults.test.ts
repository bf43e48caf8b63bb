import assert from 'node:assert/strict'
import { test } from 'node:test'
import avro from 'avsc'
import { faultCatalogue, faultNames, type FaultName } from '../../src/codec/decode-fault.js'
import { EventColumns } from '../../src/codec/event-columns.js'
import type { FieldSpec } from '../../src/codec/field-spec.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import { createSourceDecoder } from '../../src/codec/source-decoder.js'
import { decodeAll, decodeJson, fakeRegistry, fillRecords, readRows, withPrefix } from './decode-fixture.js'

const schema = loadOwnSchema('transaction')
const type = avro.Type.forSchema(schema as avro.Schema)
const schemas = new Map([
  [7, schema],
  [8, { type: 'record', name: 'Other', fields: [{ name: 'transaction_id', type: 'long' }] }],
  [9, { type: 'string' }],
  [10, { type: 'of type JSON, not AVRO' }],
])

/** The fields of topologies/card-fraud.yaml. */
const fields: FieldSpec[] = [
  { name: 'event_id', path: 'transaction_id', type: 'text' },
  { name: 'event_time', path: 'event_time', type: 'timestamp-millis' },
  { name: 'customer', path: 'customer_id', type: 'text' },
  { name: 'terminal', path: 'terminal_id', type: 'text' },
  { name: 'amount', path: 'amount_minor', type: 'integer', min: 0, max: 1e9 },
]

const good = { transaction_id: 17, event_time: 1_522_540_831_000, customer_id: '596', terminal_id: '3156', amount_minor: 5716, currency: 'EUR' }
const cells = { event_id: '17', event_time: 1_522_540_831_000, customer: '596', terminal: '3156', amount: 5716 }
const encode = (change: object, id = 7): Buffer => withPrefix(id, type.toBuffer({ ...good, ...change }))
const json = (change: object): string => JSON.stringify({ ...good, ...change })

/** The fault and the words that its message must hold. */
type Expected = readonly [FaultName, RegExp]

test('each malformed Avro value becomes a fault with its cause, and the rows around it are decoded', async () => {
  const goodBytes = encode({})
  const cases: [Buffer | null, Expected][] = [
    [null, ['valueNull', /value is null/]],
    [Buffer.alloc(0), ['valueTooShort', /too short.*0 bytes/]],
    [Buffer.from([0, 0, 0, 0]), ['valueTooShort', /4 bytes/]],
    [Buffer.concat([Buffer.from([1]), goodBytes.subarray(1)]), ['badMagic', /magic byte/]],
    [Buffer.from('{"a":1}'), ['badMagic', /magic byte/]],
    [encode({}, 4711), ['unknownSchema', /unknown schema id: 4711/]],
    [encode({}, 8), ['schemaUnfit', /schema 8: has no field event_time for event_time/]],
    [encode({}, 9), ['schemaUnfit', /schema 9: .*is a string, not a record/]],
    [encode({}, 10), ['schemaUnfit', /schema 10: .*of type JSON, not AVRO/]],
    [goodBytes.subarray(0, goodBytes.length - 1), ['truncated', /ends too early/]],
    [goodBytes.subarray(0, 9), ['truncated', /ends too early/]],
    [Buffer.concat([goodBytes, Buffer.from([0])]), ['trailingBytes', /bytes follow/]],
    [Buffer.concat([goodBytes.subarray(0, 5), Buffer.alloc(12, 0xff)]), ['malformed', /not well-formed/]],
    [Buffer.concat([goodBytes.subarray(0, 12), Buffer.from([1])]), ['malformed', /not well-formed/]],
    [encode({ amount_minor: -1 }), ['belowMin', /field amount \(amount_minor\): is below its minimum: -1 < 0/]],
    [encode({ amount_minor: 2e9 }), ['aboveMax', /2000000000 > 1000000000/]],
    [encode({ event_time: -1 }), ['timeOutOfRange', /field event_time: lies before 1970 or after the year 9999: -1 ms/]],
    [encode({ event_time: Date.UTC(10_000, 0, 1) }), ['timeOutOfRange', /253402300800000 ms/]],
    [encode({ customer_id: 'x'.repeat(2 << 20) }), ['valueTooLarge', /recordBytesMax.*at most 1048576/]],
  ]
  const rows = await decodeAll(
    fields,
    cases.flatMap(([value]) => [value, goodBytes]),
    { schemas, readerSchema: schema },
  )
  cases.forEach(([, [fault, message]], i) => {
    assert.equal(rows[i * 2]!.fault, fault)
    assert.match(rows[i * 2]!.message, message)
    assert.deepEqual(rows[i * 2 + 1]!.cells, cells)
  })
})

test('text that is not UTF-8 is a fault of its field, overlong forms and surrogates included', async () => {
  for (const bad of [[0xff], [0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0x80]]) {
    const marker = encode({ customer_id: '~'.repeat(bad.length) })
    const at = marker.indexOf('~')
    const value = Buffer.concat([marker.subarray(0, at), Buffer.from(bad), marker.subarray(at + bad.length)])
    const [row] = await decodeAll(fields, [value], { schemas })
    assert.deepEqual([row!.fault, row!.message], ['badUtf8', 'field customer (customer_id): text is not UTF-8'])
  }
})

test('each malformed JSON value becomes a fault with its cause', async () => {
  const cases: [string, Expected][] = [
    ['', ['notJson', /not JSON/]],
    ['{"transaction_id":', ['notJson', /not JSON/]],
    [json({}).replace('5716', 'NaN'), ['notJson', /not JSON/]],
    [json({}).replace('5716', '05716'), ['notJson', /not JSON/]],
    [json({}) + '{}', ['notJson', /not JSON/]],
    ['"text"', ['wrongType', /wrong type/]],
    ['[1]', ['wrongType', /wrong type/]],
    ['['.repeat(100) + ']'.repeat(100), ['tooDeep', /too deeply/]],
    [`{"x":${'{"x":'.repeat(100)}1${'}'.repeat(101)}`, ['tooDeep', /too deeply/]],
    [json({ amount_minor: '5716' }), ['wrongType', /field amount \(amount_minor\): wrong type/]],
    [json({ customer_id: { id: 1 } }), ['wrongType', /field customer/]],
    [json({ customer_id: true }), ['wrongType', /field customer/]],
    [json({ amount_minor: undefined }), ['missingField', /field amount \(amount_minor\): is missing/]],
    [json({ amount_minor: null }), ['nullField', /field amount \(amount_minor\): is null/]],
    [json({ amount_minor: -5 }), ['belowMin', /-5 < 0/]],
    [json({ amount_minor: 12.5 }), ['inexact', /more decimals/]],
    [json({}).replace('5716', '9007199254740993'), ['integerUnsafe', /2\^53-1/]],
    [json({ event_time: 253_402_300_800_000 }), ['timeOutOfRange', /9999/]],
    [json({}).replace('"currency"', '"customer_id":"7","currency"'), ['duplicateField', /field customer \(customer_id\): appears twice/]],
    [json({}).replace('596', '\\ud800'), ['badUtf8', /field customer/]],
    [json({ currency: 'x'.repeat(2 << 20) }), ['valueTooLarge', /at most 1048576/]],
  ]
  const rows = await decodeJson(
    fields,
    cases.flatMap(([text]) => [text, json({})]),
  )
  cases.forEach(([text, [fault, message]], i) => {
    assert.equal(rows[i * 2]!.fault, fault, text.slice(0, 200))
    assert.match(rows[i * 2]!.message, message)
    assert.deepEqual(rows[i * 2 + 1]!.cells, cells)
  })
})

test('a null value is a fault in JSON too, and a number beyond all doubles is not finite', async () => {
  const rate: FieldSpec[] = [{ name: 'rate', path: 'rate', type: 'number' }]
  const rows = await decodeAll(rate, [null, Buffer.from('{"rate":1e999}'), Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])], { format: 'json' })
  assert.deepEqual(
    rows.map(({ fault }) => fault),
    ['valueNull', 'notFinite', 'badUtf8'],
  )
})

test('NaN and infinity in Avro are faults of their field', async () => {
  const amounts = { type: 'record', name: 'R', fields: [{ name: 'd', type: 'double' }, { name: 'f', type: 'float' }] }
  const writer = avro.Type.forSchema(amounts as avro.Schema)
  const number: FieldSpec[] = [
    { name: 'd', path: 'd', type: 'number', min: 0 },
    { name: 'f', path: 'f', type: 'number' },
  ]
  const values = [{ d: NaN, f: 1 }, { d: 1, f: Infinity }, { d: -0.5, f: 1 }, { d: 0.5, f: 1.5 }]
  const rows = await decodeAll(number, values.map((value) => withPrefix(1, writer.toBuffer(value))), { schemas: new Map([[1, amounts]]) })
  assert.deepEqual(
    rows.map(({ fault, message }) => [fault, message]),
    [
      ['notFinite', 'field d: is NaN or infinite'],
      ['notFinite', 'field f: is NaN or infinite'],
      ['belowMin', 'field d: is below its minimum: -0.5 < 0'],
      ['none', ''],
    ],
  )
})

test('every fault has a text, and a code of the error catalogue that means dead letter', () => {
  for (const name of faultNames) {
    assert.notEqual(faultCatalogue[name].text, '')
    assert.match(faultCatalogue[name].code, /^RECORD_/)
  }
})

test('ids that a lineage record names as unknown then are unknown again, whatever the registry knows now', async () => {
  const registry = fakeRegistry(new Map([[1, schema], [2, schema]]))
  const decoder = createSourceDecoder({ format: 'avro', fields, registry })
  const value = type.toBuffer(good)
  const records = fillRecords([withPrefix(1, value), withPrefix(2, value)], () => 0xff)
  const events = new EventColumns(fields, 2)
  const unknownThen = new Set([2])
  await decoder.prepare(records, 0, undefined, unknownThen)
  assert.deepEqual(registry.asked, [1])
  decoder.decode(records, events, 0, unknownThen)
  assert.deepEqual(readRows(records, events).map(({ fault }) => fault), ['none', 'unknownSchema'])
  await decoder.prepare(records)
  decoder.decode(records, events)
  assert.deepEqual(readRows(records, events).map(({ fault }) => fault), ['none', 'none'])
})
