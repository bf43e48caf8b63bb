import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Prng } from '../../src/base/prng.js'
import type { RecordColumns } from '../../src/base/record-columns.js'
import { EventColumns } from '../../src/codec/event-columns.js'
import type { FieldSpec } from '../../src/codec/field-spec.js'
import { createSourceDecoder } from '../../src/codec/source-decoder.js'
import { decodeAll, decodeJson, fillRecords, readRows } from './decode-fixture.js'

const fields: FieldSpec[] = [
  { name: 'id', path: 'id', type: 'text', optional: true },
  { name: 'customer', path: 'card.customer', type: 'text', optional: true },
  { name: 'amount', path: 'card.payment.amount', type: 'integer', scale: 2, optional: true },
  { name: 'rate', path: 'rate', type: 'number', optional: true },
  { name: 'present', path: 'present', type: 'boolean', optional: true },
]

/** What JSON.parse makes of bytes; undefined where they are not JSON in UTF-8. */
function parsed(bytes: Uint8Array): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)) }
  } catch {
    return undefined
  }
}

const text = fc.string({ unit: 'binary', maxLength: 12 }).filter((value) => Buffer.from(value).toString() === value)
const document = fc.record(
  {
    noise: fc.jsonValue({ maxDepth: 4 }),
    id: fc.oneof(text, fc.maxSafeInteger()),
    card: fc.record({ customer: text, other: fc.jsonValue(), payment: fc.record({ amount: fc.integer() }, { requiredKeys: [] }) }, { requiredKeys: [] }),
    rate: fc.double({ noNaN: true, noDefaultInfinity: true }),
    present: fc.boolean(),
    tail: fc.jsonValue(),
  },
  { requiredKeys: [], noNullPrototype: true },
)

type Document = { id?: string | number; card?: { customer?: string; payment?: { amount?: number } }; rate?: number; present?: boolean }

test('reads from any document what JSON.parse reads', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(document, fc.constantFrom('', ' ', 2)), { minLength: 1, maxLength: 5 }), async (documents) => {
      const rows = await decodeJson(
        fields,
        documents.map(([value, indent]) => JSON.stringify(value, null, indent)),
      )
      documents.forEach(([value], row) => {
        const { id, card, rate, present } = JSON.parse(JSON.stringify(value)) as Document
        const cells = {
          id: id === undefined ? null : String(id),
          customer: card?.customer ?? null,
          amount: card?.payment?.amount === undefined ? null : card.payment.amount * 100 + 0,
          rate: rate === undefined ? null : rate + 0,
          present: present === undefined ? null : Number(present),
        }
        assert.deepEqual(rows[row], { fault: 'none', message: '', cells })
      })
    }),
    { numRuns: 500 },
  )
})

test('escapes mean what JSON.parse says they mean', async () => {
  const escaped = fc.array(
    fc.oneof(
      fc.constantFrom('\\n', '\\t', '\\"', '\\\\', '\\/', '\\b', '\\f', '\\r', '\\u0000', '\\u00e9', '\\u20AC', '\\ud83c\\udca1', 'é', '🂡', 'a'),
      fc.constantFrom('\\ud800', '\\udc00', '\\x', '\\u12g4', '\\u1'),
    ),
    { maxLength: 5 },
  )
  await fc.assert(
    fc.asyncProperty(escaped, async (parts) => {
      const json = `{"id":"${parts.join('')}"}`
      const [row] = await decodeJson(fields, [json])
      const expected = parsed(Buffer.from(json))
      const id = (expected?.value as Document | undefined)?.id as string | undefined
      // Half a surrogate pair is JSON, but no text that UTF-8 could hold.
      if (id === undefined || Buffer.from(id).toString() !== id) assert.notEqual(row!.fault, 'none')
      else assert.equal(row!.cells?.['id'], id)
    }),
    { numRuns: 1000 },
  )
})

test('accepts exactly the mutated documents that JSON.parse accepts, wherever they lie', () => {
  const prng = new Prng(7)
  const decoder = createSourceDecoder({ format: 'json', fields })
  const bits = ['{', '}', '[', ']', '"', ',', ':', '-', '.', 'e', '0', '1', '\\', 'u', ' ', '\n', 'true', 'null', '\u0001', '\xff', '"id":', '"a"']
  let accepted = 0
  for (let round = 0; round < 250; round++) {
    const documents = fc.sample(document, { numRuns: 20, seed: round })
    const values = Array.from({ length: 400 }, () => mutateText(JSON.stringify(documents[prng.below(20)]), bits, prng))
    const outcomes = [0xff, 0x22, 0x7d].map((filler) => {
      const records: RecordColumns = fillRecords(values, () => filler)
      const events = new EventColumns(fields, values.length)
      decoder.decode(records, events)
      return readRows(records, events)
    })
    assert.deepEqual(outcomes[1], outcomes[0])
    assert.deepEqual(outcomes[2], outcomes[0])
    values.forEach((value, row) => {
      const { fault } = outcomes[0]![row]!
      const isJson = parsed(value) !== undefined
      if (isJson) accepted++
      if (isJson) assert.ok(fault !== 'notJson' && (fault !== 'badUtf8' || value.includes('\\u')), `${value.toString()} is JSON, not ${fault}`)
      else assert.notEqual(fault, 'none', `${value.toString('latin1')} is not JSON`)
    })
  }
  assert.ok(accepted > 5000, `${accepted} of 100,000 were still JSON`)
})

function mutateText(json: string, bits: readonly string[], prng: Prng): Buffer {
  let value = Buffer.from(json)
  for (let changes = 1 + prng.below(2); changes > 0; changes--) {
    const at = prng.below(value.length + 1)
    const cut = prng.below(3)
    const bit = prng.below(4) === 0 ? Buffer.from([prng.below(256)]) : Buffer.from(bits[prng.below(bits.length)]!, 'latin1')
    value = Buffer.concat([value.subarray(0, at), bit, value.subarray(Math.min(value.length, at + cut))])
  }
  return value
}

test('numbers are read by their digits, exactly', async () => {
  const number = fc.tuple(
    fc.constantFrom('', '-'),
    fc.oneof(fc.constant('0'), fc.bigInt({ min: 1n, max: 10n ** 24n }).map(String), fc.integer({ min: 1, max: 99999 }).map(String)),
    fc.oneof(fc.constant(''), fc.stringMatching(/^\.[0-9]{1,20}$/)),
    fc.oneof(fc.constant(''), fc.stringMatching(/^[eE][+-]?[0-9]{1,3}$/)),
  )
  const numeric: FieldSpec[] = [
    { name: 'minor', path: 'n', type: 'integer', scale: 2 },
    { name: 'verbatim', path: 'n', type: 'text' },
  ]
  await fc.assert(
    fc.asyncProperty(number, async ([sign, whole, fraction, exponent]) => {
      const literal = sign + whole + fraction + exponent
      const json = Buffer.from(`{"n":${literal}}`)
      const [row] = await decodeAll(numeric, [json], { format: 'json' })
      const [rate] = await decodeAll([{ name: 'n', path: 'n', type: 'number' }], [json], { format: 'json' })
      if (Number.isFinite(Number(literal))) assert.equal(rate!.cells!['n'], Number(literal) + 0)
      else assert.equal(rate!.fault, 'notFinite')
      // digits * 10^power, in bigints.
      const power = Number(exponent.slice(1) || 0) - Math.max(0, fraction.length - 1) + 2
      const digits = BigInt(whole + fraction.slice(1))
      const value = power >= 0 ? digits * 10n ** BigInt(power) : digits % 10n ** BigInt(-power) === 0n ? digits / 10n ** BigInt(-power) : undefined
      if (value === undefined) assert.ok(row!.fault === 'inexact' || row!.fault === 'integerUnsafe', row!.fault)
      else if (value > BigInt(Number.MAX_SAFE_INTEGER)) assert.equal(row!.fault, 'integerUnsafe')
      else assert.deepEqual(row!.cells, { minor: Number(value) * (sign === '-' ? -1 : 1) + 0, verbatim: literal })
    }),
    { numRuns: 3000 },
  )
})
