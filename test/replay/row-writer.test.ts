import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Prng } from '../../src/base/prng.js'
import { noTimestamp, RecordColumns } from '../../src/base/record-columns.js'
import { EventColumns } from '../../src/codec/event-columns.js'
import { isText, type FieldSpec } from '../../src/codec/field-spec.js'
import { packedRowMark } from '../../src/codec/packed-row.js'
import { createSourceDecoder } from '../../src/codec/source-decoder.js'
import { RowWriter, type Value } from '../../src/replay/row-writer.js'

const fields: readonly FieldSpec[] = [
  { name: 'text', path: 'text', type: 'text' },
  { name: 'text_or_null', path: 'text_or_null', type: 'text', optional: true },
  { name: 'integer', path: 'integer', type: 'integer' },
  { name: 'cents', path: 'cents', type: 'integer', scale: 2, min: -500, max: 1e9, optional: true },
  { name: 'number', path: 'number', type: 'number', max: 1e6 },
  { name: 'flag', path: 'flag', type: 'boolean', optional: true },
  { name: 'millis', path: 'millis', type: 'timestamp-millis' },
  { name: 'seconds', path: 'seconds', type: 'timestamp-seconds' },
  { name: 'absent_number', path: 'absent.number', type: 'integer', default: 7 },
  { name: 'absent_text', path: 'absent.text', type: 'text', default: 'é' },
  { name: 'absent_null', path: 'absent.null', type: 'number', optional: true },
]
const hasColumn = fields.map(({ name }) => !name.startsWith('absent'))
const usual: readonly Value[] = ['a', 'b', 12, 34, 0.5, true, 1_700_000_000_000, 1_700_000_000]
const odd: readonly Value[] = [
  null, '', 'q"\\\n\u0000é€😀', '007', 0, -0, 1, -1, 12.5, -0.1, 1e300, -1e300, 5e-324, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 9_007_199_254_740_993n, 42n, -5n, true, false, 1e10, 1e15,
  253_402_300_799_999, 253_402_300_800_000, 253_402_300_799, -500, -501, 10_000_001,
]

interface Read {
  readonly fault: string
  readonly values: readonly (string | number | null)[]
}

const records = new RecordColumns(1)
const events = new EventColumns(fields, 1)
const decoder = createSourceDecoder({ format: 'json', fields, isTable: true })

/** What the decoder of a table's source makes of a record. */
function read(record: Uint8Array): Read {
  records.reset()
  records.append(0, 0, 0, noTimestamp, null, record)
  decoder.decode(records, events)
  const fault = events.faultMessage(0)
  return { fault, values: fault === '' ? fields.map((field, index) => (isText(field) ? events.text(index, 0, records.arena) : events.numbers[index]![0]!)) : [] }
}

function jsonOf(values: readonly Value[]): string {
  const parts = fields.flatMap(({ path, type }, index) => {
    const value = values[index]
    if (!hasColumn[index]) return []
    const json = value === null || typeof value === 'string' || typeof value === 'boolean' ? JSON.stringify(value) : String(value)
    return [`"${path}":${type === 'text' && typeof value !== 'string' && value !== null ? `"${json}"` : json}`]
  })
  return `{${parts.join(',')}}`
}

describe('rows of a table', () => {
  const write = (values: readonly Value[]): Uint8Array => {
    const writer = new RowWriter(fields, { key: 0, has: (name) => hasColumn[fields.findIndex((field) => field.name === name)]! })
    for (const [index, value] of values.entries()) writer.set(index, 0, value)
    const { bytes, recordEnds } = writer.write(1)
    return bytes.slice(0, recordEnds[0])
  }

  it('read as their JSON documents would, packed or not: every value in every field, and mixtures of them', () => {
    const prng = new Prng(11)
    const mixed = Array.from({ length: 3000 }, () => usual.map((value) => (prng.below(4) === 0 ? odd[prng.below(odd.length)]! : value)))
    const single = usual.flatMap((_, index) => odd.map((value) => usual.map((each, at) => (at === index ? value : each))))
    let packed = 0
    let faults = 0
    for (const values of [[...usual], ...single, ...mixed]) {
      const record = write(values)
      const [asWritten, asJson] = [read(record), read(Buffer.from(jsonOf(values)))]
      assert.deepEqual(asWritten, asJson, jsonOf(values))
      if (record[0] === packedRowMark) packed++
      if (asJson.fault !== '') faults++
    }
    assert.ok(packed > 400 && faults > 400, `${packed} packed, ${faults} with faults`)
  })

  it('whose values need nothing are packed', () => {
    assert.equal(write(usual)[0], packedRowMark)
    assert.deepEqual(read(write(usual)).values.slice(-3), [7, 'é', NaN])
  })

  it('keep a row before them whole when they turn out not to be packed, and grow', () => {
    const long = 'x'.repeat(200_000)
    const writer = new RowWriter(fields, { key: 0, has: (name) => !name.startsWith('absent') })
    const rows = [usual, [long, ...usual.slice(1, 4), 1e7, ...usual.slice(5)], [long, ...usual.slice(1)], usual]
    for (const [row, values] of rows.entries()) for (const [index, value] of values.entries()) writer.set(index, row, value)
    const { bytes, recordEnds, keyEnds } = writer.write(rows.length)
    const records = rows.map((_, row) => bytes.subarray(row === 0 ? 0 : keyEnds[row - 1]!, recordEnds[row]!))
    assert.deepEqual(records.map((record) => record[0] === packedRowMark), [true, false, true, true])
    assert.match(read(records[1]!).fault, /number/)
    assert.deepEqual([read(records[0]!), read(records[2]!).values[0], read(records[3]!)], [read(write(usual)), long, read(write(usual))])
  })
})
