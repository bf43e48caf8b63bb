import assert from 'node:assert/strict'
import { it } from 'node:test'
import { HeldSink } from '../../../src/cli/view/held-sink.js'
import type { SimulatorSink } from '../../../src/simulator/live-simulator.js'
import type { TransactionChunk } from '../../../src/simulator/transaction-source.js'

it('holds transactions from a number on until it is released, and never labels', () => {
  const taken: number[] = []
  const inner: SimulatorSink = {
    acked: 0,
    sendTransaction: (chunk, row) => taken.push(chunk.firstId + row) > 0,
    sendLabel: () => true,
    poll: () => undefined,
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }
  const sink = new HeldSink(inner, 12)
  const chunk = { firstId: 10 } as TransactionChunk
  assert.deepEqual([0, 1].map((row) => sink.sendTransaction(chunk, row)), [true, true])
  assert.equal(sink.holding, false)
  assert.equal(sink.sendTransaction(chunk, 2), false)
  assert.equal(sink.holding, true)
  assert.equal(sink.sendLabel(chunk, 0), true)
  sink.release()
  assert.equal(sink.holding, false)
  assert.deepEqual([2, 3].map((row) => sink.sendTransaction(chunk, row)), [true, true])
  assert.deepEqual(taken, [10, 11, 12, 13])
})
