import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import avro from 'avsc'
import { ArchiveLog } from '../../src/audit/archive-log.js'
import { reachOf } from '../../src/audit/archive-index.js'
import { FolderStore } from '../../src/audit/archive-store.js'
import { archiveTopics } from '../../src/audit/archive-writer.js'
import { auditEvents, type Audited } from '../../src/audit/audit.js'
import { idsOnTopic } from '../../src/audit/clear-entities.js'
import { CombinedLog } from '../../src/audit/combined-log.js'
import { ModelFiles } from '../../src/audit/model-files.js'
import { provenanceOf } from '../../src/audit/provenance.js'
import type { RecordLog } from '../../src/audit/record-log.js'
import { sampleScored } from '../../src/audit/scored-sample.js'
import { findScored } from '../../src/audit/scored-search.js'
import { findToken } from '../../src/audit/token-search.js'
import { verdictOf } from '../../src/audit/verdict.js'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import type { ModelLibrary } from '../../src/inference/model-store.js'
import { controlHeader, forgetControl } from '../../src/topology/control-record.js'
import { createKeyFile, type PrivacyKeys } from '../../src/privacy/privacy-keys.js'
import { isToken } from '../../src/privacy/token-text.js'
import { loadTopology, type Topology } from '../../src/topology/load-topology.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import { TopologyTestDriver, type TestRecord } from '../../src/topology/test-driver.js'
import { TestStore, features, gruStep, rowModel, windowDense } from '../inference/test-models.js'
import { card, cardRecord, type Card, hourMs, randomCards, smallTopology, startMs } from '../topology/card-events.js'
import { daysTopology } from '../topology/day-topologies.js'
import { epochMs, paymentRecords, payments } from '../topology/labelled-payments.js'
import { MemoryLog } from './memory-log.js'

const store = new TestStore()
before(() => {
  store.add('gru', gruStep())
  store.add('other', gruStep(9))
  store.add('window', windowDense())
  store.add('row', rowModel())
  const { bytes, manifest } = gruStep()
  store.add('twin', { bytes, manifest: { ...manifest, features: [...features].reverse() } })
  store.add('twin-row', { ...rowModel(), manifest: { ...rowModel().manifest, score: { meaning: 'logit' } } })
})
after(() => store.remove())

interface Ran {
  readonly log: MemoryLog
  readonly topology: Topology
  readonly scored: readonly string[]
  readonly scoredTopic: string
}

/** Records through a driver in small transactions, restarted now and then, with all its topics kept. */
async function run(topology: Topology, records: readonly TestRecord[], { restartEvery = Infinity, batch = 23, keys }: { restartEvery?: number; batch?: number; keys?: PrivacyKeys } = {}): Promise<Ran> {
  let driver = await TopologyTestDriver.open({ topology, models: store.root, startMs, ...(keys ? { privacyKeys: keys } : {}) })
  const log = new MemoryLog(driver.registry)
  const scored: string[] = []
  for (let from = 0; from < records.length; from += batch) {
    driver.clock.advance(500)
    const some = records.slice(from, from + batch)
    log.inputs(driver, some)
    const outputs = await driver.pipe(some)
    log.outputs(outputs)
    scored.push(...outputs.scored.map(({ value }) => (value as { event_id: string }).event_id))
    if ((from / batch) % restartEvery !== restartEvery - 1) continue
    const next = await driver.restart()
    await driver.close()
    driver = next
  }
  const { names } = driver
  await driver.close()
  return { log, topology, scored, scoredTopic: names.scored }
}

async function audit(log: RecordLog, topology: Topology, ids: readonly string[], models: readonly (string | ModelLibrary)[] = [store.root], archive?: ArchiveLog, privacyKeys?: PrivacyKeys): Promise<Audited[]> {
  const topic = `${topology.name}.scored`
  const search = { topic, scanMax: 1e6, onProgress: () => undefined }
  const events = []
  for (const eventId of ids) events.push(await findScored(log, { ...search, eventId }))
  return auditEvents(events, {
    log, topology, topologyOf: async (digest) => archive?.topology(digest), namespace: undefined, models: new ModelFiles(models), device: 'cpu',
    privacyKeys, clock: systemClock, logger: silentLogger, signal: new AbortController().signal, onProgress: () => undefined,
  })
}

function later(record: TestRecord, ms: number): TestRecord {
  const value = record.value as Card
  return { ...record, timestampMs: record.timestampMs! + ms, value: { ...value, transaction_id: value.transaction_id + 10_000, event_time: value.event_time + ms } }
}

const kindsOf = (all: readonly Audited[]): string[] => [...new Set(all.map(({ verdict }) => verdict.kind))]

describe('an audit', () => {
  const topology = smallTopology({ champion: 'gru@1', shadows: ['window@1', 'row@1'], limits: 'checkpointIntervalMs: 2s' })
  let ran: Ran
  before(async () => {
    ran = await run(topology, randomCards(10, 420, { broken: true }), { restartEvery: 4 })
  })

  it('finds every score bit-equal, also out-of-order and late ones, after restarts', async () => {
    const all = await audit(ran.log, topology, ran.scored)
    assert.deepEqual(kindsOf(all), ['equal'], JSON.stringify(all.find(({ verdict }) => verdict.kind !== 'equal')?.verdict))
    assert.ok(all.some(({ event }) => event.late))
    assert.ok(all.every(({ replayed }) => replayed!.decision !== undefined))
  })

  it('rebuilds one event alone, shows its features and the digest of its state, and gives the same whichever way it came there', async () => {
    const id = ran.scored.at(-40)!
    const [near] = await audit(ran.log, topology, [id])
    assert.equal(near!.verdict.kind, 'equal')
    assert.match(near!.basis!, /snapshot of the entity's state/)
    assert.equal(near!.replayed!.features.size, 5)
    const whole = new MemoryLogWithout(ran.log, `${topology.name}.customer.state`)
    const [far] = await audit(whole, topology, [id])
    assert.match(far!.basis!, /the first batch/)
    assert.equal(far!.replayed!.stateDigest, near!.replayed!.stateDigest)
    assert.deepEqual(far!.replayed!.features, near!.replayed!.features)
  })

  it('proves an early copy by the one whose batch committed, and finds one that says something else', async () => {
    const { log, scoredTopic, scored } = ran
    const type = avro.Type.forSchema(loadOwnSchema('scored-event') as avro.Schema)
    const id = scored.at(-60)!
    const { offset, sequence, timestampMs } = await findScored(log, { topic: scoredTopic, eventId: id, scanMax: 1e6, onProgress: () => undefined })
    let original: Buffer | undefined
    log.tamper(scoredTopic, offset, (value) => (original = value))
    const publish = (change: (event: { score: number; lineage: { sequence: number } }) => void): void => {
      const event = type.fromBuffer(original!.subarray(5)) as { score: number; lineage: { sequence: number } }
      event.lineage.sequence = sequence - 1
      change(event)
      log.append(scoredTopic, { timestampMs, key: null, value: Buffer.concat([original!.subarray(0, 5), type.toBuffer(event)]), headers: [] })
    }
    publish(() => undefined)
    const [copy] = await audit(log, topology, [id])
    assert.deepEqual([copy!.event.sequence, copy!.verdict.kind], [sequence - 1, 'equal'])
    assert.match(copy!.basis!, new RegExp(`a copy of offset ${offset}, which counts`))
    const other = scored.at(-61)!
    const place = await findScored(log, { topic: scoredTopic, eventId: other, scanMax: 1e6, onProgress: () => undefined })
    log.tamper(scoredTopic, place.offset, (value) => (original = value))
    publish((event) => (event.score /= 2))
    const [changed] = await audit(log, topology, [other])
    assert.equal(changed!.verdict.kind, 'differs')
  })

  it('finds the scores of turned days bit-equal, those of events between them too, from the first batch and from snapshots, with restarts and labels', async () => {
    const records = randomCards(21, 240, { broken: true })
    for (const topology of [daysTopology({ events: ', events: { field: amount, from: 30000 }' }), daysTopology({ limits: 'batchRecordsMax: 40, turnedPerBatchMax: 16, checkpointIntervalMs: 2s' })]) {
      const { log, scored } = await run(topology, records, { restartEvery: 5 })
      const days = scored.filter((id) => id.includes('@'))
      assert.ok(days.length > 20, `${days.length} days`)
      const all = await audit(log, topology, scored.filter((_, index) => index % 3 === 0))
      assert.deepEqual(kindsOf(all), ['equal'], JSON.stringify(all.find(({ verdict }) => verdict.kind !== 'equal')))
      for (const id of [days.at(-1)!, days.at(-9)!]) {
        const [near] = await audit(log, topology, [id])
        const [far] = await audit(new MemoryLogWithout(log, `${topology.name}.account.state`), topology, [id])
        assert.deepEqual([near!.verdict.kind, far!.verdict.kind, far!.replayed!.features.size], ['equal', 'equal', 5])
        assert.equal(near!.replayed!.stateDigest, far!.replayed!.stateDigest)
      }
      const event = await findScored(log, { topic: 'days.scored', eventId: days[10]!, scanMax: 1e6, onProgress: () => undefined })
      const honest = (await audit(log, topology, [event.eventId]))[0]!.replayed!
      assert.equal(verdictOf({ ...honest, event: { ...event, scores: event.scores.map((each) => ({ ...each, score: each.score / 2 })) } }).kind, 'differs')
      const provenance = await provenanceOf(log, event, topology, undefined, new ModelFiles([store.root]))
      assert.equal(provenance.input, 'day')
    }
  })

  it('tells versions apart that have the same file and read it in different ways, and knows neither when its manifest was changed', async () => {
    const twins = smallTopology({ champion: 'gru@1', shadows: ['row@1', 'twin-row@1'], limits: 'checkpointIntervalMs: 2s' })
    const { log, scored } = await run(twins, randomCards(10, 300), { restartEvery: 3 })
    const all = await audit(log, twins, scored)
    assert.deepEqual(kindsOf(all), ['equal'], JSON.stringify(all.find(({ verdict }) => verdict.kind !== 'equal')?.verdict))
    const last = all.at(-1)!.event
    const scoreOf = (model: string): number => last.scores.find((each) => each.model === model)!.score
    assert.ok(scoreOf('twin-row@1') !== scoreOf('row@1'))
    const states = smallTopology({ champion: 'gru@1', shadows: ['twin@1'] })
    await assert.rejects(TopologyTestDriver.open({ topology: states, models: store.root, startMs }), { code: 'MODEL_INVALID', message: /gru@1 and twin@1 carry states of the same file/ })
    const changed = new TestStore()
    try {
      for (const name of ['gru', 'row']) cpSync(join(store.root, name), join(changed.root, name), { recursive: true })
      changed.add('twin-row', rowModel())
      const [found] = await audit(log, twins, [last.eventId], [changed.root])
      assert.ok(found!.verdict.kind === 'unavailable' && /no folder has twin-row@1/.test(found!.verdict.why), JSON.stringify(found!.verdict))
      const { models } = await provenanceOf(log, last, twins, undefined, new ModelFiles([changed.root]))
      assert.equal(models.filter(({ file }) => file === undefined).length, 1)
    } finally {
      changed.remove()
    }
  })

  it('finds a score that was tampered with, a decision, and a score that a batch never gave', async () => {
    const { log, scored } = await run(topology, randomCards(6, 200))
    const event = await findScored(log, { topic: ran.scoredTopic, eventId: scored[150]!, scanMax: 1e6, onProgress: () => undefined })
    const float = Buffer.alloc(4)
    float.writeFloatLE(event.scores[1]!.score)
    log.tamper(ran.scoredTopic, event.offset, (value) => {
      const at = value.indexOf(float)
      assert.ok(at > 0)
      value[at]! ^= 1
      return value
    })
    const [found] = await audit(log, topology, [event.eventId])
    assert.equal(found!.verdict.kind, 'differs')
    assert.ok(found!.verdict.kind === 'differs' && found!.verdict.what.some((text) => text.includes(event.scores[1]!.model)))
    const honest = (await audit(log, topology, [scored[100]!]))[0]!.replayed!
    assert.equal(verdictOf({ ...honest, event: { ...honest.event, decision: honest.event.decision === 'APPROVE' ? 'DECLINE' : 'APPROVE' } }).kind, 'differs')
    assert.equal(verdictOf({ ...honest, event: { ...honest.event, score: honest.event.score / 2 } }).kind, 'differs')
    assert.equal(verdictOf({ ...honest, event: { ...honest.event, late: !honest.event.late } }).kind, 'differs')
  })

  it('goes by the record behind a token without a key, proves the token with one, and needs one for a day that turned', async () => {
    const keys = createKeyFile(join(store.root, 'keys.json'))
    const stranger = { ...keys, tokens: keys.tokens.map((each) => ({ ...each, key: createSecretKey(randomBytes(32)) })) }
    const personal = smallTopology({ shadows: ['row@1'], personal: true })
    const { log, scored } = await run(personal, [...randomCards(4, 150), { key: 'c1', value: null, timestampMs: startMs, headers: { [controlHeader]: forgetControl } }], { keys })
    const kinds = async (topology: Topology, of: MemoryLog, ids: readonly string[], own?: PrivacyKeys): Promise<string> => kindsOf(await audit(of, topology, ids, [store.root], undefined, own)).sort().join()
    assert.equal(await kinds(personal, log, scored), 'equal,erased')
    assert.equal(await kinds(personal, log, scored, keys), 'equal,erased')
    assert.equal(await kinds(personal, log, scored, stranger), 'differs')
    const all = await audit(log, personal, scored)
    assert.ok(all.every(({ event }) => isToken(event.entity)))
    const token = all.find(({ verdict }) => verdict.kind === 'erased')!.event.entity
    assert.deepEqual(await findToken(log, { topology: personal, namespace: undefined, keys, token, partition: undefined, scanMax: 1e6, onProgress: () => undefined }).then(({ field, value }) => [field, value]), ['customer', 'c1'])
    const turned = daysTopology({ personal: true })
    const days = await run(turned, randomCards(21, 160), { keys })
    const ids = days.scored.slice(0, 20)
    assert.ok(ids.every((id) => isToken(id.split('@')[0]!)))
    assert.equal(await kinds(turned, days.log, ids), 'unavailable')
    assert.equal(await kinds(turned, days.log, ids, keys), 'equal')
    const asked = `${(await findToken(days.log, { topology: turned, namespace: undefined, keys, token: ids[0]!.split('@')[0]!, partition: undefined, scanMax: 1e6, onProgress: () => undefined })).value}@${ids[0]!.split('@')[1]!}`
    assert.ok(idsOnTopic(asked, turned, keys).includes(ids[0]!))
  })

  it('says on another device class that a score is within tolerance, and by how much it differs, or that it differs', async () => {
    const { replayed } = (await audit(ran.log, topology, [ran.scored[200]!]))[0]!
    const elsewhere = { ...replayed!, deviceClass: 'onnxruntime-9 cpu arm64-neon node-30' }
    const [first, ...others] = replayed!.event.scores
    const moved = { ...elsewhere, scores: new Map(replayed!.scores).set(first!.model, Math.fround(first!.score + 1e-6)) }
    const verdict = verdictOf(moved)
    assert.ok(verdict.kind === 'within-tolerance' && verdict.largestDifference > 0 && verdict.largestDifference < 1e-5)
    assert.equal(verdictOf(elsewhere).kind, 'equal')
    assert.equal(verdictOf({ ...elsewhere, scores: new Map(replayed!.scores).set(others[0]!.model, 0.5 + others[0]!.score) }).kind, 'differs')
    assert.equal(verdictOf({ ...moved, deviceClass: replayed!.deviceClass }).kind, 'differs', 'on the same class nothing may differ')
  })

  it('says that a score is unavailable where input, lineage or a model is not kept any more', async () => {
    const { log, scored } = await run(topology, randomCards(8, 200))
    const inputGone = new MemoryLogWithout(log, `${topology.name}.customer.state`)
    log.truncate('transactions', 30)
    const [gone] = await audit(inputGone, topology, [scored[150]!])
    assert.ok(gone!.verdict.kind === 'unavailable' && /kept from offset 30/.test(gone!.verdict.why), JSON.stringify(gone!.verdict))
    const [noModel] = await audit(ran.log, topology, [ran.scored[100]!], [join(store.root, 'absent')])
    assert.ok(noModel!.verdict.kind === 'unavailable' && /no folder has gru@1/.test(noModel!.verdict.why))
    log.truncate(`${topology.name}.lineage`, 1e9)
    assert.equal((await audit(log, topology, [scored[150]!]))[0]!.verdict.kind, 'unavailable')
    const other = smallTopology({ champion: 'gru@1', shadows: ['window@1', 'row@1'], grace: '2h' })
    const [changed] = await audit(ran.log, other, [ran.scored[100]!])
    assert.ok(changed!.verdict.kind === 'unavailable' && /give the topology of that time/.test(changed!.verdict.why))
  })

  it('answers erased for an entity that was forgotten after the event, and for no other', async () => {
    const records = [...randomCards(9, 150), { key: 'c1', value: null, timestampMs: startMs, headers: { [controlHeader]: forgetControl } }]
    const { log, scored } = await run(topology, records)
    const all = await audit(log, topology, scored)
    for (const { event, verdict } of all) assert.equal(verdict.kind, event.entity === 'c1' ? 'erased' : 'equal')
    assert.ok(kindsOf(all).length === 2)
  })

  it('runs the models that the lineage names, whatever the topology says now', async () => {
    const driver = await TopologyTestDriver.open({ topology, models: store.root, startMs })
    const log = new MemoryLog(driver.registry)
    // The last event before the change is of an entity that never comes back: nothing is folded again under the other models.
    const records = [...randomCards(10, 130), cardRecord(card(999, 'alone', startMs + 1000 * hourMs)), ...randomCards(15, 130).map((record) => later(record, 1001 * hourMs))]
    log.inputs(driver, records.slice(0, 130))
    log.outputs(await driver.pipe(records.slice(0, 130), 20))
    driver.clock.advance(10_000)
    log.inputs(driver, records.slice(130, 131))
    log.outputs(await driver.pipe(records.slice(130, 131)))
    const changed = smallTopology({ champion: 'other@1', shadows: ['row@1'], limits: 'checkpointIntervalMs: 2s' })
    const next = await driver.restart({ topology: changed })
    log.inputs(next, records.slice(131))
    log.outputs(await next.pipe(records.slice(131), 20))
    const events = await sampleScored(log, { topic: ran.scoredTopic, partition: undefined, count: 500, seed: 1, signal: new AbortController().signal })
    const all = await audit(log, changed, events.map(({ eventId }) => eventId))
    assert.deepEqual(kindsOf(all), ['equal'], JSON.stringify(all.find(({ verdict }) => verdict.kind !== 'equal')))
    assert.deepEqual([...new Set(all.map(({ event }) => event.model))].sort(), ['gru@1', 'other@1'])
    await driver.close()
    await next.close()
  })
})

describe('an audit of a second stage with labels', () => {
  it('finds every score bit-equal, from the labels that came into effect then', async () => {
    const topology = loadTopology('card-terminal')
    const driver = await TopologyTestDriver.open({ topology, startMs: epochMs })
    const log = new MemoryLog(driver.registry)
    const { events, labels } = paymentRecords(payments(700))
    log.inputs(driver, labels, 'labels')
    await driver.label(labels)
    log.inputs(driver, events)
    for (let from = 0; from < events.length; from += 101) {
      driver.clock.advance(4000)
      log.outputs(await driver.pipe(events.slice(from, from + 101)))
    }
    await driver.close()
    const sample = await sampleScored(log, { topic: 'card-terminal.scored', partition: undefined, count: 150, seed: 3, signal: new AbortController().signal })
    const all = await audit(log, topology, sample.map(({ eventId }) => eventId), [modelsFolder])
    assert.equal(all.length, 150)
    assert.deepEqual(kindsOf(all), ['equal'], JSON.stringify(all.find(({ verdict }) => verdict.kind !== 'equal')?.verdict))
    const provenance = await provenanceOf(log, sample[0]!, topology, undefined, new ModelFiles([modelsFolder]))
    assert.equal(provenance.models[0]!.model, 'card-terminal@1')
    assert.ok(provenance.models.every(({ file }) => file !== undefined))
    assert.deepEqual([provenance.topology.sameFeatures, provenance.topology.samePolicy, provenance.topology.sameLayout], [true, true, true])
    assert.ok(typeof provenance.input === 'object')
    assert.ok(provenance.input.offset >= provenance.lineage.inputs[0]!.from && provenance.input.offset < provenance.lineage.inputs[0]!.to)
  })
})

describe('an archive', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-archive-test-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  const topology = smallTopology({ champion: 'gru@1', shadows: ['window@1', 'row@1'], limits: 'checkpointIntervalMs: 2s' })

  before(() => {
    mkdirSync(join(folder, 'topologies'))
    mkdirSync(join(folder, 'schemas'))
    writeFileSync(join(folder, 'topologies', 'small.yaml'), 'name: small\nsource: { schema: ../schemas/transaction.avsc }\n')
    writeFileSync(join(folder, 'schemas', 'transaction.avsc'), JSON.stringify(loadOwnSchema('transaction')))
  })

  function archiveInto(log: RecordLog, name: string, warnings: string[] = []): Promise<{ segments: number; records: number }> {
    return archiveTopics({
      log, store: new FolderStore(join(folder, name)), topology: { ...topology, file: join(folder, 'topologies', 'small.yaml') }, namespace: undefined,
      models: new ModelFiles([store.root]), signal: new AbortController().signal, onProgress: () => undefined, onWarning: (text) => warnings.push(text),
    })
  }

  it('makes audits possible after the topics were truncated, and without the broker, its registry and the models', async () => {
    const { log, scored, scoredTopic } = await run({ ...topology }, randomCards(12, 300))
    const added = await archiveInto(log, 'first')
    assert.ok(added.records > 600)
    assert.deepEqual(await archiveInto(log, 'first'), { segments: 0, records: 0 }, 'nothing has come since')
    for (const name of ['transactions', `${topology.name}.lineage`, scoredTopic]) log.truncate(name, (await log.bounds(name, 0))!.to)
    const archive = await ArchiveLog.open(new FolderStore(join(folder, 'first')))
    const alone = await audit(archive, topology, scored, [archive.models])
    assert.deepEqual(kindsOf(alone), ['equal'])
    const beside = await audit(new CombinedLog([archive, log]), topology, scored.slice(-5))
    assert.deepEqual(kindsOf(beside), ['equal'])
    const reach = reachOf(archive.index).find(({ topic }) => topic === 'transactions')!
    assert.deepEqual([reach.from, reach.to, reach.records, reach.gaps.length], [0, 300, 300, 0])
  })

  it('keeps the files of each version, where two have the same graph', async () => {
    const twins = { ...smallTopology({ champion: 'gru@1', shadows: ['row@1', 'twin-row@1'] }), file: join(folder, 'topologies', 'small.yaml') }
    const { log, scored } = await run(twins, randomCards(12, 60))
    await archiveInto(log, 'twins')
    const archive = await ArchiveLog.open(new FolderStore(join(folder, 'twins')))
    assert.deepEqual(archive.index.models.map(({ model }) => model), ['gru@1', 'row@1', 'twin-row@1'])
    assert.deepEqual(kindsOf(await audit(archive, twins, scored, [archive.models])), ['equal'])
  })

  it('is not believed where a segment was changed', async () => {
    const segments = join(folder, 'first', 'segments', 'transactions', '0')
    const [file] = readdirSync(segments)
    writeFileSync(join(segments, file!), 'something else')
    const archive = await ArchiveLog.open(new FolderStore(join(folder, 'first')))
    const events = await sampleScored(archive, { topic: `${topology.name}.scored`, partition: undefined, count: 3, seed: 1, signal: new AbortController().signal })
    const all = await audit(archive, topology, events.map(({ eventId }) => eventId), [store.root])
    assert.ok(all.every(({ verdict }) => verdict.kind === 'unavailable' && /sha256/.test(verdict.why)), JSON.stringify(all[0]!.verdict))
  })

  it('adds what has come, keeps a snapshot of the state each time, and says what was gone before it came', async () => {
    const driver = await TopologyTestDriver.open({ topology, models: store.root, startMs })
    const log = new MemoryLog(driver.registry)
    const records = randomCards(13, 300)
    const warnings: string[] = []
    const step = async (from: number, to: number): Promise<void> => {
      for (let at = from; at < to; at += 20) {
        driver.clock.advance(1000)
        log.inputs(driver, records.slice(at, at + 20))
        log.outputs(await driver.pipe(records.slice(at, at + 20)))
      }
    }
    await step(0, 120)
    await archiveInto(log, 'second', warnings)
    await step(120, 200)
    await archiveInto(log, 'second', warnings)
    await step(200, 300)
    log.truncate('transactions', 240)
    await archiveInto(log, 'second', warnings)
    await driver.close()
    assert.deepEqual(warnings, ['transactions/0: offsets 200 to 240 were gone before they could be archived; archive more often, or raise the topic\'s retention'])
    const archive = await ArchiveLog.open(new FolderStore(join(folder, 'second')))
    assert.deepEqual(reachOf(archive.index).find(({ topic }) => topic === 'transactions')!.gaps, [{ from: 200, to: 240 }])
    const ids = records.map(({ value }) => String((value as { transaction_id: number }).transaction_id))
    const known = await audit(archive, topology, ids.slice(100, 190), [archive.models])
    assert.deepEqual(kindsOf(known), ['equal'])
    const [near] = await audit(archive, topology, [ids[190]!], [archive.models])
    assert.match(near!.basis!, /snapshot/)
    const [lost] = await audit(archive, topology, [ids[215]!], [archive.models])
    assert.equal(lost!.verdict.kind, 'unavailable')
  })

  it('finds scored events near a time', async () => {
    const { log, scored, scoredTopic } = await run(topology, randomCards(14, 200).map((record, i) => ({ ...record, timestampMs: startMs + i * hourMs })))
    const found = await findScored(log, { topic: scoredTopic, eventId: scored[100]!, atMs: startMs + 100 * hourMs, scanMax: 1000, onProgress: () => undefined })
    assert.equal(found.eventId, scored[100])
    await assert.rejects(findScored(log, { topic: scoredTopic, eventId: scored[100]!, atMs: startMs + 150 * hourMs, scanMax: 1000, onProgress: () => undefined }), /no scored event/)
    await assert.rejects(findScored(log, { topic: scoredTopic, eventId: scored[0]!, scanMax: 0, onProgress: () => undefined }), /there are more/)
  })
})

/** A log of which one topic is empty. */
class MemoryLogWithout implements RecordLog {
  constructor(
    readonly log: MemoryLog,
    readonly without: string,
  ) {}

  partitions(topic: string): Promise<number | undefined> {
    return this.log.partitions(topic)
  }

  bounds(topic: string, partition: number): ReturnType<RecordLog['bounds']> {
    return topic === this.without ? Promise.resolve(undefined) : this.log.bounds(topic, partition)
  }

  offsetAtTime(...args: Parameters<RecordLog['offsetAtTime']>): Promise<number> {
    return this.log.offsetAtTime(...args)
  }

  read(...args: Parameters<RecordLog['read']>): Promise<void> {
    return this.log.read(...(args as Parameters<MemoryLog['read']>))
  }

  schemaById(id: number): Promise<object> {
    return this.log.schemaById(id)
  }

  isUnknownId(id: number): boolean {
    return this.log.isUnknownId(id)
  }
}
