import assert from 'node:assert/strict'
import test from 'node:test'
import { parseAvroSchema } from '../../src/codec/avro-schema.js'
import { avroContract, explainRefusal } from '../../src/codec/contract-tree.js'

const contract = avroContract(
  parseAvroSchema({
    type: 'record', name: 'Payment',
    fields: [{ name: 'Txs', type: { type: 'array', items: { type: 'record', name: 'Tx', fields: [{ name: 'Iban', type: 'string' }, { name: 'Amt', type: 'double' }] } } }],
  }),
)
const said = (path: string): string => explainRefusal(contract, { name: 'x', path, type: 'text' }, 'why')

test('a path that forgot the array is given [only], with which a second item is not passed over; who wrote an index keeps [0]', () => {
  assert.match(said('Txs.Iban'), /Txs is array, so that Txs\.Iban does not exist; write path: Txs\[only\]\.Iban \(string\)$/)
  assert.match(said('Txs[only].iban'), /write path: Txs\[only\]\.Iban/)
  assert.match(said('Txs[1].Ibn'), /write path: Txs\[0\]\.Iban/)
  assert.match(said('Txs'), /Txs is array; write a path to one of its items: Txs\[only\] or Txs\[0\]/)
})
