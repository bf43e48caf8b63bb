import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import { malformedAvro } from '../topology/malformed-records.js'
import { CardFeeder, CuttableProxy, driveToEnd, EngineProcess, smallBatchTopology } from './engine-fixture.js'
import { verifyEngineRun } from './engine-verify.js'
import { startTestStack, type TestStack } from './test-stack.js'

/** What `harrier run` promises: Ctrl-C ends it within this time. */
const stopMsMax = 5000
/** A partition that is silent has written its state after an interval of the checkpoint, 2 s here. */
const silentMsMax = 30_000

describe('the engine on a real broker, when the world fails', () => {
  let stack: TestStack
  const topology = smallBatchTopology()
  before(async () => {
    stack = await startTestStack()
  })
  after(() => stack.stop())

  const drained = (engine: EngineProcess, feeder: CardFeeder): Promise<void> => engine.until('all committed', () => engine.position === feeder.total, 60_000)

  it('makes each malformed record a dead letter with cause, original bytes, key and headers, and scores the rest', async () => {
    const feeder = new CardFeeder(stack, ['malformed'], 5)
    await feeder.start()
    const otherSchemas: object[] = []
    const ids: number[] = []
    malformedAvro((value) => feeder.encode(value), (schema) => otherSchemas.push(schema))
    for (const schema of otherSchemas) ids.push(await feeder.registry.register(`malformed-${ids.length}-value`, schema))
    let next = 0
    const broken = malformedAvro((value) => feeder.encode(value), () => ids[next++]!)
    const headers = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', ce_id: 'evil' }
    const dead = new Set<string>()
    for (const [index, { key, value }] of broken.entries()) {
      const id = `broken-${index}`
      dead.add(id)
      await feeder.sendRaw([{ partition: 1, id, message: { key: key === null ? null : Buffer.from(key), value: value === null ? null : Buffer.from(value), headers } }])
      await feeder.send(5)
    }
    const engine = new EngineProcess({ stack, namespace: 'malformed', instanceId: 'a', topology })
    await drained(engine, feeder)
    assert.equal(await engine.interrupt(), 0)
    const { deadLetters } = await verifyEngineRun(stack.brokers, 'malformed', feeder.sent, dead)
    assert.equal(deadLetters[1]!.length, broken.length)
    for (const [index, { what, key, value, exception, message }] of broken.entries()) {
      const letter = deadLetters[1]![index]!
      assert.equal(String(letter.headers['__streams.errors.exception']), exception, what)
      assert.match(String(letter.headers['__streams.errors.message']), message, what)
      assert.equal(String(letter.headers['__streams.errors.topic']), 'malformed.transactions')
      assert.equal(String(letter.headers['__streams.errors.partition']), '1')
      assert.equal(String(letter.headers['traceparent']), headers.traceparent)
      assert.equal(String(letter.headers['ce_id']), headers.ce_id)
      assert.deepEqual(letter.value, value === null ? null : Buffer.from(value), what)
      assert.deepEqual(letter.key, key === null ? null : Buffer.from(key), what)
    }
  })

  it('writes what a partition changed before it fell silent, while others go on: a restore folds none of it again', async () => {
    const feeder = new CardFeeder(stack, ['silent'], 9)
    await feeder.start()
    await feeder.send(120)
    const start = (): EngineProcess => new EngineProcess({ stack, namespace: 'silent', instanceId: 'a', topology })
    let engine = start()
    await drained(engine, feeder)
    const silent = () => engine.stats?.tasks.find(({ task }) => task.endsWith('/2'))
    const { position } = silent()!
    assert.ok(position > 0)
    const endMs = systemClock.monotonicMs() + silentMsMax
    while (silent()!.tailRecords > 0) {
      assert.ok(systemClock.monotonicMs() < endMs, JSON.stringify(engine.stats?.tasks))
      await feeder.sendRaw(Array.from({ length: 30 }, () => feeder.nextCard()).filter(({ partition }) => partition !== 2))
      await systemClock.sleep(200)
    }
    await drained(engine, feeder)
    await engine.kill()
    engine = start()
    await drained(engine, feeder)
    assert.deepEqual([silent()!.position, silent()!.tailRecords], [position, 0])
    const ready = () => engine.log.filter((line) => line.includes('"task ready"')).map((line) => JSON.parse(line) as { task: string; restored: number }).find(({ task }) => task.endsWith('/2'))
    // A task stands at its position before its partition is resumed, and says that it is ready after that.
    await engine.until('the silent task ready', () => ready() !== undefined)
    assert.equal(ready()!.restored, 0, 'input records folded again')
    await feeder.send(60)
    await drained(engine, feeder)
    assert.equal(await engine.interrupt(), 0)
    await verifyEngineRun(stack.brokers, 'silent', feeder.sent)
  })

  it('waits for a registry that is down, before the start and in the stream: nothing lost, nothing dead-lettered', async (t) => {
    const feeder = new CardFeeder(stack, ['registry'], 6)
    await feeder.start()
    await feeder.send(60)
    const proxy = new CuttableProxy(stack.registryUrl)
    await proxy.open()
    const url = new URL(stack.registryUrl)
    url.port = String(proxy.port)
    url.hostname = '127.0.0.1'
    const behind = { brokers: stack.brokers, registryUrl: url.href.replace(/\/$/, '') }
    await proxy.cut()
    const engine = new EngineProcess({ stack: behind, namespace: 'registry', instanceId: 'a', topology })
    await engine.until('waiting for the registry', () => engine.log.some((line) => line.includes('waiting for the schema registry')))
    await proxy.open()
    await drained(engine, feeder)

    await proxy.cut()
    const schema = loadOwnSchema('transaction') as { fields: object[] }
    const evolved = { ...schema, fields: [...schema.fields.slice(0, -1), { ...schema.fields.at(-1), doc: 'ISO 4217' }] }
    feeder.useSchema(await feeder.registry.register('registry.transactions-value', evolved))
    await feeder.send(60)
    const warnings = (): number => engine.log.filter((line) => line.includes('waiting for the schema registry')).length
    const before = warnings()
    await engine.until('waiting again', () => warnings() > before)
    await systemClock.sleep(3000)
    assert.equal(engine.ended, false)
    assert.equal(engine.stats!.counters.scored, 60, 'nothing of the unknown schema is scored or given up')
    assert.equal(engine.stats!.counters.deadLetters, 0)
    await proxy.open()
    await drained(engine, feeder)
    assert.equal(await engine.interrupt(), 0)
    await proxy.cut()
    await verifyEngineRun(stack.brokers, 'registry', feeder.sent)
    t.diagnostic(`aborts ${engine.stats!.counters.aborts}`)
  })

  it('stops within 5 s of SIGINT in full run, with everything that it folded committed', async (t) => {
    const feeder = new CardFeeder(stack, ['stop'], 7)
    await feeder.start()
    await feeder.send(3000)
    const engine = new EngineProcess({ stack, namespace: 'stop', instanceId: 'a', topology })
    await engine.until('in full run', () => (engine.stats?.counters.scored ?? 0) > 0)
    const startedMs = systemClock.monotonicMs()
    assert.equal(await engine.interrupt(), 0)
    const tookMs = systemClock.monotonicMs() - startedMs
    assert.ok(tookMs < stopMsMax, `took ${tookMs} ms`)
    const again = new EngineProcess({ stack, namespace: 'stop', instanceId: 'a', topology })
    await drained(again, feeder)
    assert.equal(await again.interrupt(), 0)
    await verifyEngineRun(stack.brokers, 'stop', feeder.sent)
    t.diagnostic(`stopped in ${Math.round(tookMs)} ms`)
  })

  it('goes on after the broker was killed and started again: no gap, no duplicate', async (t) => {
    const feeder = new CardFeeder(stack, ['broker'], 8)
    await feeder.start()
    await feeder.send(1500)
    const start = (): EngineProcess => new EngineProcess({ stack, namespace: 'broker', instanceId: 'a', topology })
    const engine = start()
    await engine.until('in full run', () => (engine.stats?.counters.scored ?? 0) > 0)
    await stack.killBroker()
    await systemClock.sleep(1000)
    await stack.startBroker()
    await feeder.send(300)
    const { restarts, aborts } = await driveToEnd(engine, feeder, start)
    await verifyEngineRun(stack.brokers, 'broker', feeder.sent)
    t.diagnostic(`aborts ${aborts}, restarts ${restarts}`)
  })
})
