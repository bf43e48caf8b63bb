import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { LightMyRequestResponse } from 'fastify'
import { Kafka, logLevel } from 'kafkajs'
import { accessTopics } from '../../src/access/access-topics.js'
import { AuditTrail } from '../../src/access/audit-trail.js'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { RangeReader } from '../../src/consumer/range-reader.js'
import { ModelShelf } from '../../src/registry/model-shelf.js'
import type { Release } from '../../src/registry/release.js'
import type { EngineStats } from '../../src/topology/engine-stats.js'
import type { EngineChain } from '../../src/topology/engine-chain.js'
import { createKeyFile, rotateKeys, type PrivacyKeys } from '../../src/privacy/privacy-keys.js'
import { tokenOf } from '../../src/privacy/tokeniser.js'
import { loadTopology, parseTopology } from '../../src/topology/load-topology.js'
import { topologyNames } from '../../src/topology/names.js'
import { openEngine } from '../../src/topology/open-engine.js'
import { requestHeader, ScoreGateway, type ScoreAnswer } from '../../src/topology/score-gateway.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import type { StageState } from '../../src/topology/release-action.js'
import { RequestClaims } from '../../src/topology/request-claims.js'
import { RecordDesk } from '../../src/topology/record-desk.js'
import { redrivenHeader } from '../../src/topology/record-view.js'
import { StageDesks } from '../../src/topology/stage-desks.js'
import { StreamWatch } from '../../src/topology/stream-watch.js'
import { namedAccess } from '../web/named-access.js'
import { testService, type TestService } from '../web/web-fixture.js'
import { assertReadable, confirmWith, noBrowser, openPage, signIn, type OpenPage } from './page-fixture.js'
import { startTestStack, type TestStack } from './test-stack.js'

const namespace = 'score'
const partitions = 2
const timeoutMs = 30_000

describe('transactions over HTTP, scored in the stream', { timeout: 400_000 }, () => {
  const topology = loadTopology('card-fraud')
  const names = topologyNames(topology, namespace)
  let stack: TestStack
  let engine: EngineChain
  let running: Promise<void> = Promise.resolve()
  let service: TestService
  let gateway: ScoreGateway
  let desks: StageDesks
  let audit: AuditTrail
  let stream: { topology: string; watch: StreamWatch; desk: RecordDesk }
  /** The same, where keys are asked for. */
  let guarded: TestService

  before(async () => {
    stack = await startTestStack()
    const connection = { brokers: stack.brokers, registryUrl: stack.registryUrl }
    engine = await openEngine({ topology, ...connection, namespace, instanceId: 'a', workers: 1, createTopics: { partitions }, clock: systemClock, logger: silentLogger })
    gateway = await ScoreGateway.open({ connection, topology, namespace, clock: systemClock, logger: silentLogger })
    desks = new StageDesks({ connection, topology, namespace, clock: systemClock, logger: silentLogger })
    audit = new AuditTrail({ connection, namespace, instanceId: 'a', clock: systemClock, logger: silentLogger })
    const watched = { connection, topology, namespace, clock: systemClock, logger: silentLogger }
    let stats: EngineStats | undefined
    systemClock.every(500, () => (stats = engine.stats()))
    stream = { topology: topology.name, watch: new StreamWatch({ ...watched, stats: () => stats }), desk: new RecordDesk({ ...watched, auditTopic: accessTopics(namespace).audit }) }
    const parts = { gateway, stream, versions: { shelf: new ModelShelf(modelsFolder), desks, audit, trusted: [], device: 'cpu' }, engine: { topology: topology.name, metrics: () => engine.metrics(), get state() { return engine.state } } } as const
    service = await testService({ parts })
    const access = namedAccess({ vera: { role: 'viewer' }, rolf: { role: 'releaser' }, ada: { role: 'admin' }, gru: { role: 'releaser', models: ['card-gru'] }, elsewhere: { role: 'admin', topologies: ['other'] } })
    guarded = await testService({ parts: { ...parts, access } })
  })
  after(async () => {
    await engine.stop()
    await running
    await Promise.all([service.close(), guarded.close()])
    await Promise.all([desks.close(), audit.close(), stream.watch.close(), stream.desk.close()])
    await gateway.close()
    await stack.stop()
  })

  let nextId = 1
  const transaction = (customer: number, more: object = {}): Record<string, unknown> => ({
    transaction_id: nextId++, event_time: Date.UTC(2026, 0, 5, 12) + nextId * 60_000, customer_id: String(customer), terminal_id: '7', amount_minor: 4200, currency: 'EUR', ...more,
  })
  const score = (payload: object, { key, wait = timeoutMs }: { key?: string; wait?: number } = {}): Promise<LightMyRequestResponse> =>
    service.app.inject({ method: 'POST', url: `/v1/score/card-fraud?timeout_ms=${wait}`, payload, headers: { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', ...(key === undefined ? {} : { 'idempotency-key': key }) } })
  async function recordsOf(topic: string): Promise<{ request: string | undefined; trace: string | undefined }[]> {
    const reader = new RangeReader({ brokers: stack.brokers, clock: systemClock, logger: silentLogger })
    await reader.start()
    const found: { request: string | undefined; trace: string | undefined }[] = []
    for (let partition = 0; partition < partitions; partition++) {
      await reader.readRange({ topic, partition, from: 'earliest', to: 'settled-end' }, (columns) => {
        for (let row = 0; row < columns.count; row++) {
          const header = (name: string): string | undefined => columns.headers(row).find((each) => each.name === name)?.value?.toString()
          found.push({ request: header(requestHeader), trace: header('traceparent') })
        }
      })
    }
    await reader.close()
    return found
  }

  async function textsOf(topic: string): Promise<string[]> {
    const reader = new RangeReader({ brokers: stack.brokers, clock: systemClock, logger: silentLogger })
    await reader.start()
    const texts: string[] = []
    await reader.readRange({ topic, partition: 0, from: 'earliest', to: 'settled-end' }, (columns) => {
      for (let row = 0; row < columns.count; row++) texts.push(Buffer.from(columns.value(row)!).toString())
    })
    await reader.close()
    return texts
  }

  it('that find no engine are told that their score will come, and have it when they ask again with the same key', async () => {
    assert.equal((await service.app.inject('/readyz')).statusCode, 503, 'not ready before partitions are assigned')
    const payment = transaction(1)
    const early = await score(payment, { key: 'early', wait: 50 })
    assert.deepEqual([early.statusCode, early.json<{ code: string }>().code, early.headers['retry-after']], [504, 'SCORE_PENDING', '1'])
    running = engine.run()
    const late = await score(payment, { key: 'early' })
    assert.equal(late.statusCode, 200, late.body)
    const event = late.json<{ event_id: string; entity: string; score: number; decision: string; model: string; lineage: { task: string; sequence: number }; scores: object[]; repeated: boolean }>()
    assert.deepEqual([event.event_id, event.entity, event.model, event.repeated], ['1', '1', 'card-gru@1', true])
    assert.match(event.lineage.task, /^card-fraud\/customer\/[01]$/)
    assert.equal(event.scores.length, 4)
    assert.equal((await service.app.inject('/readyz')).statusCode, 200)
  })

  it('get a decision with reasons that knows the state of the entity', async () => {
    for (let index = 0; index < 4; index++) assert.equal((await score(transaction(2))).json<{ decision: string }>().decision, 'APPROVE')
    const large = (await score(transaction(2, { amount_minor: 900_000 }))).json<{ decision: string; reasons: string[]; explanation: { reasons: { text: string }[] } }>()
    assert.notEqual(large.decision, 'APPROVE')
    assert.ok(large.reasons.length > 0)
    assert.ok(large.explanation.reasons.some(({ text }) => /times the mean amount/.test(text)), JSON.stringify(large.explanation))
  })

  it('come once into the log for one idempotency key, however often and at once it is used', async () => {
    const payment = transaction(3)
    const answers = await Promise.all(Array.from({ length: 5 }, () => score(payment, { key: 'once' })))
    assert.deepEqual(answers.map(({ statusCode }) => statusCode), [200, 200, 200, 200, 200])
    assert.equal(new Set(answers.map((answer) => JSON.stringify({ ...answer.json<object>(), repeated: null }))).size, 1)
    assert.deepEqual(answers.map((answer) => answer.json<{ repeated: boolean }>().repeated).sort(), [false, true, true, true, true])
    const other = await score({ ...payment, amount_minor: 1 }, { key: 'once' })
    assert.deepEqual([other.statusCode, other.json<{ code: string }>().code], [400, 'REQUEST_INVALID'])
  })

  it('come once into the log for one key, whichever instance is asked, at once and after a restart, and whoever died with the key', async () => {
    const options = { connection: { brokers: stack.brokers, registryUrl: stack.registryUrl }, topology, namespace, claimLeaseMs: 1500, clock: systemClock, logger: silentLogger }
    const before = (await recordsOf(names.input)).length
    const ask = (of: ScoreGateway, key: string, json: object, timeoutMs = 30_000): Promise<ScoreAnswer> =>
      of.score({ body: Buffer.from(JSON.stringify(json)), json, caller: 'till', idempotencyKey: key, timeoutMs, headers: {} })
    const others = [await ScoreGateway.open(options), await ScoreGateway.open(options)] as const
    const payment = transaction(5)
    const answers = await Promise.all([ask(others[0], 'shared', payment), ask(others[1], 'shared', payment)])
    assert.deepEqual(answers[0].event, answers[1].event)
    assert.deepEqual(answers.map(({ isRepeated }) => isRepeated).sort(), [false, true])
    await assert.rejects(ask(others[1], 'shared', { ...payment, amount_minor: 2 }), { code: 'REQUEST_INVALID' })
    await Promise.all(others.map((each) => each.close()))
    const restarted = await ScoreGateway.open(options)
    assert.deepEqual(await ask(restarted, 'shared', payment), { event: answers[0].event, isRepeated: true })
    await assert.rejects(ask(restarted, 'shared', { ...payment, amount_minor: 2 }), { code: 'REQUEST_INVALID' })

    // Somebody claims, and dies before it sends.
    const orphan = transaction(6)
    const claims = await RequestClaims.open({ ...options, topic: names.requests })
    const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
    const claim = await claims.claim(sha256('till\norphan').slice(0, 32), sha256(JSON.stringify(orphan)))
    assert.deepEqual([claim.isOurs, claim.before], [true, undefined])
    await claims.close()
    await assert.rejects(ask(restarted, 'orphan', orphan, 300), { code: 'SCORE_PENDING' })
    await systemClock.sleep(options.claimLeaseMs)
    assert.equal((await ask(restarted, 'orphan', orphan)).event['event_id'], String(orphan['transaction_id']))
    await restarted.close()
    assert.equal((await recordsOf(names.input)).length, before + 2)
  })

  it('that break the contract are refused with the words of a dead letter, and are not in the log', async () => {
    const { amount_minor: _amount, ...without } = transaction(4)
    for (const [payload, message] of [[without, /amount_minor/], [transaction(4, { amount_minor: -5 }), /amount.*below its minimum/], [transaction(4, { event_time: 'today' }), /event_time/]] as const) {
      const answer = await score(payload, { key: JSON.stringify(payload).slice(0, 60) })
      assert.deepEqual([answer.statusCode, answer.json<{ code: string }>().code], [422, 'RECORD_INVALID'])
      assert.match(answer.json<{ error: string }>().error, message)
    }
    assert.equal((await service.app.inject({ method: 'POST', url: '/v1/score/other', payload: {} })).statusCode, 404)
  })

  it('of many clients at once each get their own answer, and every subscriber sees each once', async (test) => {
    const payments = Array.from({ length: 60 }, (_, index) => transaction(100 + (index % 20)))
    const beganMs = systemClock.monotonicMs()
    const answers = await Promise.all(payments.map((payment) => score(payment)))
    test.diagnostic(`60 transactions at once took ${Math.round(systemClock.monotonicMs() - beganMs)} ms`)
    assert.deepEqual(answers.map((answer) => answer.json<{ event_id: string }>().event_id), payments.map((payment) => String(payment.transaction_id)))
    const [input, scored] = [await recordsOf(names.input), await recordsOf(names.scored)]
    assert.equal(input.length, 1 + 5 + 1 + 2 + 60)
    assert.deepEqual(scored.map(({ request }) => request).sort(), input.map(({ request }) => request).sort())
    assert.equal(new Set(scored.map(({ request }) => request)).size, scored.length)
    assert.equal(scored.filter(({ trace }) => trace?.startsWith('00-4bf92f')).length, scored.length - 2)
  })

  it('are counted by the engine that scored them', async () => {
    const text = (await service.app.inject('/metrics')).body
    const value = (name: string): number => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1])
    assert.equal(value('harrier_scored_total'), 69)
    assert.equal(value('harrier_delay_seconds_count'), 69)
    assert.ok(value('harrier_commit_seconds_sum') > 0 && value('harrier_state_bytes') > 0)
    assert.match(text, /harrier_stage_state\{topology="card-fraud",stage="customer",state="running"\} 1/)
    assert.match(text, /harrier_model_rows_total\{topology="card-fraud",stage="customer",model="card-gru",version="1",role="champion",device="cpu"\} 69/)
  })

  const stagePath = '/v1/topologies/card-fraud/stages/customer'
  const call = (who: string, payload?: object, path = '/releases'): Promise<LightMyRequestResponse> =>
    guarded.app.inject({ method: payload ? 'POST' : 'GET', url: `${stagePath}${path}`, headers: { 'x-api-key': who }, ...(payload ? { payload } : {}) })

  it('are scored by the version that somebody released over HTTP, whose name is in the ledger and in the audit', async () => {
    assert.deepEqual((await guarded.app.inject({ url: '/v1/topologies', headers: { 'x-api-key': 'vera' } })).json(), [{ topology: 'card-fraud', stages: ['customer'] }])
    const before = (await call('vera', undefined, '')).json<StageState>()
    assert.deepEqual([before.revision, before.models[0]?.model, before.rollback], [0, 'card-gru@1', null])
    const wish = { action: 'release', model: 'card-row@1', reason: 'a try' }
    assert.equal((await call('vera', wish)).statusCode, 403, 'a viewer releases nothing')
    const released = await call('rolf', wish)
    assert.equal(released.statusCode, 201, released.body)
    const { revision, actor, action, details } = released.json<Release>()
    assert.deepEqual([revision, actor, action, details['by']], [1, 'rolf', 'release', 'key rolf'])
    let model = ''
    for (const endMs = systemClock.monotonicMs() + timeoutMs; model !== 'card-row@1' && systemClock.monotonicMs() < endMs; ) model = (await score(transaction(7))).json<{ model: string }>().model
    assert.equal(model, 'card-row@1')
    const places = (await call('vera', undefined, '/releases/1')).json<{ inForce: { from: { sequence: number } | null }[] }>().inForce
    assert.ok(places.length === partitions && places.some(({ from }) => from !== null), JSON.stringify(places))

    const back = await call('rolf', { action: 'rollback', reason: 'enough' })
    assert.deepEqual([back.statusCode, back.json<Release>().to[0]?.model], [201, 'card-gru@1'])
    assert.deepEqual((await call('vera')).json<Release[]>().map((each) => [each.revision, each.action, each.actor, each.reason]), [[1, 'release', 'rolf', 'a try'], [2, 'rollback', 'rolf', 'enough']])
    const notes = (await textsOf(accessTopics(namespace).audit)).map((text) => JSON.parse(text) as { actor: string; id: string; action: string; subject: string; before: { models: { model: string }[] }; after: { models: { model: string }[] } })
    assert.deepEqual(notes.map((each) => [each.actor, each.id, each.action, each.subject, each.before.models[0]!.model, each.after.models[0]!.model]), [
      ['rolf', 'key rolf', 'models.release', 'card-row@1', 'card-gru@1', 'card-row@1'],
      ['rolf', 'key rolf', 'models.rollback', 'card-gru@1', 'card-row@1', 'card-gru@1'],
    ])
  })

  it('have a ledger in which a key for some models finds and changes nothing of the others', async () => {
    const seen = await call('gru')
    assert.deepEqual(seen.json<Release[]>().map(({ revision, from, to }) => [revision, from.length, to.map(({ model }) => model)]), [[2, 0, ['card-gru@1']]])
    const { models } = (await call('gru', undefined, '')).json<StageState>()
    assert.deepEqual(models.map(({ model }) => model), ['card-gru@1'])
    const refusals = [
      [{ action: 'release', model: 'card-row@1' }, 403], [{ action: 'release', model: 'card-row@77' }, 403], [{ action: 'release', model: 'card-gru@77' }, 404], [{ action: 'release', model: 'card-gru@1' }, 409],
      [{ action: 'canary', model: 'card-gru@1', share: 7 }, 400], [{ action: 'approve' }, 400], [{ action: 'withdraw' }, 400], [{ action: 'delete' }, 400],
    ] as const
    for (const [wish, status] of refusals) {
      const answer = await call('gru', { ...wish, reason: 'no' })
      assert.deepEqual([wish, answer.statusCode], [wish, status], answer.body)
      assert.doesNotMatch(answer.body, /card-(row|cnn|attention)@1|models\//)
    }
    assert.equal((await call('elsewhere', undefined, '')).statusCode, 403)
    assert.deepEqual((await guarded.app.inject({ url: '/v1/topologies', headers: { 'x-api-key': 'elsewhere' } })).json(), [])
    assert.equal((await call('rolf', { action: 'shadow', model: 'card-row@1', reason: '  ' })).statusCode, 400)
    assert.equal((await call('vera')).json<Release[]>().length, 2, 'nothing was written')
  })

  it('are compared by two models in a process apart, over HTTP', async () => {
    const answer = await call('vera', undefined, '/compare?a=card-gru@1&b=card-row@1&events=1000')
    // no label has ever been written here
    assert.deepEqual([answer.statusCode, answer.json<{ code: string }>().code], [503, 'TOPIC_MISSING'], answer.body)
    assert.equal((await call('gru', undefined, '/compare?a=card-gru@1&b=card-row@1')).statusCode, 403)
  })

  const lettersPath = '/v1/topologies/card-fraud/dead-letters'
  const ask = (who: string, url: string, payload?: object): Promise<LightMyRequestResponse> =>
    guarded.app.inject({ method: payload ? 'POST' : 'GET', url, headers: { 'x-api-key': who }, ...(payload ? { payload } : {}) })
  type Letter = { partition: number; offset: number; cause: string; key: string | null; text: string | null; redriven: { actor: string } | null; redrivenFrom: string | null }

  it('that could not be read are dead letters, whose contents admins see, and that are sent again once', async () => {
    const producer = new Kafka({ brokers: [stack.brokers], logLevel: logLevel.NOTHING }).producer()
    await producer.connect()
    await producer.send({ topic: names.input, messages: [{ key: '4711', value: 'card 4711, 12 euros', headers: { kept: 'yes' } }] })
    await producer.disconnect()
    let letters: Letter[] = []
    for (const endMs = systemClock.monotonicMs() + timeoutMs; letters.length === 0 && systemClock.monotonicMs() < endMs; ) letters = (await ask('vera', lettersPath)).json<Letter[]>()
    assert.equal(letters.length, 1)
    const { partition, offset, cause } = letters[0]!
    assert.equal(cause, 'RECORD_UNDECODABLE')
    const path = `${lettersPath}/${partition}/${offset}`
    const [masked, whole] = [await ask('rolf', path), await ask('ada', path)]
    assert.doesNotMatch(masked.body, /4711|euros|"yes"/)
    assert.deepEqual([whole.json<Letter>().key, whole.json<Letter>().text], ['4711', 'card 4711, 12 euros'])
    assert.equal((await ask('vera', `${path}/redrive`, { reason: 'no' })).statusCode, 403)
    assert.equal((await ask('rolf', `${lettersPath}/${partition}/${offset + 50}/redrive`, { reason: 'no' })).statusCode, 404)
    const sent = await Promise.all([1, 2].map(() => ask('rolf', `${path}/redrive`, { reason: 'the reader is mended' })))
    assert.deepEqual(sent.map(({ statusCode }) => statusCode).sort(), [201, 409], sent.map(({ body }) => body).join())
    for (const endMs = systemClock.monotonicMs() + timeoutMs; letters.length === 1 && systemClock.monotonicMs() < endMs; ) letters = (await ask('vera', lettersPath)).json<Letter[]>()
    assert.equal(letters[1]?.redrivenFrom, `${names.deadLetters}/${partition}/${offset}`)
    assert.equal((await ask('ada', path)).json<Letter>().redriven?.actor, 'rolf')
    const again = (await ask('ada', `${lettersPath}/${letters[1]!.partition}/${letters[1]!.offset}`)).json<{ headers: { name: string; value: string }[]; text: string }>()
    assert.equal(again.text, 'card 4711, 12 euros')
    assert.equal(again.headers.find(({ name }) => name === 'kept')?.value, 'yes')
    assert.equal(again.headers.filter(({ name }) => name === redrivenHeader).length, 1)
    const note = (await textsOf(accessTopics(namespace).audit)).map((text) => JSON.parse(text) as { action: string; actor: string; subject: string }).filter(({ action }) => action === 'dead-letters.redrive')
    assert.deepEqual(note.map(({ actor, subject }) => [actor, subject]), [['rolf', `${names.deadLetters}/${partition}/${offset}`]])
  })

  it('carry tokens where a field is personal, also over a rotation, and dead letters that are encrypted open by role', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'harrier-keys-'))
    const file = join(folder, 'keys.json')
    const keys = createKeyFile(file)
    const text = readFileSync(topology.file, 'utf8').replace('customer:   { path: customer_id, type: text', '$&, personal: true')
    const personal = parseTopology(`${text}\nprivacy: { deadLetters: encrypted }\n`, topology.file)
    const own = topologyNames(personal, 'personal')
    const watched = { connection: { brokers: stack.brokers, registryUrl: stack.registryUrl }, topology: personal, namespace: 'personal', clock: systemClock, logger: silentLogger }
    const open = (privacyKeys: PrivacyKeys): Promise<EngineChain> => openEngine({ ...watched, ...watched.connection, instanceId: 'p', workers: 1, createTopics: { partitions }, privacyKeys })
    let other = await open(keys)
    let run = other.run()
    const gateway = await ScoreGateway.open(watched)
    const [desk, keyless] = [keys, undefined].map((privacyKeys) => new RecordDesk({ ...watched, privacyKeys, auditTopic: accessTopics('personal').audit }))
    const trail = new AuditTrail({ ...watched, instanceId: 'p' })
    const versions = { shelf: new ModelShelf(modelsFolder), audit: trail, trusted: [], device: 'cpu' as const }
    const parts = { gateway, stream: { topology: 'card-fraud', watch: new StreamWatch(watched), desk: desk! }, versions, access: namedAccess({ vera: { role: 'viewer' }, rolf: { role: 'releaser' }, ada: { role: 'admin' } }) }
    const apart = await testService({ parts })
    const call = async (who: string, url: string, payload?: object): Promise<{ status: number; body: string; json: Record<string, unknown> }> => {
      const { statusCode: status, body } = await apart.app.inject({ method: payload ? 'POST' : 'GET', url, headers: { 'x-api-key': who }, ...(payload ? { payload } : {}) })
      return { status, body, json: JSON.parse(body) as Record<string, unknown> }
    }
    type Event = { entity: string; attributes: Record<string, unknown>; lineage: { task: string } }
    const scoreOf = async (): Promise<Event> => (await call('ada', `/v1/score/card-fraud?timeout_ms=${timeoutMs}`, transaction(4711000001))).json as unknown as Event
    try {
      const before = await scoreOf()
      assert.equal(before.entity, tokenOf(keys.tokens[0]!, 'customer', '4711000001'))
      const past = (entity: string, more = ''): string => `/v1/topologies/card-fraud/entities/${entity}/events${more}`
      assert.equal((await call('vera', past('4711000001'))).status, 403)
      for (const [who, entity] of [['vera', before.entity], ['ada', '4711000001']] as const) {
        const { json, body } = await call(who, past(entity))
        assert.equal((json['events'] as unknown[]).length, 1, body)
        assert.ok(!body.includes('4711000001'))
      }
      const producer = new Kafka({ brokers: [stack.brokers], logLevel: logLevel.NOTHING }).producer()
      await producer.connect()
      await producer.send({ topic: own.input, messages: [{ key: '4712', value: 'card 4712', headers: { kept: 'yes' } }] })
      await producer.disconnect()
      let letters: Letter[] = []
      for (const endMs = systemClock.monotonicMs() + timeoutMs; letters.length === 0 && systemClock.monotonicMs() < endMs; ) letters = (await call('vera', lettersPath)).json as unknown as Letter[]
      const { partition, offset } = letters[0]!
      const path = `${lettersPath}/${partition}/${offset}`
      for (const who of ['vera', 'rolf', 'ada']) assert.doesNotMatch((await call(who, path)).body, /card 4712|"4712"|"yes"/)
      assert.equal((await call('rolf', `${path}?clear=true`)).status, 403)
      const shown = (await call('ada', `${path}?clear=true`)).json as unknown as Letter & { encrypted: number }
      assert.deepEqual([shown.key, shown.text, shown.encrypted], ['4712', 'card 4712', 1])
      await assert.rejects(keyless!.deadLetter(partition, offset, { whole: true }), /encrypted under key 1, and no key/)
      await assert.rejects(keyless!.history({ entity: '4711000001', partition: undefined, count: 1 }), /no keys are at hand/)
      assert.equal((await call('rolf', `${path}/redrive`, { reason: 'mended' })).status, 201)
      const notes = (await textsOf(accessTopics('personal').audit)).map((note) => (JSON.parse(note) as { action: string; actor: string }))
      assert.deepEqual(notes.map(({ action, actor }) => `${action} ${actor}`), ['personal.show ada', 'dead-letters.redrive rolf'])
      const inputs: string[] = []
      const reader = new RangeReader({ brokers: stack.brokers, clock: systemClock, logger: silentLogger })
      await reader.start()
      await reader.readRange({ topic: own.input, partition, from: 'earliest', to: 'settled-end' }, (columns) => {
        for (let row = 0; row < columns.count; row++) if (columns.headers(row).some(({ name }) => name === 'kept')) inputs.push(`${Buffer.from(columns.key(row)!).toString()} ${Buffer.from(columns.value(row)!).toString()}`)
      })
      await reader.close()
      assert.deepEqual(inputs, ['4712 card 4712', '4712 card 4712'])

      const rotated = rotateKeys(file, 'tokens')
      await other.stop()
      await run
      other = await open(rotated)
      run = other.run()
      const after = await scoreOf()
      assert.deepEqual([after.entity, after.lineage.task], [before.entity, before.lineage.task])
      assert.equal(after.attributes['customer@2'], tokenOf(rotated.tokens[1]!, 'customer', '4711000001'))
    } finally {
      await other.stop()
      await run
      await apart.close()
      await Promise.all([gateway.close(), desk!.close(), keyless!.close(), trail.close(), parts.stream.watch.close()])
      rmSync(folder, { recursive: true })
    }
  })

  it('are on a page in Chromium, with alerts and their reasons, dead letters, and a release that it makes', { skip: noBrowser }, async () => {
    const url = await guarded.app.listen({ host: '127.0.0.1', port: 0 })
    let open: OpenPage | undefined
    try {
      open = await openPage(url, 20_000)
      const { page, problems } = open
      await signIn(page, 'rolf')
      await page.locator('#state', { hasText: 'running' }).waitFor()
      await page.locator('#scored time').first().waitFor()
      assert.match(await page.locator('#figures').innerText(), /Scored\s+\d+/)
      await page.locator('#alerts button', { hasText: /^2$/ }).first().click()
      await page.getByText(/times the mean amount/).first().waitFor()
      await page.locator('#detail table time').nth(4).waitFor()
      await page.keyboard.press('Escape')

      await page.locator('#dead button').last().click()
      await page.getByText('Its contents are for admins').waitFor()
      await page.getByRole('button', { name: 'Send once more…' }).click()
      assert.match(await confirmWith(page, 'to see it', 'Send it'), /^sent: it is in score\.transactions/)

      await page.locator('#stages tr', { hasText: 'card-row@1' }).getByRole('button', { name: 'Release' }).click()
      assert.match(await confirmWith(page, 'by the page', 'Release'), /^revision 3 is in the ledger/)
      await page.locator('#stages tr', { hasText: 'champion' }).filter({ hasText: 'card-row@1' }).waitFor()
      await page.getByText('Ledger: who, when and why').click()
      await page.locator('#stages tr', { hasText: 'by the page' }).filter({ hasText: 'rolf' }).waitFor()
      await page.setViewportSize({ width: 360, height: 740 })
      await assertReadable(page)
      // A payment shows up while somebody looks.
      const payment = transaction(4242)
      assert.equal((await score(payment)).statusCode, 200)
      await page.locator('#scored tr', { hasText: '4242' }).waitFor()
      await page.getByRole('button', { name: 'Sign out' }).click()
      await signIn(page, 'vera')
      await page.locator('#stages tbody tr').first().waitFor()
      assert.equal(await page.locator('#stages button').count(), 0, 'a viewer has no buttons')
      assert.deepEqual(problems, [])
    } finally {
      await open?.close()
    }
  })
})
