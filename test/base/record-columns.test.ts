import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Arena } from '../../src/base/arena.js'
import { RecordColumns } from '../../src/base/record-columns.js'

const bytes = fc.option(fc.uint8Array({ maxLength: 40 }), { nil: null })
const record = fc.record({
  key: bytes,
  value: bytes,
  headers: fc.array(fc.tuple(fc.string({ maxLength: 12 }), bytes), { maxLength: 4 }),
  partition: fc.integer({ min: 0, max: 1000 }),
  offset: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
})

describe('record columns', () => {
  it('give back what was appended, headers and nulls included, whatever the arena had to grow', () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 30 }), (records) => {
        const columns = new RecordColumns(records.length, new Arena(8))
        const copies = new RecordColumns(records.length, new Arena(8))
        for (const { key, value, headers, partition, offset } of records) {
          const row = columns.append(3, partition, offset, 17, key, value)
          for (const [name, header] of headers) columns.appendHeader(name, header)
          copies.copyRow(columns, row)
        }
        for (const each of [columns, copies]) {
          records.forEach(({ key, value, headers, partition, offset }, row) => {
            assert.deepEqual(each.key(row) && [...each.key(row)!], key && [...key])
            assert.deepEqual(each.value(row) && [...each.value(row)!], value && [...value])
            assert.deepEqual(each.headers(row), headers.map(([name, header]) => ({ name: Buffer.from(name).toString(), value: header && Buffer.from(header) })))
            for (const [name] of headers) {
              const [, first] = headers.find(([other]) => other === name)!
              const found = each.header(row, Buffer.from(name))
              assert.deepEqual(found && [...found], first && [...first], 'the first header of a name')
            }
            assert.equal(each.header(row, Buffer.from('a name that no header has')), undefined)
            assert.deepEqual([each.topic[row], each.partition[row], each.offset[row], each.timestamp[row]], [3, partition, offset, 17])
          })
        }
      }),
    )
  })

  it('an over-filled batch is a bug, not a silent loss', () => {
    const columns = new RecordColumns(1)
    columns.append(0, 0, 0, 0, null, null)
    assert.throws(() => columns.append(0, 0, 1, 0, null, null), /not over-filled/)
  })

  it('an arena stays within its limit', () => {
    const arena = new Arena(16, 64)
    arena.append(new Uint8Array(60))
    assert.throws(() => arena.append(new Uint8Array(5)), /within 64 bytes/)
    arena.reset()
    assert.equal(arena.append(new Uint8Array(64)), 0)
  })
})
