import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RecordColumns } from '../../src/base/record-columns.js'
import { appendDeadLetter, deadLetterMessageCharsMax, deadLetterStackCharsMax } from '../../src/consumer/dead-letter.js'

describe('dead letters', () => {
  it('keep the original bytes, key and headers, and add the cause in the names of Kafka Streams', () => {
    const input = new RecordColumns(2)
    input.append(0, 5, 41, 1000, Buffer.from('other'), Buffer.from('other'))
    input.append(0, 6, 42, 2000, Buffer.from('key'), Buffer.from([0, 1, 255]))
    input.appendHeader('traceparent', '00-1-2-01')
    input.appendHeader('raw', Buffer.from([200, 201]))
    const out = new RecordColumns(1)
    const row = appendDeadLetter(out, { topicIndex: 3 }, { columns: input, row: 1, topic: 'transactions' }, { exception: 'RECORD_UNDECODABLE', message: 'bad magic byte', stacktrace: 'at x' })
    assert.deepEqual([out.topic[row], out.partition[row], out.timestamp[row]], [3, 6, 2000])
    assert.equal(Buffer.from(out.key(row)!).toString(), 'key')
    assert.deepEqual(Buffer.from(out.value(row)!), Buffer.from([0, 1, 255]))
    assert.deepEqual(
      out.headers(row).map(({ name, value }) => [name, value!.toString('latin1')]),
      [
        ['traceparent', '00-1-2-01'],
        ['raw', '\xc8\xc9'],
        ['__streams.errors.exception', 'RECORD_UNDECODABLE'],
        ['__streams.errors.message', 'bad magic byte'],
        ['__streams.errors.stacktrace', 'at x'],
        ['__streams.errors.topic', 'transactions'],
        ['__streams.errors.partition', '6'],
        ['__streams.errors.offset', '42'],
      ],
    )
  })

  it('keep null keys and values, may go to another partition, and bound what they tell', () => {
    const input = new RecordColumns(1)
    input.append(0, 0, 7, 1, null, null)
    const out = new RecordColumns(1)
    appendDeadLetter(out, { topicIndex: 0, partition: 9 }, { columns: input, row: 0, topic: 't' }, { exception: 'E', message: 'm'.repeat(5000), stacktrace: 's'.repeat(50_000) })
    assert.deepEqual([out.key(0), out.value(0), out.partition[0]], [null, null, 9])
    const headers = out.headers(0)
    assert.equal(headers[1]!.value!.length, deadLetterMessageCharsMax)
    assert.equal(headers[2]!.value!.length, deadLetterStackCharsMax)
  })
})
