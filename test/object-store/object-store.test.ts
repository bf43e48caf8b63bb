import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ArchiveLog } from '../../src/audit/archive-log.js'
import { archiveTopics } from '../../src/audit/archive-writer.js'
import { auditEvents, type Audited } from '../../src/audit/audit.js'
import { ModelFiles } from '../../src/audit/model-files.js'
import { ObjectArchive } from '../../src/audit/object-archive.js'
import { findScored } from '../../src/audit/scored-search.js'
import { systemClock, type Clock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import { environmentObjectStore } from '../../src/connection/object-store.js'
import { Secret } from '../../src/connection/secret.js'
import type { ObjectStoreAccess } from '../../src/connection/security.js'
import { modelDigest } from '../../src/inference/manifest.js'
import { ObjectStore } from '../../src/object-store/object-store.js'
import { parseObjectUrl } from '../../src/object-store/object-url.js'
import { ObjectModels } from '../../src/registry/object-models.js'
import type { Registered } from '../../src/registry/register-model.js'
import { releasedUses } from '../../src/topology/released-models.js'
import { TopologyTestDriver } from '../../src/topology/test-driver.js'
import { MemoryLog } from '../audit/memory-log.js'
import { makeCertificate } from '../broker/certificates.js'
import { gruStep, rowModel, TestStore } from '../inference/test-models.js'
import { randomCards, smallTopology, startMs } from '../topology/card-events.js'
import { S3Front, s3Credentials, startS3Server, whyNoS3, type S3Server } from './s3-server.js'

const why = await whyNoS3()

/** Waits of a client that is to be tried again take no time. */
const hurried: Clock = { ...systemClock, sleep: () => Promise.resolve() }

describe('an object store', { skip: why ?? false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-objects-'))
  const made = new TestStore()
  const authority = makeCertificate({ commonName: 'Store Authority' })
  let server: S3Server
  let front: S3Front
  let secured: string

  before(async () => {
    server = await startS3Server(['models', 'kept'])
    front = new S3Front(server.endpoint, makeCertificate({ commonName: 'store', issuer: authority }))
    secured = await front.listen()
  })
  after(async () => {
    await front.close()
    await server.stop()
    made.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  function access(more: Partial<ObjectStoreAccess> & { readonly secret?: string; readonly accessKeyId?: string } = {}): ObjectStoreAccess {
    const { secret = s3Credentials.secretAccessKey, accessKeyId = s3Credentials.accessKeyId, ...rest } = more
    return { endpoint: server.endpoint, region: 'us-east-1', pathStyle: true, credentials: () => ({ accessKeyId, secretAccessKey: new Secret(secret) }), ...rest }
  }
  const overTls = (): ObjectStoreAccess => access({ endpoint: secured, tls: { ca: authority.certificate, verifyHostname: true } })
  const at = (url: string, how = access()): ObjectStore => new ObjectStore({ access: how, place: parseObjectUrl(url), clock: hurried, logger: silentLogger, limits: { idleMsMax: 5000 } })
  const models = (copies: string, url = 's3://models/risk', how = access(), bytesMax?: number): ObjectModels => new ObjectModels({ store: at(url, how), folder: join(folder, copies), logger: silentLogger, ...(bytesMax === undefined ? {} : { bytesMax }) })
  const register = (into: ObjectModels, from: string, actor = 'anna'): Promise<Registered> => into.register({ folder: from, actor, device: 'cpu', harrier: '0.0.0', clock: systemClock })

  describe('with model versions', () => {
    before(async () => {
      for (const [name, model] of [['gru', gruStep()], ['row', rowModel()]] as const) await register(models('desk'), made.add(name, model).folder)
    })

    it('lists and describes what was registered, without its files', async () => {
      const there = models('listed')
      assert.deepEqual(await there.list(), ['gru@1', 'row@1'])
      const { model, bytes, registration } = await there.describe('gru@1')
      assert.equal(registration!.actor, 'anna')
      assert.equal(bytes, readFileSync(join(made.root, 'gru', '1', 'model.onnx')).length)
      assert.equal(registration!.sha256, modelDigest(model.manifest))
      assert.ok(!existsSync(join(folder, 'listed')), 'nothing was copied')
    })

    it('gives a stage its released models in another folder, each fetched once, and the scores of a folder', async () => {
      const topology = smallTopology({ champion: 'row@1' })
      const library = models('engine', 's3://models/risk', overTls())
      const released = { revision: 3, models: [{ role: 'champion' as const, model: 'gru@1', sha256: modelDigest(made.add('gru', gruStep()).manifest), share: 1, epoch: 4 }] }
      const [use] = await releasedUses(topology, released, library)
      assert.equal(use!.model.folder, join(folder, 'engine', 'gru', '1'))
      const before = front.requests
      await releasedUses(topology, released, library)
      assert.equal(front.requests, before, 'what is here is asked for no more')
      await assert.rejects(releasedUses(topology, { revision: 3, models: [{ ...released.models[0]!, sha256: '0'.repeat(64) }] }, library), { code: 'MODEL_INVALID', message: /was released/ })
      const records = randomCards(3, 120)
      const scoresBy = async (from: string | ObjectModels): Promise<unknown[]> => {
        const driver = await TopologyTestDriver.open({ topology: smallTopology({ champion: 'gru@1' }), models: from, startMs })
        const { scored } = await driver.pipe(records)
        await driver.close()
        return scored.map(({ value }) => (value as { scores: unknown }).scores)
      }
      assert.deepEqual(await scoresBy(library), await scoresBy(made.root))
    })

    it('never replaces a version: the same files change nothing, others are refused, and a registration that was cut off is completed', async () => {
      const into = models('desk')
      assert.deepEqual([(await register(into, join(made.root, 'gru', '1'), 'bert')).isNew, (await into.describe('gru@1')).registration!.actor], [false, 'anna'])
      const other = new TestStore()
      await assert.rejects(register(into, other.add('gru', gruStep(9)).folder), { code: 'RELEASE_REFUSED', message: /gru@1 is in s3:\/\/models\/risk already, and model.yaml, model.onnx differ/ })
      // Another process is between its look and its write: the server's condition holds.
      assert.equal(await at('s3://models/risk').writeText('gru/1/model.onnx', 'other', { absent: true }), undefined)
      const cut = other.add('cut', rowModel()).folder
      await register(into, cut)
      rmSync(join(server.bucketFolder('models'), 'risk', 'cut', '1', 'model.yaml'))
      assert.deepEqual(await into.list(), ['gru@1', 'row@1'], 'without a manifest it is not there')
      await register(into, cut)
      assert.equal((await models('completed').load('cut@1')).reference, 'cut@1')
      other.remove()
    })

    it('is refused where an object was altered, where one is missing, and where there is no room', async () => {
      const file = join(server.bucketFolder('models'), 'risk', 'cut', '1', 'model.onnx')
      const honest = readFileSync(file)
      await at('s3://models/risk').writeText('cut/1/model.onnx', 'something else')
      await assert.rejects(models('altered').find('cut@1'), { code: 'MODEL_INVALID', message: /cut@1: s3:\/\/models\/risk\/cut\/1\/model\.onnx has sha256 [0-9a-f]{64}, and sha256 [0-9a-f]{64} was registered/ })
      assert.deepEqual(readdirSync(join(folder, 'altered', 'cut')), [], 'nothing is left')
      rmSync(file)
      await assert.rejects(models('altered').find('cut@1'), { code: 'MODEL_INVALID', message: /model\.onnx is not there/ })
      writeFileSync(file, honest)
      await assert.rejects(models('altered').find('none@1'), { code: 'MODEL_NOT_FOUND', remedy: /these are there: cut@1, gru@1, row@1/ })
      await assert.rejects(models('full', 's3://models/risk', access(), 1000).find('gru@1'), { code: 'LIMIT_EXCEEDED', message: /gru@1 has .*1,?000|1 KB|used/ })
    })
  })

  describe('with an archive', () => {
    const topology = smallTopology({ champion: 'gru@1', limits: 'checkpointIntervalMs: 2s' })
    const archive = (how = access()): ObjectArchive => new ObjectArchive({ store: at('s3://kept/years', how), modelStore: at('s3://kept/years/models', how) })
    let log: MemoryLog
    let scored: string[]

    before(async () => {
      const driver = await TopologyTestDriver.open({ topology, models: made.root, startMs })
      log = new MemoryLog(driver.registry)
      scored = []
      const records = randomCards(12, 200)
      for (let from = 0; from < records.length; from += 25) {
        driver.clock.advance(1000)
        log.inputs(driver, records.slice(from, from + 25))
        const outputs = await driver.pipe(records.slice(from, from + 25))
        log.outputs(outputs)
        scored.push(...outputs.scored.map(({ value }) => (value as { event_id: string }).event_id))
      }
      await driver.close()
    })

    function archiveInto(store: ObjectArchive): Promise<{ segments: number; records: number }> {
      return archiveTopics({
        log, store, topology: { ...topology, file: topologyFile() }, namespace: undefined, models: new ModelFiles([made.root]),
        signal: new AbortController().signal, onProgress: () => undefined, onWarning: (text) => assert.fail(text),
      })
    }

    function topologyFile(): string {
      for (const each of ['topologies', 'schemas']) mkdirSync(join(folder, each), { recursive: true })
      const file = join(folder, 'topologies', 'small.yaml')
      writeFileSync(join(folder, 'schemas', 'transaction.avsc'), JSON.stringify(loadOwnSchema('transaction')))
      writeFileSync(file, 'name: small\nsource: { schema: ../schemas/transaction.avsc }\n')
      return file
    }

    async function audited(store: ObjectArchive, ids: readonly string[]): Promise<Audited[]> {
      const kept = await ArchiveLog.open(store)
      const events = []
      for (const eventId of ids) events.push(await findScored(kept, { topic: `${topology.name}.scored`, eventId, scanMax: 1e6, onProgress: () => undefined }))
      return auditEvents(events, {
        log: kept, topology, topologyOf: () => Promise.resolve(undefined), namespace: undefined, models: new ModelFiles([kept.models]), device: 'cpu', clock: systemClock, logger: silentLogger, signal: new AbortController().signal, onProgress: () => undefined,
      })
    }

    it('audits to the bit from the archive alone, models included', async () => {
      const writer = archive()
      assert.ok((await archiveInto(writer)).records > 400)
      assert.deepEqual(await archiveInto(writer), { segments: 0, records: 0 })
      writer.close()
      const reader = archive(overTls())
      const all = await audited(reader, scored.slice(-40))
      reader.close()
      assert.deepEqual([...new Set(all.map(({ verdict }) => verdict.kind))], ['equal'])
    })

    it('lets one write at a time: what another has written since is not undone', async () => {
      const [first, second] = [archive(), archive()]
      const index = await first.readText('archive.json')
      await second.readText('archive.json')
      await first.writeText('archive.json', `${index}\n`)
      await assert.rejects(second.writeText('archive.json', index!), { code: 'STORE_REFUSED', message: /was written by another process since it was read/ })
      await first.writeText('archive.json', index!)
      for (const each of [first, second]) each.close()
    })

    it('does not believe a segment that was altered', async () => {
      const segments = join(server.bucketFolder('kept'), 'years', 'segments', 'transactions', '0')
      writeFileSync(join(segments, readdirSync(segments)[0]!), 'something else')
      const reader = archive()
      const [one] = await audited(reader, scored.slice(-1))
      reader.close()
      assert.ok(one!.verdict.kind === 'unavailable' && /sha256/.test(one!.verdict.why), JSON.stringify(one!.verdict))
    })
  })

  describe('that says no', () => {
    const list = (how: ObjectStoreAccess, url = 's3://models/risk'): Promise<unknown> => at(url, how).list('')

    it('is told of in words that say what to do, without a secret', async () => {
      const secret = 'peregrine-81c0'
      const cases: [() => Promise<unknown>, object][] = [
        [() => list(access({ secret })), { code: 'AUTHENTICATION_FAILED', message: /does not accept our credentials/, remedy: /secretAccessKey/ }],
        [() => list(access({ accessKeyId: 'nobody', secret })), { code: 'AUTHENTICATION_FAILED' }],
        [() => list(access(), 's3://nowhere/x'), { code: 'NOT_FOUND', message: /there is no bucket nowhere/, remedy: /create it/ }],
        [() => at('s3://nowhere').writeText('x', 'y'), { code: 'NOT_FOUND', message: /there is no bucket nowhere/ }],
        [() => list(access({ endpoint: secured })), { code: 'CERTIFICATE_REFUSED', message: /authority/ }],
        [() => list(access({ endpoint: 'http://127.0.0.1:9' })), { code: 'STORE_UNAVAILABLE', message: /tried 5 times: .*ECONNREFUSED/ }],
      ]
      for (const [asked, expected] of cases) {
        await assert.rejects(asked(), (error: Error & { remedy: string }) => {
          assert.ok(!`${error.stack} ${error.message} ${error.remedy}`.includes(secret))
          assert.throws(() => { throw error }, expected)
          return true
        })
      }
      assert.throws(() => parseObjectUrl('s3://models/../x'), { code: 'USAGE' })
      assert.throws(() => environmentObjectStore({}), { code: 'CONFIG_INVALID', remedy: /AWS_REGION/ })
      assert.throws(() => environmentObjectStore({ AWS_REGION: 'eu-central-1' }).credentials(), { code: 'CONFIG_INVALID', message: /AWS_ACCESS_KEY_ID is not set/ })
    })

    it('is asked again while it stumbles, five times at most, and each time with a new signature', async () => {
      front.troubles.push({ status: 503, code: 'SlowDown' }, 'cut', { status: 500, code: 'InternalError' })
      assert.deepEqual((await at('s3://models/risk', overTls()).list('gru/1/m')).map(({ key }) => key), ['gru/1/model.onnx', 'gru/1/model.yaml'])
      const before = front.requests
      front.troubles.push(...Array.from({ length: 5 }, () => ({ status: 503, code: 'SlowDown' })))
      await assert.rejects(at('s3://models/risk', overTls()).list(''), { code: 'STORE_UNAVAILABLE', message: /tried 5 times: status 503 SlowDown/ })
      assert.equal(front.requests - before, 5)
      front.troubles.push({ status: 501, code: 'NotImplemented' })
      assert.equal(await at('s3://models/risk', overTls()).writeText('gru/1/model.onnx', 'other', { absent: true }), undefined, 'where a server knows no conditions, what is there is looked at')
      front.troubles.push({ status: 403, code: 'AccessDenied' })
      await assert.rejects(at('s3://models/risk', overTls()).readText('x'), { code: 'NOT_AUTHORIZED', remedy: /s3:GetObject/ })
    })
  })
})
