import assert from 'node:assert/strict'
import { test } from 'node:test'
import avsc from 'avsc'
import { Arena } from '../../src/base/arena.js'
import { partitionByKey, RecordColumns } from '../../src/base/record-columns.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import { AvroRecordEncoder, JsonRecordEncoder } from '../../src/simulator/record-encoder.js'
import type { TransactionChunk } from '../../src/simulator/transaction-source.js'

const epochMs = Date.UTC(2018, 3, 1)
const labelDelayMs = 7 * 86_400_000
const chunk: TransactionChunk = {
  count: 4,
  firstId: 182_000_000_000 - 1,
  seconds: Int32Array.of(0, 31, 15_811_197, 1_728_000_000),
  customer: Int32Array.of(0, 9, 10, 9_999_999),
  terminal: Int32Array.of(0, 100, 999, 1_000_000),
  amountCents: Int32Array.of(0, 1, 5716, 2_147_483_647),
  isFraud: Uint8Array.of(0, 1, 1, 1),
  scenario: Uint8Array.of(0, 1, 2, 3),
}

const expectedTransaction = (row: number): object => ({
  transaction_id: chunk.firstId + row,
  event_time: epochMs + chunk.seconds[row]! * 1000,
  customer_id: String(chunk.customer[row]),
  terminal_id: String(chunk.terminal[row]),
  amount_minor: chunk.amountCents[row],
  currency: 'EUR',
})

const expectedLabel = (row: number): object => ({
  transaction_id: chunk.firstId + row,
  customer_id: String(chunk.customer[row]),
  terminal_id: String(chunk.terminal[row]),
  event_time: epochMs + chunk.seconds[row]! * 1000,
  known_at: epochMs + chunk.seconds[row]! * 1000 + labelDelayMs,
  is_fraud: chunk.isFraud[row] === 1,
  scenario: chunk.scenario[row],
})

test('avsc reads back what is encoded by hand, behind the prefix of its schema', () => {
  const encoder = new AvroRecordEncoder({ epochMs, labelDelayMs }, { transaction: 7, label: 70_000 })
  const types = (['transaction', 'label'] as const).map((name) => avsc.Type.forSchema(loadOwnSchema(name) as avsc.Schema))
  // An arena that must grow on the way.
  const columns = new RecordColumns(2 * chunk.count, new Arena(16))
  for (let row = 0; row < chunk.count; row++) {
    for (const [i, encode] of [encoder.transaction.bind(encoder), encoder.label.bind(encoder)].entries()) {
      const at = columns.count
      encode(chunk, row, columns, i, 1000 + row)
      const bytes = Buffer.from(columns.value(at)!)
      assert.deepEqual([columns.topic[at], columns.partition[at], columns.timestamp[at]], [i, partitionByKey, 1000 + row])
      assert.equal(Buffer.from(columns.key(at)!).toString(), String(chunk.customer[row]))
      assert.equal(bytes[0], 0)
      assert.equal(bytes.readInt32BE(1), i === 0 ? 7 : 70_000)
      assert.deepEqual({ ...(types[i]!.fromBuffer(bytes.subarray(5)) as object) }, i === 0 ? expectedTransaction(row) : expectedLabel(row))
    }
  }
})

test('JSON holds the same fields', () => {
  const encoder = new JsonRecordEncoder({ epochMs, labelDelayMs })
  const columns = new RecordColumns(2 * chunk.count)
  for (let row = 0; row < chunk.count; row++) {
    encoder.transaction(chunk, row, columns, 0, 1000)
    encoder.label(chunk, row, columns, 1, 1000)
    for (const [at, expected] of [[2 * row, expectedTransaction(row)], [2 * row + 1, expectedLabel(row)]] as const) {
      assert.deepEqual(JSON.parse(Buffer.from(columns.value(at)!).toString()), expected)
      assert.equal(Buffer.from(columns.key(at)!).toString(), String(chunk.customer[row]))
    }
  }
})
