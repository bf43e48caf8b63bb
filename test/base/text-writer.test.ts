import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { integerBytesMax, TextWriter } from '../../src/base/text-writer.js'

describe('text writer', () => {
  it('writes whole numbers as String does, up to 2^53, and text as UTF-8, over any growth of its buffer', () => {
    const pieces = fc.array(fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.nat(20), fc.string({ unit: 'grapheme' })), { maxLength: 60 })
    fc.assert(
      fc.property(pieces, (values) => {
        const writer = new TextWriter(1)
        for (const value of [...values, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 31, 2 ** 31 - 1, -0]) {
          if (typeof value === 'string') writer.text(value)
          else {
            writer.reserve(integerBytesMax)
            writer.integer(value)
          }
        }
        const expected = `${values.map(String).join('')}9007199254740991-9007199254740991214748364821474836470`
        assert.equal(Buffer.from(writer.bytes.subarray(0, writer.used)).toString(), expected)
      }),
      { numRuns: 500 },
    )
  })
})
