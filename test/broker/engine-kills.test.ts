import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { Prng } from '../../src/base/prng.js'
import { CardFeeder, EngineProcess, smallBatchTopology } from './engine-fixture.js'
import { assertSameList, verifyEngineRun, type EngineRun } from './engine-verify.js'
import { readCommitted } from './kafka-verifier.js'
import { startTestStack, type TestStack } from './test-stack.js'

const seed = Number(process.env.SEED ?? 20)
/** Of one instance that is started again, and of two instances that take partitions from each other. */
const killsOfOne = 14
const killsOfTwo = 6
const killsOfEarly = 4

describe(`SIGKILL at seeded moments (SEED=${seed})`, () => {
  let stack: TestStack
  const topology = smallBatchTopology()
  before(async () => {
    stack = await startTestStack()
  })
  after(() => stack.stop())

  const start = (namespace: string, instanceId: string): EngineProcess => new EngineProcess({ stack, namespace, instanceId, topology })
  const drained = (engine: EngineProcess, feeder: CardFeeder): Promise<void> => engine.until('all committed', () => engine.position === feeder.total, 90_000)

  /** The same input without a kill: what every score must equal. */
  async function uninterrupted(namespace: string, feeder: CardFeeder): Promise<EngineRun> {
    const engine = start(namespace, 'calm')
    await drained(engine, feeder)
    assert.equal(await engine.interrupt(), 0)
    return await verifyEngineRun(stack.brokers, namespace, feeder.sent)
  }

  function assertSameScores(run: EngineRun, calm: EngineRun): void {
    assertSameList([...run.contents].map(([, content]) => content), [...calm.contents].map(([, content]) => content), 'scores after kills')
  }

  it(`one instance, killed ${killsOfOne} times: no gap, no duplicate, and the scores of an uninterrupted run`, async (t) => {
    const prng = new Prng(seed)
    const feeder = new CardFeeder(stack, ['one', 'one-calm'], seed)
    await feeder.start()
    feeder.feed(200)
    let killedBusy = 0
    for (let kill = 0; kill < killsOfOne; kill++) {
      const engine = start('one', 'a')
      // Mostly in the middle of transactions, now and then in a restore.
      const tasks = prng.below(4) === 0 ? prng.below(3) : 3
      await engine.until(`${tasks} tasks ready`, () => engine.ready >= tasks)
      await systemClock.sleep(prng.below(700))
      if (engine.ready >= 3) killedBusy++
      assert.equal(await engine.kill(), 'SIGKILL')
    }
    await feeder.close()
    const engine = start('one', 'a')
    await drained(engine, feeder)
    assert.equal(await engine.interrupt(), 0)
    const run = await verifyEngineRun(stack.brokers, 'one', feeder.sent)
    assertSameScores(run, await uninterrupted('one-calm', feeder))
    t.diagnostic(`${feeder.total} events, ${killedBusy} of ${killsOfOne} kills in full run`)
  })

  it(`two instances, killed ${killsOfTwo} times in turn, with rebalances: no gap, no duplicate, the same scores`, async (t) => {
    const prng = new Prng(seed + 1)
    const feeder = new CardFeeder(stack, ['two', 'two-calm'], seed + 1)
    await feeder.start()
    feeder.feed(150)
    const engines = [start('two', 'a'), start('two', 'b')]
    // Both own a partition: from one that owns nothing, nothing can be taken over.
    await engines[0]!.until('a task ready in both', () => engines.every((engine) => engine.ready > 0), 60_000)
    for (let kill = 0; kill < killsOfTwo; kill++) {
      const victim = prng.below(2)
      const other = engines[1 - victim]!
      const readyBefore = other.ready
      await engines[victim]!.kill()
      // Every third stays away until its session ends, so that the other takes its partitions over.
      if (kill % 3 === 0) await other.until('partitions taken over', () => other.ready > readyBefore, 30_000)
      engines[victim] = start('two', victim === 0 ? 'a' : 'b')
      await engines[victim].until('a task ready', () => engines[victim]!.ready > 0, 30_000)
      await systemClock.sleep(prng.below(900))
    }
    await feeder.close()
    const [first, second] = engines as [EngineProcess, EngineProcess]
    await first.until('both at the end', () => first.position + second.position === feeder.total && quietFor(first, second), 90_000)
    assert.deepEqual([await first.interrupt(), await second.interrupt()], [0, 0])
    const run = await verifyEngineRun(stack.brokers, 'two', feeder.sent)
    assertSameScores(run, await uninterrupted('two-calm', feeder))
    t.diagnostic(`${feeder.total} events`)
  })

  it(`outputs before their transaction, killed ${killsOfEarly} times: no gap, copies of the same bits, a lineage without gap or duplicate`, async (t) => {
    const prng = new Prng(seed + 2)
    const early = smallBatchTopology((text) => text.replace('name: card-fraud\n', 'name: card-fraud\ndelivery: atLeastOnce\n'))
    const startEarly = (): EngineProcess => new EngineProcess({ stack, namespace: 'early', instanceId: 'a', topology: early })
    const feeder = new CardFeeder(stack, ['early', 'early-calm'], seed + 2)
    await feeder.start()
    feeder.feed(200)
    for (let kill = 0; kill < killsOfEarly; kill++) {
      const engine = startEarly()
      await engine.until('three tasks ready', () => engine.ready >= 3)
      await systemClock.sleep(prng.below(700))
      await engine.kill()
    }
    await feeder.close()
    const engine = startEarly()
    await drained(engine, feeder)
    assert.equal(await engine.interrupt(), 0)
    const run = await verifyEngineRun(stack.brokers, 'early', feeder.sent, undefined, undefined, true)
    assertSameScores(run, await uninterrupted('early-calm', feeder))
    const scored = (await readCommitted(stack.brokers, 'early.card-fraud.scored')).reduce((sum, records) => sum + records.length, 0)
    t.diagnostic(`${feeder.total} events, ${scored - feeder.total} copies`)
  })
})

let quietSinceMs = -1
let lastSeen = ''
/** True when no position has moved for two seconds. */
function quietFor(...engines: EngineProcess[]): boolean {
  const seen = engines.map(({ position }) => position).join()
  const nowMs = systemClock.monotonicMs()
  if (seen !== lastSeen) {
    lastSeen = seen
    quietSinceMs = nowMs
  }
  return nowMs - quietSinceMs > 2000
}
