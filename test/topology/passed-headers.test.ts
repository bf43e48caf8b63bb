import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecordColumns } from '../../src/base/record-columns.js'
import { passedHeaderBytesMax, passHeaders } from '../../src/topology/passed-headers.js'

function passed(headers: readonly [string, string | Uint8Array | null][]): [string, string | null][] {
  const records = new RecordColumns(1)
  records.append(0, 0, 0, 0, null, null)
  for (const [name, value] of headers) records.appendHeader(name, value)
  const outputs = new RecordColumns(1)
  outputs.append(0, 0, 0, 0, null, null)
  passHeaders(outputs, records, 0)
  return outputs.headers(0).map(({ name, value }) => [name, value && value.toString('latin1')])
}

const context: [string, string][] = [
  ['ce_specversion', '1.0'],
  ['ce_id', '7f3a'],
  ['ce_source', '/payments'],
  ['ce_type', 'bank.payment.accepted'],
  ['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
  ['tracestate', 'a=b'],
]

test('CloudEvents, tracing and other headers pass unchanged, in order, with nulls, bytes and repetitions', () => {
  const headers: [string, string | Uint8Array | null][] = [...context, ['x', null], ['bytes', Uint8Array.from([0xff, 0])], ['x', ''], ['ce_id_of_the_order', '1'], ['a_name', '']]
  assert.deepEqual(passed(headers), headers.map(([name, value]) => [name, typeof value === 'string' || value === null ? value : '\xff\0']))
  assert.deepEqual(passed([]), [])
})

test('headers that speak of the input\'s value, or of an earlier failure, stay behind', () => {
  const foreign: [string, string][] = [['Content-Type', 'application/json'], ['ce_dataschema', '/s/1'], ['ce_datacontenttype', 'application/json'], ['__streams.errors.message', 'was bad']]
  assert.deepEqual(passed([...foreign, ...context]), context)
})

test('past the limit tracing and CloudEvents go before the others, and what does not fit is left out', () => {
  const big: [string, string] = ['big', 'x'.repeat(passedHeaderBytesMax - 20)]
  assert.deepEqual(passed([big, ['small', 'y'], ...context]), [['small', 'y'], ...context])
  assert.deepEqual(passed([['ce_huge', 'x'.repeat(passedHeaderBytesMax)], ...context]), context)
})
