import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import type { Batch } from '../../src/topology/batch.js'
import { FoldedBatches } from '../../src/topology/folded-batches.js'

const settle = (): Promise<void> => systemClock.sleep(5)
const batches = Array.from({ length: 4 }, (_, epoch) => ({ epoch }) as Batch)
const [first, second, third, fourth] = batches as [Batch, Batch, Batch, Batch]

/** Scores that come when they are told to. */
function promised(): { promise: Promise<void>; come: () => void } {
  let come: () => void = () => undefined
  const promise = new Promise<void>((resolve) => (come = resolve))
  return { promise, come }
}

describe('batches between fold and commit', () => {
  it('are encoded in the order in which they were folded, whichever is scored first, and go one by one into transactions', async () => {
    const encoded: number[] = []
    const folded = new FoldedBatches({ encode: ({ epoch }) => void encoded.push(epoch) })
    const scores = [promised(), promised()]
    folded.push(first, scores[0]!.promise)
    folded.push(second, scores[1]!.promise)
    scores[1]!.come()
    await settle()
    assert.deepEqual(encoded, [])
    scores[0]!.come()
    assert.deepEqual(await folded.next(), [first])
    await settle()
    assert.deepEqual(encoded, [0, 1])
    assert.deepEqual(await folded.next(), [first])
    folded.shift()
    assert.deepEqual(await folded.next(), [second])
  })

  it('that are published share a transaction with those before them', async () => {
    const folded = new FoldedBatches({ encode: () => undefined, publish: () => Promise.resolve() })
    for (const batch of [first, second, third]) folded.push(batch, Promise.resolve())
    folded.push(fourth, promised().promise)
    await settle()
    assert.deepEqual(await folded.next(), [first, second, third])
    assert.equal(folded.length, 4)
  })

  it('are not published behind one that failed, until all have been taken back', async () => {
    const published: number[] = []
    const folded = new FoldedBatches({
      encode: () => undefined,
      publish: ({ epoch }) => {
        published.push(epoch)
        return epoch === 1 ? Promise.reject(new HarrierError('TRANSACTION_ABORTED', 'no answer')) : Promise.resolve()
      },
    })
    for (const batch of [first, second, third]) folded.push(batch, Promise.resolve())
    assert.deepEqual(await folded.next(), [first])
    folded.shift()
    await assert.rejects(folded.next(), { code: 'TRANSACTION_ABORTED' })
    await folded.halt()
    assert.deepEqual([folded.pop(), folded.pop(), folded.pop()], [third, second, undefined])
    folded.push(third, Promise.resolve())
    assert.deepEqual(await folded.next(), [third])
    assert.deepEqual(published, [0, 1, 2])
  })

  it('that wait for scores when all are taken back are not published', async () => {
    const published: number[] = []
    const folded = new FoldedBatches({ encode: () => undefined, publish: async ({ epoch }) => void published.push(epoch) })
    const late = promised()
    folded.push(first, Promise.resolve())
    folded.push(second, late.promise)
    await folded.next()
    const halted = folded.halt()
    late.come()
    await halted
    while (folded.pop());
    assert.deepEqual(published, [0])
  })
})
