import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RecordColumns } from '../../src/base/record-columns.js'
import { offsetsAfter } from '../../src/producer/raw-copy.js'

describe('offsets after a batch', () => {
  it('are the next to read of each partition in it, whatever the order of the runs', () => {
    const columns = new RecordColumns(10)
    for (const [topic, partition, offset] of [[0, 0, 5], [0, 1, 9], [0, 0, 6], [1, 0, 100], [0, 1, 12], [0, 0, 7]] as const) columns.append(topic, partition, offset, 0, null, null)
    const offsets = offsetsAfter(columns, ['a', 'b']).map(({ topic, partition, offset }) => `${topic}/${partition}=${offset}`)
    assert.deepEqual(offsets.sort(), ['a/0=8', 'a/1=13', 'b/0=101'])
  })

  it('of an empty batch are none', () => {
    assert.deepEqual(offsetsAfter(new RecordColumns(1), ['a']), [])
  })
})
