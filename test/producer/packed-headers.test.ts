import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { RecordColumns } from '../../src/base/record-columns.js'
import { toTextHeaders, unescapeHeader } from '../../src/producer/packed-headers.js'

describe('headers for node-rdkafka', () => {
  it('are undefined when there are none', () => {
    const columns = new RecordColumns(1)
    columns.append(0, 0, 0, 0, null, null)
    assert.equal(toTextHeaders(columns, 0), undefined)
  })

  it('pass text as it is', () => {
    const columns = new RecordColumns(1)
    columns.append(0, 0, 0, 0, null, null)
    columns.appendHeader('ce_subject', 'Zoë')
    columns.appendHeader('empty', '')
    assert.deepEqual(toTextHeaders(columns, 0), [{ ce_subject: 'Zoë' }, { empty: '' }])
  })

  it('come back bit for bit, whatever bytes they hold', () => {
    const header = fc.record({
      name: fc.string({ minLength: 1, maxLength: 20 }).filter((name) => name !== '__proto__' && Buffer.from(name).toString() === name && !name.startsWith('__harrier')),
      value: fc.option(fc.uint8Array({ maxLength: 50 })),
    })
    fc.assert(
      fc.property(fc.array(header, { minLength: 1, maxLength: 8 }), (headers) => {
        const columns = new RecordColumns(1)
        columns.append(0, 0, 0, 0, Buffer.from('key'), null)
        for (const { name, value } of headers) columns.appendHeader(name, value)
        const back = toTextHeaders(columns, 0)!.map((one) => {
          const [name, text] = Object.entries(one)[0]!
          return unescapeHeader(name, Buffer.from(text))
        })
        assert.deepEqual(back, headers.map(({ name, value }) => ({ name, value: value === null ? null : Buffer.from(value) })))
      }),
    )
  })
})
