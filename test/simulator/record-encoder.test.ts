import assert from 'node:assert/strict'
import { test } from 'node:test'
import avsc from 'avsc'
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
  for (let row = 0; row < chunk.count; row++) {
    for (const [i, encode] of [encoder.transaction.bind(encoder), encoder.label.bind(encoder)].entries()) {
      const { key, value } = encode(chunk, row)
      const bytes = Buffer.from(value)
      assert.equal(Buffer.from(key).toString(), String(chunk.customer[row]))
      assert.equal(bytes[0], 0)
      assert.equal(bytes.readInt32BE(1), i === 0 ? 7 : 70_000)
      assert.deepEqual({ ...(types[i]!.fromBuffer(bytes.subarray(5)) as object) }, i === 0 ? expectedTransaction(row) : expectedLabel(row))
    }
  }
})

test('JSON holds the same fields', () => {
  const encoder = new JsonRecordEncoder({ epochMs, labelDelayMs })
  for (let row = 0; row < chunk.count; row++) {
    assert.deepEqual(JSON.parse(Buffer.from(encoder.transaction(chunk, row).value).toString()), expectedTransaction(row))
    assert.deepEqual(JSON.parse(Buffer.from(encoder.label(chunk, row).value).toString()), expectedLabel(row))
    assert.equal(Buffer.from(encoder.label(chunk, row).key).toString(), String(chunk.customer[row]))
  }
})
