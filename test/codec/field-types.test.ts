import assert from 'node:assert/strict'
import { test } from 'node:test'
import avro from 'avsc'
import fc from 'fast-check'
import { exact, scaleBig, scaleDecimal } from '../../src/codec/exact-number.js'
import { parsePath } from '../../src/codec/field-paths.js'
import type { FieldSpec, FieldType } from '../../src/codec/field-spec.js'
import { decodeAll, decodeJson, withPrefix, type Cell, type DecodedRow } from './decode-fixture.js'
import { avscType } from './random-avro.js'

/** Reads one value of one Avro type as one field. */
async function read(schema: unknown, value: unknown, field: Partial<FieldSpec> & { type: FieldType }): Promise<DecodedRow> {
  const record = { type: 'record', name: 'R', fields: [{ name: 'before', type: 'string' }, { name: 'x', type: schema }, { name: 'after', type: 'int' }] }
  // avsc gives its longs of 64 bits only to those without logical type; the bytes are the same.
  const plain = JSON.parse(JSON.stringify(record), (_, node: unknown) => (isLogicalLong(node) ? 'long' : node)) as unknown
  const bytes = avscType(plain).toBuffer({ before: 'b', x: value, after: 5 })
  const [row] = await decodeAll([{ name: 'x', path: 'x', ...field }], [withPrefix(1, bytes)], { schemas: new Map([[1, record]]) })
  return row!
}

function isLogicalLong(node: unknown): boolean {
  return typeof node === 'object' && node !== null && 'logicalType' in node && 'type' in node && node.type === 'long'
}

async function cell(schema: unknown, value: unknown, field: Partial<FieldSpec> & { type: FieldType }): Promise<Cell | string> {
  const row = await read(schema, value, field)
  return row.cells ? row.cells['x']! : row.fault
}

const timestamp = (logicalType: string): object => ({ type: 'long', logicalType })
const decimal = (scale: number): object => ({ type: 'bytes', logicalType: 'decimal', precision: 30, scale })

function decimalBytes(value: bigint, size: number): Buffer {
  return Buffer.from(
    BigInt.asUintN(size * 8, value)
      .toString(16)
      .padStart(size * 2, '0'),
    'hex',
  )
}

test('text keeps all 64 bits of a long, and integer refuses what it could not hold exactly', async () => {
  for (const value of [0n, 1n, -1n, 2n ** 31n, 10n ** 9n, 10n ** 18n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)]) {
    assert.equal(await cell('long', value, { type: 'text' }), value.toString())
    const isSafe = Number.isSafeInteger(Number(value))
    assert.equal(await cell('long', value, { type: 'integer' }), isSafe ? Number(value) : 'integerUnsafe')
  }
})

test('times come in ms whatever their unit, and the writer\'s logical type outranks the declaration', async () => {
  const ms = 1_522_540_831_123
  assert.equal(await cell('long', BigInt(ms), { type: 'timestamp-millis' }), ms)
  assert.equal(await cell('long', BigInt(ms) * 1000n + 999n, { type: 'timestamp-micros' }), ms)
  assert.equal(await cell('long', 1_522_540_831n, { type: 'timestamp-seconds' }), 1_522_540_831_000)
  assert.equal(await cell('int', 1_522_540_831, { type: 'timestamp-seconds' }), 1_522_540_831_000)
  assert.equal(await cell('double', 1_522_540_831.25, { type: 'timestamp-seconds' }), 1_522_540_831_250)
  assert.equal(await cell(timestamp('timestamp-micros'), BigInt(ms) * 1000n, { type: 'timestamp-millis' }), ms)
  assert.equal(await cell(timestamp('timestamp-nanos'), BigInt(ms) * 1_000_000n + 1n, { type: 'timestamp-millis' }), ms)
  assert.equal(await cell({ type: 'int', logicalType: 'date' }, 17_622, { type: 'timestamp-millis' }), Date.UTC(2018, 3, 1))
  assert.equal(await cell(timestamp('timestamp-micros'), 253_402_300_799_999_999n, { type: 'timestamp-micros' }), 253_402_300_799_999)
  assert.equal(await cell(timestamp('timestamp-micros'), 253_402_300_800_000_000n, { type: 'timestamp-micros' }), 'timeOutOfRange')
  assert.equal(await cell('string', '2018-04-01T00:00:31.5+02:00', { type: 'iso8601' }), Date.UTC(2018, 2, 31, 22, 0, 31, 500))
  assert.equal(await cell('string', '2018-04-01T00:00:31', { type: 'iso8601' }), 'badTime')
})

test('decimals become minor units by exact arithmetic', async () => {
  assert.equal(await cell(decimal(2), decimalBytes(1234n, 2), { type: 'integer', scale: 2 }), 1234)
  assert.equal(await cell(decimal(4), decimalBytes(123_400n, 4), { type: 'integer', scale: 2 }), 1234)
  assert.equal(await cell(decimal(4), decimalBytes(123_401n, 4), { type: 'integer', scale: 2 }), 'inexact')
  assert.equal(await cell(decimal(0), decimalBytes(-12n, 1), { type: 'integer', scale: 2 }), -1200)
  assert.equal(await cell(decimal(2), decimalBytes(2n ** 53n, 8), { type: 'integer', scale: 2 }), 'integerUnsafe')
  assert.equal(await cell(decimal(2), decimalBytes(1234n, 2), { type: 'number' }), 12.34)
  assert.equal(await cell(decimal(2), decimalBytes(-5n, 1), { type: 'text' }), '-0.05')
  assert.equal(await cell(decimal(2), decimalBytes(10n ** 27n, 12), { type: 'text' }), `1${'0'.repeat(25)}.00`)
  assert.equal(await cell({ type: 'fixed', name: 'D', size: 8, logicalType: 'decimal', precision: 18, scale: 2 }, decimalBytes(1999n, 8), { type: 'integer', scale: 2 }), 1999)
  assert.equal(await cell('double', 1.15, { type: 'integer', scale: 2 }), 115)
  assert.equal(await cell('float', Math.fround(12.34), { type: 'integer', scale: 2 }), 1234)
  assert.equal(await cell('double', 1.155, { type: 'integer', scale: 2 }), 'inexact')
  assert.equal(await cell('double', 3, { type: 'integer' }), 3)
  assert.equal(await cell('long', 12n, { type: 'integer', scale: 2 }), 1200)
  assert.equal(await cell('long', 2n ** 52n, { type: 'integer', scale: 2 }), 'integerUnsafe')
})

test('decimals of any size and scale are scaled as bigints would be', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }), fc.integer({ min: 0, max: 70 }), fc.integer({ min: -25, max: 25 }), (wide, narrower, shift) => {
      const value = wide >> BigInt(narrower)
      let size = 1
      while (BigInt.asIntN(size * 8, value) !== value) size++
      scaleBig(value, shift)
      const expected = { value: exact.value, fault: exact.fault }
      scaleDecimal(decimalBytes(value, size), 0, size, shift)
      assert.equal(exact.fault, expected.fault)
      if (exact.fault === 0) assert.equal(exact.value, expected.value)
    }),
    { numRuns: 3000 },
  )
})

test('text is read from strings, enums, integers, bytes, fixed and UUIDs', async () => {
  assert.equal(await cell('string', 'zwölf', { type: 'text' }), 'zwölf')
  assert.equal(await cell({ type: 'enum', name: 'E', symbols: ['A', 'LONGER'] }, 'LONGER', { type: 'text' }), 'LONGER')
  assert.equal(await cell('int', -2_147_483_648, { type: 'text' }), '-2147483648')
  assert.equal(await cell('bytes', Buffer.from('abc'), { type: 'text' }), 'abc')
  assert.equal(await cell('bytes', Buffer.from([0xff]), { type: 'text' }), 'badUtf8')
  assert.equal(await cell({ type: 'fixed', name: 'F', size: 3 }, Buffer.from([0, 0xab, 0x10]), { type: 'text' }), '00ab10')
  const uuid = { type: 'fixed', name: 'U', size: 16, logicalType: 'uuid' }
  const bytes = Buffer.from('0123456789abcdef0123456789abcdef', 'hex')
  assert.equal(await cell(uuid, bytes, { type: 'text' }), '01234567-89ab-cdef-0123-456789abcdef')
})

test('unions give null, the wanted branch, or a fault for a branch that does not fit', async () => {
  const union = ['null', 'string', 'long']
  assert.equal(await cell(union, null, { type: 'integer', optional: true }), null)
  assert.equal(await cell(union, null, { type: 'text', optional: true }), null)
  assert.equal(await cell(union, null, { type: 'integer' }), 'nullField')
  assert.equal(await cell(union, null, { type: 'integer', default: 5 }), 'nullField')
  assert.equal(await cell(union, { long: 7n }, { type: 'integer' }), 7)
  assert.equal(await cell(union, { string: '7' }, { type: 'integer' }), 'wrongType')
  assert.equal(await cell(union, { long: 7n }, { type: 'text' }), '7')
  assert.equal(await cell(['null', 'boolean'], { boolean: true }, { type: 'integer' }), 'schemaUnfit')
})

test('a recursive schema is walked to its end, and refused beyond the depth limit', async () => {
  const list = { type: 'record', name: 'Node', fields: [{ name: 'v', type: 'int' }, { name: 'next', type: ['null', 'Node'] }] }
  const chain = (length: number): unknown => {
    let node: unknown = null
    for (let i = 0; i < length; i++) node = { v: i, next: node === null ? null : { Node: node } }
    return node
  }
  const fields: FieldSpec[] = [
    { name: 'v', path: 'v', type: 'integer' },
    { name: 'third', path: 'next.next.v', type: 'integer', optional: true },
  ]
  const values = [1, 3, 40, 100].map((length) => withPrefix(1, avscType(list).toBuffer(chain(length))))
  const rows = await decodeAll(fields, values, { schemas: new Map([[1, list]]) })
  assert.deepEqual(
    rows.map(({ fault, cells }) => cells ?? fault),
    [{ v: 0, third: null }, { v: 2, third: 0 }, { v: 39, third: 37 }, 'tooDeep'],
  )
})

test('names in a schema never become code', async () => {
  const evil = ")'};globalThis['taken']=1;//"
  const schema = {
    type: 'record',
    name: `R${evil}`,
    fields: [{ name: evil, type: { type: 'enum', name: `E${evil}`, symbols: [`'${evil}`, '`${evil}'] } }, { name: 'x', type: 'string' }],
  }
  const fields: FieldSpec[] = [
    { name: evil, path: `[${JSON.stringify(evil)}]`, type: 'text' },
    { name: 'x', path: 'x', type: 'text' },
    { name: 'd', path: 'd', type: 'text', default: `"${evil}` },
  ]
  const [row] = await decodeAll(fields, [withPrefix(1, Buffer.from([2, 2, 0x61]))], { schemas: new Map([[1, schema]]) })
  assert.deepEqual(row!.cells, { [evil]: '`${evil}', x: 'a', d: `"${evil}` })
  assert.equal('taken' in globalThis, false)
})

test('blocks with sizes are jumped over, and a block of nothing cannot spin', async () => {
  const schema = { type: 'record', name: 'R', fields: [
    { name: 'a', type: { type: 'array', items: 'int' } },
    { name: 'n', type: { type: 'array', items: 'null' } },
    { name: 'x', type: 'int' },
  ] }
  const sized = [3, 4, 2, 4, 0]
  const hugeNulls = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03, 0]
  const rows = await decodeAll(
    [{ name: 'x', path: 'x', type: 'integer' }],
    [[...sized, ...hugeNulls, 8], [3, 0x7f, 2, 4, 0, 0, 8], [3, 5, 2, 4, 0, 0, 8]].map((body) => withPrefix(1, Buffer.from(body))),
    { schemas: new Map([[1, schema]]) },
  )
  assert.deepEqual(
    rows.map(({ fault, cells }) => cells?.['x'] ?? fault),
    [4, 'malformed', 'malformed'],
  )
})

test('JSON times: numbers by unit with fractions, ISO 8601 by text', async () => {
  const ms = 1_522_540_831_123
  const cases: [FieldType, string, Cell][] = [
    ['timestamp-millis', String(ms), ms],
    ['timestamp-millis', `${ms}.9`, ms],
    ['timestamp-micros', `${ms}999`, ms],
    ['timestamp-seconds', '1522540831.1239', ms],
    ['timestamp-seconds', '1.522540831123e9', ms],
    ['timestamp-seconds', '-0.5', 'timeOutOfRange'],
    ['timestamp-seconds', '1e30', 'timeOutOfRange'],
    ['iso8601', '"2018-04-01T00:00:31.123Z"', ms],
    ['iso8601', '"2018-04-01 00:00:31.123456\\u005a"', ms],
    ['iso8601', '"2018-02-29T00:00:31Z"', 'badTime'],
    ['iso8601', '"1969-12-31T23:59:59Z"', 'timeOutOfRange'],
    ['iso8601', '"10000-01-01T00:00:00Z"', 'badTime'],
    ['iso8601', '5', 'wrongType'],
    ['timestamp-millis', '"5"', 'wrongType'],
  ]
  for (const [type, literal, expected] of cases) {
    const [row] = await decodeJson([{ name: 't', path: 't', type }], [`{"t":${literal}}`])
    assert.equal(row!.cells ? row!.cells['t'] : row!.fault, expected, `${type} ${literal}`)
  }
})

test('JSON amounts are scaled by their digits, and text keeps a number as it is written', async () => {
  const fields: FieldSpec[] = [
    { name: 'minor', path: 'a', type: 'integer', scale: 2 },
    { name: 'text', path: 'a', type: 'text' },
  ]
  for (const [literal, minor] of [['12.34', 1234], ['0.07', 7], ['1.15', 115], ['8.2', 820], ['1e2', 10_000], ['12.3400', 1234], ['90071992547409.91', 2 ** 53 - 1]] as const) {
    const [row] = await decodeJson(fields, [`{"a":${literal}}`])
    assert.deepEqual(row!.cells, { minor, text: literal })
  }
})

test('JSON fields that are absent take defaults, null does not, and parents count for their fields', async () => {
  const fields: FieldSpec[] = [
    { name: 'currency', path: 'pay.currency', type: 'text', default: 'EUR' },
    { name: 'amount', path: 'pay.amount', type: 'integer', default: 5 },
    { name: 'note', path: 'note', type: 'text', optional: true },
  ]
  const rows = await decodeJson(fields, ['{}', '{"pay":{"currency":"CHF"},"note":"n"}', '{"pay":null}', '{"pay":3}', '{"pay":{"amount":1},"pay":{}}'])
  assert.deepEqual(
    rows.map(({ fault, cells }) => cells ?? fault),
    [{ currency: 'EUR', amount: 5, note: null }, { currency: 'CHF', amount: 5, note: 'n' }, 'nullField', 'wrongType', 'duplicateField'],
  )
})

test('JSON names are found in any order and with escapes, and never taken from broken JSON', async () => {
  const fields: FieldSpec[] = [
    { name: 'a', path: 'a"b', type: 'integer' },
    { name: 'c', path: 'ç', type: 'integer' },
  ]
  const rows = await decodeJson(fields, ['{"a\\"b":1,"ç":2}', '{"\\u00e7":2,"x":{"ç":9},"a\\u0022b":1}', '{"a"b":1,"ç":2}'])
  assert.deepEqual(
    rows.map(({ fault, cells }) => cells ?? fault),
    [{ a: 1, c: 2 }, { a: 1, c: 2 }, 'notJson'],
  )
})

const legs = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'legs', type: { type: 'array', items: { type: 'record', name: 'Leg', fields: [{ name: 'note', type: 'string' }, { name: 'amount', type: 'string' }] } } },
    { name: 'tags', type: { type: 'map', values: ['null', 'string', 'long'] } },
    { name: 'at', type: 'string' },
  ],
}
const legFields: FieldSpec[] = [
  { name: 'second', path: 'legs[1].amount', type: 'integer', scale: 2, from: 'text', optional: true },
  { name: 'first', path: 'legs[0].amount', type: 'number', from: 'text' },
  { name: 'channel', path: 'tags.channel', type: 'text', default: 'none' },
  { name: 'dotted', path: 'tags["a.b"]', type: 'text', optional: true },
  { name: 'at', path: 'at', type: 'iso8601', zone: '+02:00' },
]
const order = (amounts: string[], tags: Record<string, unknown>, at = '2024-05-02T09:14:03'): object => ({ legs: amounts.map((amount) => ({ note: 'n', amount })), tags, at })

test('paths lead into arrays and maps, numbers may be text and times may name no zone, in Avro and JSON alike', async () => {
  const type = avro.Type.forSchema(legs as avro.Schema, { wrapUnions: 'always' })
  const atMs = Date.UTC(2024, 4, 2, 7, 14, 3)
  const cases: [object, object | string][] = [
    [order(['1.5', '12.34', '9'], { channel: { string: 'web' }, 'a.b': { long: 7 } }), { second: 1234, first: 1.5, channel: 'web', dotted: '7', at: atMs }],
    [order(['+00012.50'], {}), { second: null, first: 12.5, channel: 'none', dotted: null, at: atMs }],
    [order(['1', '-0.07'], { other: null }, '2024-05-02'), { second: -7, first: 1, channel: 'none', dotted: null, at: Date.UTC(2024, 4, 1, 22) }],
    [order(['1'], {}, '2024-05-02T09:14:03Z'), { second: null, first: 1, channel: 'none', dotted: null, at: Date.UTC(2024, 4, 2, 9, 14, 3) }],
    [order([], {}), 'missingField'],
    [order(['1', '12.345'], {}), 'inexact'],
    [order(['1,5'], {}), 'notNumber'],
    [order(['1e5'], {}), 'notNumber'],
    [order(['1.'], {}), 'notNumber'],
    [order([''], {}), 'notNumber'],
    [order(['1', '90071992547409.92'], {}), 'integerUnsafe'],
    [order(['1'], { channel: null }), 'nullField'],
  ]
  const unwrap = (_: string, value: unknown): unknown => {
    const only = typeof value === 'object' && value !== null && Object.keys(value).length === 1 ? Object.keys(value)[0] : undefined
    return only === 'string' || only === 'long' ? (value as Record<string, unknown>)[only] : value
  }
  const fromAvro = await decodeAll(legFields, cases.map(([value]) => withPrefix(1, type.toBuffer(value))), { schemas: new Map([[1, legs]]) })
  const fromJson = await decodeJson(legFields, cases.map(([value]) => JSON.stringify(value, unwrap)))
  cases.forEach(([, expected], row) => {
    const got = (rows: typeof fromAvro): unknown => rows[row]!.cells ?? rows[row]!.fault
    assert.deepEqual(got(fromAvro), expected, `Avro, row ${row}: ${fromAvro[row]!.message}`)
    assert.deepEqual(got(fromJson), expected, `JSON, row ${row}: ${fromJson[row]!.message}`)
  })
})

test('a path with [only] takes an array of one item and refuses longer ones by name', async () => {
  const fields: FieldSpec[] = [{ name: 'amount', path: 'legs[only].amount', type: 'text' }, { name: 'note', path: 'legs[0].note', type: 'text' }]
  const type = avro.Type.forSchema(legs as avro.Schema)
  const values = [order(['5'], {}), order(['5', '6'], {})]
  const fromAvro = await decodeAll(fields, values.map((value) => withPrefix(1, type.toBuffer(value))), { schemas: new Map([[1, legs]]) })
  for (const rows of [fromAvro, await decodeJson(fields, values.map((value) => JSON.stringify(value)))]) {
    assert.deepEqual(rows[0]!.cells, { amount: '5', note: 'n' })
    assert.equal(rows[1]!.message, 'field amount (legs[only].amount): has more than one item, and the path says [only]')
  }
})

test('items are found in blocks with sizes, in later blocks, and a key that stands twice is a fault', async () => {
  const schema = { type: 'record', name: 'R', fields: [{ name: 'a', type: { type: 'array', items: 'int' } }, { name: 'm', type: { type: 'map', values: 'int' } }] }
  const fields: FieldSpec[] = [{ name: 'third', path: 'a[2]', type: 'integer' }, { name: 'x', path: 'm.x', type: 'integer', default: -1 }]
  const rows = await decodeAll(
    fields,
    // a: a block of -2 items (2 bytes), a block of 1; m: empty, one sized block with x, x twice.
    [[3, 4, 2, 4, 2, 6, 0, 0], [3, 4, 2, 4, 2, 6, 0, 1, 6, 2, 0x78, 8, 0], [6, 2, 4, 6, 0, 4, 2, 0x78, 8, 2, 0x78, 8, 0]].map((bytes) => withPrefix(1, Buffer.from(bytes))),
    { schemas: new Map([[1, schema]]) },
  )
  assert.deepEqual(rows.map(({ cells, fault }) => cells ?? fault), [{ third: 3, x: -1 }, { third: 3, x: 4 }, 'duplicateField'])
})

test('a path says what it means', () => {
  assert.deepEqual(parsePath('a.b[12].c'), [{ name: 'a' }, { name: 'b' }, { name: '[12]', index: 12 }, { name: 'c' }])
  assert.deepEqual(parsePath('a["x.y"][only]'), [{ name: 'a' }, { name: 'x.y' }, { name: '[only]', index: 0, only: true }])
  for (const wrong of ['', '.', 'a.', '.a', 'a..b', '[0]', 'a[', 'a[-1]', 'a[1000]', 'a[x]', 'a[0]b', 'a.[0]']) assert.equal(parsePath(wrong), undefined, wrong)
})
