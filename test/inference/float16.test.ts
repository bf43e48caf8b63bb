import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Prng } from '../../src/base/prng.js'
import { fromFloat16, toFloat16 } from '../../src/inference/float16.js'

test('every float16 comes back from its value', () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    const value = fromFloat16(bits)
    if (Number.isNaN(value)) assert.ok(Number.isNaN(fromFloat16(toFloat16(value))))
    else assert.equal(toFloat16(value), bits, `bits ${bits.toString(16)}, value ${value}`)
  }
})

test('a float32 becomes the nearest float16, ties to even, and infinity from 65520 on', () => {
  const prng = new Prng(4)
  for (let i = 0; i < 20_000; i++) {
    const value = Math.fround(prng.normal() * 10 ** (prng.below(14) - 9))
    const bits = toFloat16(value)
    const here = Math.abs(fromFloat16(bits) - value)
    for (const other of [bits - 1, bits + 1]) {
      const there = Math.abs(fromFloat16(other & 0xffff) - value)
      if ((bits & 0x7c00) === 0x7c00 || (other & 0x7c00) === 0x7c00 || (other ^ bits) > 0x7fff) continue
      assert.ok(here < there || (here === there && bits % 2 === 0), `${value}: ${fromFloat16(bits)} is farther than ${fromFloat16(other)}`)
    }
  }
  assert.deepEqual([65519.99, 65520, -1e9, 2 ** -25, 2 ** -24, -0].map(toFloat16), [0x7bff, 0x7c00, 0xfc00, 0, 1, 0x8000])
})
