import assert from 'node:assert/strict'
import { test } from 'node:test'

test('a float16 tensor holds its bits in the given Uint16Array, also where there is a global Float16Array (Node 24)', async () => {
  const world = globalThis as { Float16Array?: unknown }
  const before = world.Float16Array
  // The runtime looks for it with its first tensor: what was there before makes no difference.
  class Float16Array extends Uint16Array {}
  world.Float16Array = Float16Array
  try {
    const { Tensor } = await import('../../src/inference/tensor.js')
    assert.equal(world.Float16Array, Float16Array, 'the global is as it was')
    const bits = Uint16Array.of(0x3c00, 0xc000)
    assert.equal(new Tensor('float16', bits, [2]).data, bits)
  } finally {
    if (before === undefined) delete world.Float16Array
    else world.Float16Array = before
  }
})
