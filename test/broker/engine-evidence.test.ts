import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { Kafka, logLevel } from 'kafkajs'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { environmentObjectStore } from '../../src/connection/object-store.js'
import { withAdmin } from '../../src/consumer/admin.js'
import { ObjectStore } from '../../src/object-store/object-store.js'
import { ObjectModels } from '../../src/registry/object-models.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import { ReleaseDesk } from '../../src/topology/release-desk.js'
import { s3Credentials, startS3Server, whyNoS3, type S3Server } from '../object-store/s3-server.js'
import { CardFeeder, EngineProcess, smallBatchTopology } from './engine-fixture.js'
import { decodeOwn } from './engine-verify.js'
import { runHarrier, type Ended } from './harrier-process.js'
import { readCommitted } from './kafka-verifier.js'
import { startTestStack, type TestStack } from './test-stack.js'

const seed = Number(process.env.SEED ?? 29)
const namespace = 'ev'
const own = `${namespace}.card-fraud`
/** A busy machine takes long to start an engine. */
const limitMs = 240_000
const sampled = 200

interface Scored {
  readonly event_id: string
  readonly model: string
  readonly scores: readonly { readonly score: number }[]
}

describe(`what a run leaves, looked at afterwards (SEED=${seed})`, () => {
  let stack: TestStack
  let feeder: CardFeeder
  const topology = smallBatchTopology()
  const folder = mkdtempSync(join(tmpdir(), 'harrier-evidence-'))
  /** Versions and archive are in an object store, where one can be started. */
  let s3: S3Server | undefined
  let archive = join(folder, 'archive')
  let env: Record<string, string> = {}
  let models: ObjectModels | undefined

  before(async () => {
    stack = await startTestStack()
    if ((await whyNoS3()) === undefined) {
      s3 = await startS3Server(['bank'])
      archive = 's3://bank/archive'
      env = { AWS_ENDPOINT_URL: s3.endpoint, AWS_ACCESS_KEY_ID: s3Credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: s3Credentials.secretAccessKey, HARRIER_MODEL_CACHE: join(folder, 'cache') }
      const store = new ObjectStore({ access: environmentObjectStore(env), place: { bucket: 'bank', prefix: 'models' }, clock: systemClock, logger: silentLogger })
      models = new ObjectModels({ store, folder: join(folder, 'desk'), logger: silentLogger })
      for (const name of ['card-gru', 'card-attention', 'card-cnn', 'card-row']) await models.register({ folder: join(modelsFolder, name, '1'), actor: 'test', device: 'cpu', harrier: '0', clock: systemClock })
    }
    feeder = new CardFeeder(stack, [namespace], seed)
    await feeder.start()
    await runWithReleasesAndKill()
  })
  after(async () => {
    await stack.stop()
    await s3?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  /** A release, a rollback and a canary while events come, and a SIGKILL before the last events. */
  async function runWithReleasesAndKill(): Promise<void> {
    const start = (): EngineProcess => new EngineProcess({ stack, namespace, instanceId: 'a', topology, env, models: models?.name })
    let engine = start()
    await engine.until('tasks ready', () => engine.ready >= 3, limitMs)
    const desk = await ReleaseDesk.open({ topology: loadTopology(topology), ...stack, namespace, models, clock: systemClock, logger: silentLogger })
    const folded = (): Promise<void> => engine.until('all committed', () => engine.position === feeder.total, limitMs)
    await feeder.send(360)
    await folded()
    for (const [index, change] of [
      { action: 'release' as const, ...(await desk.version('card-attention@1')) },
      { action: 'rollback' as const },
      { action: 'canary' as const, share: 0.4, ...(await desk.version('card-cnn@1')) },
    ].entries()) {
      await desk.change(change, { actor: 'test', reason: 'evidence' })
      await engine.until('the release', () => engine.stats?.release.inForce === index + 1, limitMs)
      await feeder.send(120)
      if (index === 1) {
        await engine.kill()
        engine = start()
      }
      await folded()
    }
    await desk.close()
    await feeder.close()
    assert.equal(await engine.interrupt(), 0)
  }

  function harrier(...args: string[]): Promise<Ended> {
    return runHarrier([...args, '--topology', topology, '--namespace', namespace, '--brokers', stack.brokers, '--registry', stack.registryUrl], env, limitMs)
  }

  /** With nothing but the archive. */
  function offline(...args: string[]): Promise<Ended> {
    return runHarrier([...args, '--topology', topology, '--namespace', namespace, '--archive', archive, '--offline', '--models', join(folder, 'nothing')], env, limitMs)
  }

  /** Ends of all topics of the run, and every group with its offsets in the input: what a look must leave as it was. */
  async function footprint(): Promise<string> {
    const kafka = new Kafka({ clientId: 'footprint', brokers: stack.brokers.split(','), logLevel: logLevel.NOTHING })
    const admin = kafka.admin()
    await admin.connect()
    const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(`${namespace}.`)).sort()
    const ends = await Promise.all(topics.map(async (topic) => [topic, (await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => `${partition}:${high}`).sort()]))
    const groups = (await admin.listGroups()).groups.map(({ groupId }) => groupId).sort()
    const committed = await Promise.all(groups.map(async (groupId) => [groupId, await admin.fetchOffsets({ groupId, topics: [`${namespace}.transactions`] })]))
    await admin.disconnect()
    return JSON.stringify({ ends, committed })
  }

  interface Summary {
    readonly audited: number
    readonly verdicts: Readonly<Record<string, number>>
  }

  it(`audits ${sampled} of its scores bit-equal after a release, a rollback, a canary and a kill, and leaves nothing behind`, async () => {
    const before = await footprint()
    const ended = await harrier('audit', '--sample', String(sampled), '--json')
    assert.equal(ended.code, 0, ended.said)
    const { audited, verdicts } = JSON.parse(ended.stdout) as Summary
    assert.deepEqual([audited, verdicts.equal], [sampled, sampled])
    assert.equal(await footprint(), before)
  })

  it('backtests the range it scored: the live scores bit for bit, without a group, a commit or a record', async () => {
    const before = await footprint()
    const ended = await harrier('backtest', '--from', `${namespace}.transactions`, '--compare-live', '--out', join(folder, 'report'), '--json')
    assert.equal(ended.code, 0, ended.said)
    const { live } = JSON.parse(ended.stdout) as { live: { isEqual: boolean; missing: number; models: { model: string; compared: number; equal: number; begunAnew: number }[] } }
    assert.ok(live.isEqual)
    assert.equal(live.missing, 0)
    for (const { model, compared, equal } of live.models) assert.ok(compared > 0 && equal === compared, `${model}: ${equal} of ${compared}`)
    // The champion that came back by the rollback began anew; the others carry no state.
    const anew = live.models.filter(({ begunAnew }) => begunAnew > 0).map(({ model }) => model)
    assert.deepEqual(anew, ['card-gru@1'])
    assert.equal(await footprint(), before)
  })

  it('finds a score that somebody has forged on the topic', async () => {
    const scored = await readCommitted(stack.brokers, `${own}.scored`)
    const record = scored[1]![100]!
    const event = decodeOwn<Scored>('scored-event', record)
    const float = Buffer.alloc(4)
    float.writeFloatLE(event.scores.at(-1)!.score)
    const value = Buffer.from(record.value!)
    value[value.lastIndexOf(float)]! ^= 1
    const producer = new Kafka({ clientId: 'forger', brokers: stack.brokers.split(','), logLevel: logLevel.NOTHING }).producer({ allowAutoTopicCreation: false })
    const honest = await harrier('audit', event.event_id)
    assert.equal(honest.code, 0, honest.said)
    // The archive holds the honest one alone.
    const archived = await harrier('archive', archive)
    assert.equal(archived.code, 0, archived.said)
    await producer.connect()
    await producer.send({ topic: `${own}.scored`, messages: [{ partition: record.partition, key: record.key, value }] })
    await producer.disconnect()
    const forged = await harrier('audit', event.event_id)
    assert.equal(forged.code, 10, forged.said)
    assert.match(forged.stdout, /NOT the score that comes out\n.*the topic says/)
  })

  it('audits and exports from the archive when the topics are truncated, and says without it what is missing', async () => {
    const topics = [`${namespace}.transactions`, `${own}.lineage`]
    await withAdmin({ brokers: stack.brokers, clock: systemClock }, async (admin) => {
      for (const topic of topics) await admin.deleteRecords(topic, [...(await admin.ends(topic))].map(([partition, { high }]) => ({ partition, before: high })))
    })
    const id = feeder.sent[0]!.at(-2)!
    const without = await harrier('audit', id)
    assert.equal(without.code, 11, without.said)
    assert.match(without.stdout, /unavailable/)
    const beside = await harrier('audit', id, '--archive', archive)
    assert.equal(beside.code, 0, beside.said)
    const alone = await offline('audit', '--sample', String(sampled), '--json')
    assert.equal(alone.code, 0, alone.said)
    assert.equal((JSON.parse(alone.stdout) as Summary).verdicts.equal, sampled)
    const out = join(folder, 'period.parquet')
    const exported = await offline('audit', 'export', '--since', '2023-12-01', '--until', '2026-01-01', '--by', 'event-time', '--out', out)
    assert.equal(exported.code, 0, exported.said)
    const [events, distinct, proven, deciders] = await counted(out)
    assert.deepEqual([events, distinct, proven], [feeder.total, feeder.total, feeder.total])
    assert.equal(deciders, 'card-attention@1,card-cnn@1,card-gru@1')
    const empty = await offline('audit', 'export', '--since', '1999-01-01', '--until', '1999-02-01', '--out', out)
    assert.match(empty.stderr, /no event of the period by its record-time.*--by event-time/)
    const lineage = await offline('lineage', id)
    assert.match(lineage.stdout, /release +revision 3: canary of card-cnn@1 by test, .*\n +evidence\n/)
    assert.equal(/in no folder of models/.test(lineage.stdout), false)
  })

  async function counted(file: string): Promise<unknown[]> {
    const duck = await DuckDBInstance.create(':memory:')
    const connection = await duck.connect()
    try {
      const rows = await connection.runAndReadAll(`SELECT count(*)::INT, count(DISTINCT event_id)::INT, count(*) FILTER (models LIKE '%sha256%' AND inputs LIKE '%transactions%')::INT, string_agg(DISTINCT model, ',' ORDER BY model) FROM read_parquet('${file}')`)
      return rows.getRows()[0]!
    } finally {
      connection.closeSync()
      duck.closeSync()
    }
  }
})
