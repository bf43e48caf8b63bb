import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { LineageRecord } from '../../src/codec/lineage-codec.js'
import { CardFeeder, EngineProcess, smallBatchTopology } from './engine-fixture.js'
import { assertSameList, decodeOwn } from './engine-verify.js'
import { runHarrier } from './harrier-process.js'
import { readCommitted } from './kafka-verifier.js'
import { startTestStack, type TestStack } from './test-stack.js'

interface Scored {
  readonly event_id: string
  readonly score: number
  readonly lineage: { readonly task: string }
}

/** Another window, hence another layout and other scores. */
const changedWindow = (text: string): string => text.replaceAll('window: 7d', 'window: 6h')
const raised = (text: string): string => changedWindow(text).replace('    ttl:', '    generation: 2\n    ttl:')

describe('a new state generation on a real broker', () => {
  let stack: TestStack
  before(async () => {
    stack = await startTestStack()
  })
  after(() => stack.stop())

  const start = (namespace: string, topology: string): EngineProcess => new EngineProcess({ stack, namespace, instanceId: 'a', topology })
  const drained = (engine: EngineProcess, feeder: CardFeeder): Promise<void> => engine.until('all committed', () => engine.position === feeder.total, 90_000)
  const scoredOf = async (namespace: string): Promise<Scored[]> =>
    (await readCommitted(stack.brokers, `${namespace}.card-fraud.scored`)).flat().map((record) => decodeOwn<Scored>('scored-event', record))

  it('is rebuilt beside the running engine, and scores on from the next event as if it had always been there', async () => {
    const [old, unraised, next] = [smallBatchTopology(), smallBatchTopology(changedWindow), smallBatchTopology(raised)]
    const feeder = new CardFeeder(stack, ['switch', 'switch-calm'], 7)
    await feeder.start()
    await feeder.send(1500)
    let engine = start('switch', old)
    await drained(engine, feeder)

    const rebuild = async (topology: string): Promise<{ partitions: number; entities: number }> => {
      const { code, stdout, stderr } = await runHarrier(['rebuild', '--topology', topology, '--namespace', 'switch', '--create-topics', '--json', '--brokers', stack.brokers, '--registry', stack.registryUrl])
      assert.equal(code, 0, stderr)
      return JSON.parse(stdout.trim().split('\n').at(-1)!) as { partitions: number; entities: number }
    }
    const refusal = async (topology: string): Promise<string> => {
      const refused = start('switch', topology)
      assert.notEqual(await refused.exited, 0)
      return refused.log.join('\n')
    }
    assert.equal(await engine.interrupt(), 0)
    assert.match(await refusal(unraised), /generation: 2[\s\S]*LAYOUT_CHANGED/)
    assert.match(await refusal(next), /harrier rebuild[\s\S]*LAYOUT_CHANGED/)

    engine = start('switch', old)
    await engine.until('tasks ready', () => engine.ready >= 3)
    const first = await rebuild(next)
    assert.equal(first.partitions, 3)
    assert.ok(first.entities > 50)
    await feeder.send(200)
    await drained(engine, feeder)
    await rebuild(next)
    // The engine of the old generation scores on after the rebuild: the new one folds that itself.
    await feeder.send(300)
    await drained(engine, feeder)
    assert.equal(await engine.interrupt(), 0)
    const switchedAt = feeder.total

    engine = start('switch', next)
    await engine.until('tasks ready', () => engine.ready >= 3)
    await feeder.send(400)
    await drained(engine, feeder)
    await engine.kill()
    engine = start('switch', next)
    await feeder.send(300)
    await drained(engine, feeder)
    assert.equal(await engine.interrupt(), 0)
    await feeder.close()

    const calm = start('switch-calm', next)
    await drained(calm, feeder)
    assert.equal(await calm.interrupt(), 0)

    const [events, expected] = [await scoredOf('switch'), await scoredOf('switch-calm')]
    const ids = (list: readonly Scored[]): string[] => list.map(({ event_id: id }) => id).sort()
    assertSameList(ids(events), feeder.sent.flat().sort(), 'each event is scored once')
    const afterSwitch = (list: readonly Scored[]): string[] => list.filter(({ event_id: id }) => Number(id) >= switchedAt).map(({ event_id: id, score }) => `${id} ${score}`).sort()
    assert.equal(afterSwitch(events).length, 700)
    assertSameList(afterSwitch(events), afterSwitch(expected), 'scores of the new generation')
    const before = (list: readonly Scored[]): string => list.filter(({ event_id: id }) => Number(id) < switchedAt).map(({ event_id: id, score }) => `${id} ${score}`).sort().join()
    assert.notEqual(before(events), before(expected), 'the generations score differently')
    assert.ok(events.filter(({ event_id: id }) => Number(id) >= switchedAt).every(({ lineage }) => /^card-fraud\/customer\.2\/[012]$/.test(lineage.task)))

    const lineage = (await readCommitted(stack.brokers, 'switch.card-fraud.lineage')).map((records) => records.map((record) => decodeOwn<LineageRecord>('lineage', record)))
    for (const records of lineage) {
      const own = records.filter(({ task }) => task.startsWith('card-fraud/customer.2/'))
      assert.ok(own.some(({ silent }) => silent) && own.some(({ silent }) => !silent))
      for (const [index, record] of own.entries()) {
        assert.equal(record.sequence, index)
        assert.equal(record.inputs[0]!.from, index === 0 ? 0 : own[index - 1]!.inputs[0]!.to)
      }
    }
  })
})
