import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { CardFeeder, EngineProcess, smallBatchTopology } from './engine-fixture.js'
import { assertSameList, verifyEngineRun } from './engine-verify.js'
import { startTestStack, type TestStack } from './test-stack.js'

interface Ready {
  readonly message: string
  readonly entities: number
  readonly warmEntities: number
}

describe('standby on a real broker', () => {
  let stack: TestStack
  before(async () => {
    stack = await startTestStack()
  })
  after(() => stack.stop())

  it('takes over from the warm copy, and one that comes back warms up before it joins: no gap, no duplicate, the same scores', async (t) => {
    const topology = smallBatchTopology(undefined, ', standby: 1')
    const start = (namespace: string, instanceId: string): EngineProcess => new EngineProcess({ stack, namespace, instanceId, topology })
    const ready = (engine: EngineProcess): Ready[] => engine.log.filter((line) => line.includes('"task ready"')).map((line) => JSON.parse(line) as Ready)
    const feeder = new CardFeeder(stack, ['warm', 'warm-calm'], 5)
    await feeder.start()
    await feeder.send(1200)
    feeder.feed(100)
    const first = start('warm', 'a')
    await first.until('tasks ready', () => first.ready >= 3)
    const second = start('warm', 'b')
    await second.until('a task ready', () => second.ready > 0)
    assert.ok(second.log.some((line) => line.includes('standby copies are warm')), 'it warmed up before it joined')
    assert.ok(ready(second).every(({ warmEntities }) => warmEntities > 0), 'and what it was given was warm')
    const copied = (): { partitions: number; entities: number } => second.stats?.standby ?? { partitions: 0, entities: 0 }
    // A partition has 30 cards.
    await second.until('copies of the other', () => copied().partitions >= 1 && copied().entities >= 28 * copied().partitions)
    const readyBefore = ready(second).length
    await first.kill()
    await second.until('partitions taken over', () => ready(second).length > readyBefore, 30_000)
    for (const { entities, warmEntities } of ready(second).slice(readyBefore)) assert.ok(warmEntities >= 0.9 * entities, `${warmEntities} of ${entities} entities were warm`)
    const third = start('warm', 'a')
    await third.until('a task ready', () => third.ready > 0)
    await feeder.close()
    await third.until('all committed', () => third.position + second.position === feeder.total, 90_000)
    assert.equal(await third.interrupt(), 0)
    assert.equal(await second.interrupt(), 0)
    const run = await verifyEngineRun(stack.brokers, 'warm', feeder.sent)
    const calm = start('warm-calm', 'calm')
    await calm.until('all committed', () => calm.position === feeder.total, 90_000)
    assert.equal(await calm.interrupt(), 0)
    const expected = await verifyEngineRun(stack.brokers, 'warm-calm', feeder.sent)
    assertSameList([...run.contents.values()], [...expected.contents.values()], 'scores')
    t.diagnostic(`${feeder.total} events`)
  })
})
