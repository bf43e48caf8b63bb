import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'
import { Prng } from '../../src/base/prng.js'
import { murmur2, partitionOf } from '../../src/producer/murmur2.js'

const kafkajs = createRequire(import.meta.url)('kafkajs/src/producer/partitioners/default/murmur2.js') as (key: Buffer) => number

describe('murmur2', () => {
  it('gives the hash that another implementation gives, for keys of every length', () => {
    const prng = new Prng(5)
    for (let length = 0; length < 64; length++) {
      const bytes = Uint8Array.from({ length: length + 3 }, () => prng.below(256))
      assert.equal(murmur2(bytes, 3, length) | 0, kafkajs(Buffer.from(bytes.subarray(3))) | 0, `${length} bytes`)
    }
  })

  it('gives partitions within their number', () => {
    for (let key = 0; key < 500; key++) {
      const bytes = Buffer.from(`t${key}`)
      const partition = partitionOf(bytes, 0, bytes.length, 7)
      assert.ok(partition >= 0 && partition < 7)
    }
  })
})
