import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { idOfOutput, idOfTransaction } from '../../../src/cli/view/output-ids.js'
import { encodeLong, encodeString } from '../../../src/codec/avro-writer.js'
import { schemaPrefix } from '../../../src/codec/registry-prefix.js'

const output = (id: string): Uint8Array => Buffer.concat([schemaPrefix(7), encodeString(id), Buffer.from([1, 2, 3])])
const transaction = (id: number): Uint8Array => Buffer.concat([schemaPrefix(7), encodeLong(id), Buffer.from([1, 2, 3])])
const ids = [0, 1, 63, 64, 8191, 8192, 1_754_154, 2 ** 31, 2 ** 40 + 1]

describe('numbers at the head of values', () => {
  it('are read from outputs', () => {
    for (const id of ids) assert.equal(idOfOutput(output(String(id))), id)
  })

  it('are read from transactions', () => {
    for (const id of ids) assert.equal(idOfTransaction(transaction(id)), id)
  })

  it('are -1 where there is none', () => {
    for (const id of ['', 'x', '12x', '-5', '12345678901234567']) assert.equal(idOfOutput(output(id)), -1, id)
    for (const value of [null, new Uint8Array(0), new Uint8Array(5), Buffer.from('{"a": 1}'), output('123').subarray(0, 7)]) assert.equal(idOfOutput(value), -1)
    for (const value of [null, new Uint8Array(0), new Uint8Array(5), Buffer.from('{"a": 1}'), transaction(-5), transaction(2 ** 40).subarray(0, 8)]) {
      assert.equal(idOfTransaction(value), -1)
    }
  })
})
