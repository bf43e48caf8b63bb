import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { styledLine } from '../../../src/cli/view/styled-line.js'
import { formatRecord, headings } from '../../../src/cli/view/tail-format.js'
import { kindOf, recordAsJson, toTailRecord, type TailRecord } from '../../../src/cli/view/tail-record.js'
import type { DecodedValue } from '../../../src/codec/generic-decoder.js'
import { deadLetterHeaders } from '../../../src/consumer/dead-letter.js'
import { matchesGolden } from '../golden.js'

const eventTime = '2018-05-01T13:22:01.000Z'

function record(decoded: DecodedValue, changes: Partial<TailRecord> = {}): TailRecord {
  return { topic: 't', partition: 3, offset: 1_234, timestampMs: Date.UTC(2026, 10, 23, 20, 15, 30, 7), key: '4961', headers: [], decoded, value: Buffer.from('original'), ...changes }
}

const avro = (value: unknown): DecodedValue => ({ encoding: 'avro', schemaId: 5, value })

const alert = {
  event_id: '288201',
  entity: '4961',
  event_time: eventTime,
  score: 0.98125,
  decision: 'DECLINE',
  model: 'card-gru@1',
  reasons: ['score at or above the decline threshold'],
  attributes: { amount: 22050, terminal: '1318' },
  lineage: { task: 'card-fraud/customer/3', sequence: 1204 },
}
const explanation = {
  reference_score: 0.004,
  reasons: [
    { name: 'amount', contribution: 5.25, text: 'amount 220.50', event_time: null },
    { name: 'past-event', contribution: 0.75, text: 'the payment of 19.99, 20 min before', event_time: '2018-05-02T09:40:00.000Z' },
  ],
  rest: -0.5,
}
const scored = {
  ...alert,
  fallback: true,
  late: true,
  scores: [
    { model: 'card-gru@1', role: 'champion', score: 0.98125 },
    { model: 'card-attention@1', role: 'shadow', score: 0.5 },
    { model: 'velocity@7', role: 'shadow', score: 0.004 },
  ],
}
const lineage = {
  task: 'card-fraud/customer/3',
  sequence: 1204,
  inputs: [{ topic: 'transactions', partition: 3, from: 75_233, to: 75_240 }],
  counts: { records: 7, scored: 6, alerts: 1, dead_letters: 1, late: 1, fallbacks: 2 },
  models: [
    { role: 'champion', model: 'card-gru@1', device: 'cpu', failure: 'timeout: 500 ms' },
    { role: 'shadow', model: 'card-row@1', device: 'webgpu', failure: null },
  ],
}
const deadLetter: TailRecord = record(
  { encoding: 'binary', value: 'ff0001', schemaId: 99, problem: 'unknown schema id 99' },
  {
    value: Buffer.from('ff0001', 'hex'),
    headers: [
      { name: 'traceparent', value: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
      { name: deadLetterHeaders.exception, value: 'RECORD_UNDECODABLE' },
      { name: deadLetterHeaders.message, value: 'unknown schema id 99' },
      { name: deadLetterHeaders.stacktrace, value: '' },
      { name: deadLetterHeaders.topic, value: 'transactions' },
      { name: deadLetterHeaders.partition, value: '3' },
      { name: deadLetterHeaders.offset, value: '75239' },
    ],
  },
)

describe('harrier tail', () => {
  it('shows each kind of record as the golden text', () => {
    const records: TailRecord[] = [
      record(avro(scored)),
      record(avro(alert)),
      record(avro({ ...alert, explanation })),
      record(avro({ ...alert, late: true, reasons: [...alert.reasons, 'late event: state was not updated'], explanation })),
      record(avro(lineage)),
      deadLetter,
      { ...deadLetter, decoded: { encoding: 'json', value: { hello: 1 } }, value: Buffer.from('{"hello": 1}') },
      { ...deadLetter, decoded: { encoding: 'text', value: '\u0000\u0000B?' }, value: Buffer.from('\u0000\u0000B?') },
      { ...deadLetter, decoded: avro({ amount_minor: -5 }) },
      { ...deadLetter, decoded: { encoding: 'null', value: null }, value: null },
      record({ encoding: 'json', value: { transaction_id: '9007199254740993' } }),
      record({ encoding: 'text', value: 'plain text' }, { key: null }),
      record({ encoding: 'null', value: null }, { value: null }),
    ]
    const text = records.flatMap((each) => {
      const { kind, lines } = formatRecord(each)
      return [`== ${kind}`, ...(headings[kind] === undefined ? [] : [headings[kind]]), ...lines.map((line) => styledLine(line, Infinity, false))]
    })
    matchesGolden('tail', `${text.join('\n')}\n`)
  })

  it('lets no control character of a record reach the terminal', () => {
    const evil = '\u001b[2J\u0007\r\nx\u009b31m\u202e'
    const values = [avro({ ...scored, entity: evil, model: evil, attributes: { [evil]: evil } }), avro({ ...alert, reasons: [evil] }), avro({ ...alert, explanation: { ...explanation, reasons: [{ text: evil, contribution: 1 }] } }), avro({ ...lineage, task: evil })]
    const records = [
      ...values.map((value) => record(value)),
      record({ encoding: 'text', value: evil, problem: evil }, { key: evil }),
      { ...deadLetter, key: evil, headers: deadLetter.headers.map(({ name }) => ({ name, value: evil })), decoded: { encoding: 'text' as const, value: evil } },
    ]
    for (const each of records) {
      for (const line of formatRecord(each).lines) {
        // eslint-disable-next-line no-control-regex
        assert.doesNotMatch(styledLine(line, Infinity, false), /[\u0000-\u001f\u007f-\u009f\u202e]/)
      }
    }
  })

  it('knows a record by what it is made of, and anything else as other', () => {
    assert.deepEqual([scored, alert, lineage, { task: 'x' }, null, 7].map((value) => kindOf(record(avro(value)))), ['scored event', 'alert', 'lineage', 'other', 'other', 'other'])
    assert.equal(kindOf(deadLetter), 'dead letter')
    assert.equal(kindOf(record({ encoding: 'json', value: alert })), 'other')
  })

  it('keeps 64 bits, keys and headers in JSON', () => {
    const headers = [{ name: 'traceparent', value: 'x' }]
    const line = recordAsJson(record(avro({ id: '9223372036854775807' }), { headers }))
    assert.deepEqual(JSON.parse(line), {
      topic: 't',
      partition: 3,
      offset: 1234,
      timestamp: '2026-11-23T20:15:30.007Z',
      key: '4961',
      headers,
      encoding: 'avro',
      schemaId: 5,
      value: { id: '9223372036854775807' },
    })
    assert.ok(!line.includes('\n'))
  })

  it('gives keys and headers that are not text in hex', () => {
    const message = { topic: 't', partition: 0, offset: 0, timestamp: 0, key: Buffer.from([0xff, 0x01]), value: null, headers: [{ name: 'h', value: Buffer.from([0xfe]) }, { name: 'n', value: null }] }
    const { key, headers, value } = toTailRecord(message, { encoding: 'null', value: null })
    assert.deepEqual([key, headers, value], ['0xff01', [{ name: 'h', value: '0xfe' }, { name: 'n', value: '' }], null])
  })
})
