import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Vocabulary } from '../../src/features/vocabulary.js'

const ofText = (vocabulary: Vocabulary, text: string): number => {
  // amid other bytes, as a text lies in the arena of a batch
  const bytes = Buffer.from(`<${text}>`)
  return vocabulary.ofText(bytes, 1, bytes.length - 2)
}

test('a text has the place of its value from 1 on, anything else and null have 0', () => {
  const vocabulary = new Vocabulary(['POS', 'ECOM', '', 'ÄÖ', 5411])
  assert.deepEqual(['POS', 'ECOM', '', 'ÄÖ', '5411'].map((text) => ofText(vocabulary, text)), [1, 2, 3, 4, 5])
  assert.deepEqual(['pos', 'PO', 'POSX', 'ÄO', '541'].map((text) => ofText(vocabulary, text)), [0, 0, 0, 0, 0])
  assert.equal(vocabulary.ofText(Buffer.from('POS'), 0, -1), 0)
})

test('a number has the place of its value, and the NaN of a null has 0', () => {
  const vocabulary = new Vocabulary([5411, -1, 0])
  assert.deepEqual([5411, -1, 0, 5412, 5411.5, NaN].map((value) => vocabulary.ofNumber(value)), [1, 2, 3, 0, 0, 0])
})

test('texts are found as an array finds them, for any vocabulary', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ maxLength: 4 }), { minLength: 1, maxLength: 80 }), fc.array(fc.string({ maxLength: 4 })), (values, others) => {
      const vocabulary = new Vocabulary(values)
      for (const text of [...values, ...others]) assert.equal(ofText(vocabulary, text), values.indexOf(text) + 1)
    }),
  )
})
