import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RecordColumns } from '../../src/base/record-columns.js'
import { appendMessage } from '../../src/consumer/message-columns.js'
import { Arena } from '../../src/base/arena.js'

const message = (key: Buffer | null, value: Buffer | null) => ({ topic: 'in', partition: 3, offset: 2 ** 40, timestamp: 1_700_000_000_123, key, value })

describe('records of node-rdkafka as columns', () => {
  it('keeps null and empty apart', () => {
    const columns = new RecordColumns(4)
    appendMessage(columns, 2, message(null, null))
    appendMessage(columns, 2, message(Buffer.alloc(0), Buffer.alloc(0)))
    appendMessage(columns, 2, message(Buffer.from('k'), null))
    appendMessage(columns, 2, message(null, Buffer.from('v')))
    assert.deepEqual([...columns.keyBytes], [-1, 0, 1, -1])
    assert.deepEqual([...columns.valueBytes], [-1, 0, -1, 1])
    assert.equal(columns.offset[0], 2 ** 40)
    assert.equal(columns.timestamp[0], 1_700_000_000_123)
    assert.deepEqual([columns.topic[0], columns.partition[0]], [2, 3])
  })

  it('grows the arena under a large record and keeps the rows before it', () => {
    const columns = new RecordColumns(3, new Arena(16))
    appendMessage(columns, 0, message(Buffer.from('first'), Buffer.from('row')))
    appendMessage(columns, 0, message(Buffer.from('second'), Buffer.alloc(100_000, 9)))
    assert.equal(Buffer.from(columns.key(0)!).toString(), 'first')
    assert.equal(Buffer.from(columns.value(0)!).toString(), 'row')
    assert.deepEqual(Buffer.from(columns.value(1)!), Buffer.alloc(100_000, 9))
  })

  it('packs headers in their order, doubles included', () => {
    const columns = new RecordColumns(1)
    appendMessage(columns, 0, { ...message(Buffer.from('k'), null), headers: [{ a: Buffer.from('1') }, { b: Buffer.from([255]) }, { a: Buffer.alloc(0) }] })
    assert.deepEqual(columns.headers(0), [
      { name: 'a', value: Buffer.from('1') },
      { name: 'b', value: Buffer.from([255]) },
      { name: 'a', value: Buffer.alloc(0) },
    ])
    assert.equal(Buffer.from(columns.key(0)!).toString(), 'k')
  })
})
