import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { Prng } from '../../src/base/prng.js'
import type { Release, ReleasedModel } from '../../src/registry/release.js'
import type { ReleaseChange } from '../../src/registry/stage-releases.js'
import { loadTopology } from '../../src/topology/load-topology.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import { ReleaseDesk } from '../../src/topology/release-desk.js'
import type { RunEvent } from '../../src/topology/run-event.js'
import { runEventRules } from '../topology/openlineage-rules.js'
import { CardFeeder, EngineProcess, smallBatchTopology } from './engine-fixture.js'
import { decodeOwn, verifyEngineRun } from './engine-verify.js'
import { readCommitted } from './kafka-verifier.js'
import { startTestStack, type TestStack } from './test-stack.js'

const seed = Number(process.env.SEED ?? 8)
const releases = Number(process.env.RELEASES ?? 8)
/** Of so many releases each, one meets a kill. */
const killOneIn = 3
/** A busy machine takes long to start an engine. */
const limitMs = 240_000
const candidates = ['card-gru@1', 'card-attention@1', 'card-cnn@1', 'card-row@1']

interface Scored {
  readonly event_id: string
  readonly entity: string
  readonly model: string
  readonly fallback: boolean
  readonly scores: readonly { readonly model: string; readonly role: string }[]
  readonly lineage: { readonly sequence: number }
}

describe(`releases and rollbacks under load (SEED=${seed})`, () => {
  let stack: TestStack
  const file = smallBatchTopology()
  before(async () => {
    stack = await startTestStack()
  })
  after(() => stack.stop())

  it(`${releases} of them, with SIGKILL around them: no gap, no duplicate, and no event scored by a version that was not released`, async (t) => {
    const prng = new Prng(seed)
    const feeder = new CardFeeder(stack, ['rel'], seed)
    await feeder.start()
    feeder.feed(150)
    const start = (): EngineProcess => new EngineProcess({ stack, namespace: 'rel', instanceId: 'a', topology: file })
    let engine = start()
    await engine.until('tasks ready', () => engine.ready >= 3, limitMs)
    const desk = await ReleaseDesk.open({ topology: loadTopology(file), ...stack, namespace: 'rel', clock: systemClock, logger: silentLogger })
    const written: Release[] = []
    try {
      while (written.length < releases) {
        const change = await anyChange(prng, desk)
        try {
          written.push(await desk.change(change, { actor: 'test', reason: 'seeded' }))
        } catch (error) {
          if ((error as { code?: string }).code === 'RELEASE_REFUSED') continue
          throw error
        }
        if (prng.below(killOneIn) === 0) {
          await systemClock.sleep(prng.below(1200))
          await engine.kill()
          engine = start()
          await engine.until('a task ready', () => engine.ready > 0, limitMs)
        }
        await systemClock.sleep(prng.below(1500))
      }
      await engine.until('the last release', () => engine.stats?.release.inForce === written.length, limitMs)
    } finally {
      await feeder.close()
      await desk.close()
    }
    await engine.until('all committed', () => engine.position === feeder.total, limitMs)
    assert.equal(await engine.interrupt(), 0)

    const run = await verifyEngineRun(stack.brokers, 'rel', feeder.sent)
    assert.deepEqual(written.map(({ revision }) => revision), written.map((_, index) => index + 1))
    const named = written[0]!.from
    const seen = new Set<number>()
    const scored = await readCommitted(stack.brokers, 'rel.card-fraud.scored')
    let byChallenger = 0
    const deciders = new Map<string, string>()
    for (const [partition, records] of run.lineage.entries()) {
      let newest = 0
      for (const { release, models, sequence } of records) {
        assert.ok(release >= newest, `partition ${partition} went back from release ${newest} to ${release} in batch ${sequence}`)
        newest = release
        seen.add(release)
        const released = release === 0 ? named : written[release - 1]!.to
        assert.deepEqual(models.filter(({ role }) => role !== 'fallback').map(told), released.map(told), `batch ${sequence} of partition ${partition}`)
      }
      for (const record of scored[partition]!) {
        const event = decodeOwn<Scored>('scored-event', record)
        const { models, release } = records[event.lineage.sequence]!
        assert.deepEqual(event.scores.map(({ model, role }) => `${model} ${role}`), models.map(({ model, role }) => `${model} ${role}`), `event ${event.event_id}`)
        const decided = models.find(({ model }) => model === event.model)!
        assert.ok(!event.fallback && (decided.role === 'champion' || decided.role === 'challenger'), `event ${event.event_id} was decided by ${event.model}`)
        if (decided.role === 'challenger') byChallenger++
        // Sticky: by one release an entity is always decided by the same model.
        const key = `${release} ${event.entity}`
        assert.equal(deciders.get(key) ?? event.model, event.model, `entity ${event.entity} by release ${release}`)
        deciders.set(key, event.model)
      }
    }
    assert.ok(seen.size > releases / 2, `releases ${[...seen].join(', ')} were in force`)
    t.diagnostic(`${feeder.total} events, ${seen.size} releases seen in force, ${byChallenger} events decided by a challenger`)
  })

  it('a model that alerts on nearly everything goes back by itself, by one of two processes that find it; the ledger says why, and OpenLineage is told', async (t) => {
    const { models, file } = guarded()
    const feeder = new CardFeeder(stack, ['guard'], seed + 1)
    await feeder.start()
    feeder.feed(200)
    const collected = await collector()
    const env = { OPENLINEAGE_URL: collected.url, HARRIER_OPENLINEAGE_TOPIC: 'guard.openlineage' }
    const engines = ['a', 'b'].map((instanceId) => new EngineProcess({ stack, env, namespace: 'guard', instanceId, topology: file, models }))
    const desk = await ReleaseDesk.open({ topology: loadTopology(file), ...stack, namespace: 'guard', models, clock: systemClock, logger: silentLogger })
    let entries: readonly Release[] = []
    try {
      for (const engine of engines) await engine.until('a block of events before the release', () => (engine.stats?.counters.scored ?? 0) > blockEvents, limitMs)
      await desk.change({ action: 'release', ...(await desk.version('card-row@2')) }, { actor: 'test', reason: 'better, surely' })
      for (const engine of engines) await engine.until('the rollback', () => engine.stats?.release.inForce === 2, limitMs)
      const scored = engines[0]!.stats!.counters.scored
      await engines[0]!.until('more blocks by the old champion', () => engines[0]!.stats!.counters.scored > scored + 3 * blockEvents, limitMs)
      entries = (await desk.releases()).entries
    } finally {
      await feeder.close()
      await desk.close()
    }
    await engines[0]!.until('all committed', () => engines.reduce((sum, { position }) => sum + position, 0) === feeder.total, limitMs)
    for (const engine of engines) assert.equal(await engine.interrupt(), 0)

    assert.deepEqual(entries.map(({ action, actor, model }) => `${action} ${model} ${actor}`), ['release card-row@2 test', 'rollback card-gru@1 guardrail'])
    const { reason, details, from, to } = entries[1]!
    assert.match(reason, /^alertRateMax: card-row@2, 100 % of its decisions were alerts, .*at most 5 % may be; 100 events of one process$/)
    assert.deepEqual([details['guardrail'], details['measured'], details['limit'], details['events'], details['rolledBack'], details['revision']], ['alertRateMax', '1', '0.05', '100', 'card-row@2', '1'])
    assert.deepEqual([from[0]!.model, to[0]!.model], ['card-row@2', 'card-gru@1'])
    const run = await verifyEngineRun(stack.brokers, 'guard', feeder.sent)
    const counts = new Map<string, number>()
    for (const [partition, records] of (await readCommitted(stack.brokers, 'guard.card-fraud.scored')).entries()) {
      for (const record of records) {
        const { model, lineage } = decodeOwn<Scored>('scored-event', record)
        const by = `${run.lineage[partition]![lineage.sequence]!.release} ${model}`
        counts.set(by, (counts.get(by) ?? 0) + 1)
      }
    }
    assert.deepEqual([...counts.keys()].sort(), ['0 card-gru@1', '1 card-row@2', '2 card-gru@1'])
    const isValid = runEventRules()
    const written = (await readCommitted(stack.brokers, 'guard.openlineage')).flat().map(({ value }) => JSON.parse(value!.toString()) as RunEvent)
    for (const events of [written, collected.events]) {
      for (const event of events) assert.ok(isValid(event), JSON.stringify(isValid.errors))
      for (const instance of ['a', 'b']) {
        const runs = events.map((event) => ({ event, models: event.run.facets['harrier_models'] as unknown as { instance: string; release: number; models: { model: string }[] } })).filter(({ models }) => models.instance === instance)
        const states = runs.map(({ event, models: facet }) => `${event.eventType} ${facet.release} ${facet.models[0]!.model}`)
        assert.deepEqual(states, ['START 0 card-gru@1', 'COMPLETE 0 card-gru@1', 'START 1 card-row@2', 'COMPLETE 1 card-row@2', 'START 2 card-gru@1', 'COMPLETE 2 card-gru@1'])
      }
    }
    t.diagnostic(`scored by release and model: ${[...counts].map(([by, count]) => `${by} ${count}`).join(', ')}`)
  })
})

const blockEvents = 100

/** A collector of OpenLineage events. */
async function collector(): Promise<{ url: string; events: RunEvent[] }> {
  const events: RunEvent[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part)).on('end', () => {
      events.push(JSON.parse(Buffer.concat(parts).toString()) as RunEvent)
      response.writeHead(request.url === '/api/v1/lineage' ? 201 : 404).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(() => void server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, events }
}

/** The shipped topology with its example of guardrails, and its models with one whose score is read wrong: each of its scores is above 0.5. */
function guarded(): { models: string; file: string } {
  const models = mkdtempSync(join(tmpdir(), 'harrier-guarded-'))
  after(() => rmSync(models, { recursive: true, force: true }))
  cpSync(modelsFolder, models, { recursive: true })
  const wrong = join(models, 'card-row', '2')
  cpSync(join(models, 'card-row', '1'), wrong, { recursive: true })
  const manifest = join(wrong, 'model.yaml')
  const text = readFileSync(manifest, 'utf8').replace('version: 1', 'version: 2').replace(/meaning: probability/, 'meaning: logit')
  assert.match(text, /meaning: logit/)
  writeFileSync(manifest, text)
  const file = smallBatchTopology((shipped) => {
    const made = shipped.replace(/^# (releases:|  guardrails:)/gm, '$1').replace('events: 1000', `events: ${blockEvents}`)
    assert.match(made, /^releases:\n  guardrails: .*events: 100,/m)
    return made
  })
  return { models, file }
}

function told({ role, model, sha256, share, epoch }: Pick<ReleasedModel, 'model' | 'sha256' | 'share' | 'epoch'> & { readonly role: string }): string {
  return `${role} ${model} ${sha256} ${share} ${epoch}`
}

async function anyChange(prng: Prng, desk: ReleaseDesk): Promise<ReleaseChange> {
  const version = await desk.version(candidates[prng.below(candidates.length)]!)
  const changes: ReleaseChange[] = [{ action: 'release', ...version }, { action: 'release', ...version }, { action: 'canary', share: 0.3, ...version }, { action: 'rollback' }, { action: 'rollback' }]
  return changes[prng.below(changes.length)]!
}
