import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { exportModel } from '../../src/registry/model-package.js'
import { ModelShelf } from '../../src/registry/model-shelf.js'
import type { Registration } from '../../src/inference/registration.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import { gruStep, TestStore } from '../inference/test-models.js'
import { namedAccess } from './named-access.js'
import { testService, type TestService } from './web-fixture.js'

describe('model versions over HTTP', { timeout: 60_000 }, () => {
  const store = new TestStore()
  const folder = mkdtempSync(join(tmpdir(), 'harrier-versions-'))
  const root = join(folder, 'models')
  const ours = generateKeyPairSync('ed25519')
  const theirs = generateKeyPairSync('ed25519')
  const file = join(folder, 'gru.harrier-model')
  const temporary = join(folder, 'temporary')
  const { TMPDIR } = process.env
  let service: TestService
  let registering: TestService

  before(async () => {
    mkdirSync(temporary)
    process.env.TMPDIR = temporary
    const access = namedAccess({ vera: { role: 'viewer' }, rolf: { role: 'releaser' }, row: { role: 'releaser', models: ['card-row'] } })
    const parts = { device: 'cpu', trusted: [ours.publicKey] } as const
    service = await testService({ parts: { access, versions: { ...parts, shelf: new ModelShelf(modelsFolder) } } })
    registering = await testService({ parts: { access, versions: { ...parts, shelf: new ModelShelf(root) } } })
    exportModel({ folder: store.add('gru', gruStep()).folder, out: file, key: ours.privateKey, actor: 'anna', nowMs: 0, harrier: '0' })
  })
  after(async () => {
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
    await service.close()
    await registering.close()
    store.remove()
    rmSync(folder, { recursive: true })
  })
  const get = (who: string, url: string, more: InjectOptions = {}): Promise<LightMyRequestResponse> => service.app.inject({ url, headers: { 'x-api-key': who }, ...more })
  const register = (who: string, payload: Buffer): Promise<LightMyRequestResponse> =>
    registering.app.inject({ method: 'POST', url: '/v1/models', payload, headers: { 'x-api-key': who, 'content-type': 'application/octet-stream' } })

  it('are listed and shown as the command line does, with a card', async () => {
    const all = (await get('vera', '/v1/models')).json<{ model: string; kind: string }[]>()
    assert.deepEqual(all.find(({ model }) => model === 'card-gru@1')?.kind, 'recurrent')
    const shown = (await get('vera', '/v1/models/card-gru/versions/1')).json<{ manifest: { features: string[] }; registration: null }>()
    assert.deepEqual([shown.manifest.features.length, shown.registration], [14, null])
    const card = await get('vera', '/v1/models/card-gru/versions/1/card')
    assert.match(card.headers['content-type'] as string, /^text\/markdown/)
    assert.match(card.body, /^# Model card: card-gru@1\n/)
    assert.deepEqual((await get('vera', '/v1/topologies')).json(), [])
  })

  it('that a key is not for are neither listed nor told of anywhere', async () => {
    for (const url of ['/v1/models', '/v2/models/stats']) {
      const { body } = await get('row', url)
      assert.ok(body.includes('card-row') && !body.includes('card-gru'), url)
    }
    const index = await get('row', '/v2/repository/index', { method: 'POST' })
    assert.ok(index.body.includes('card-row') && !index.body.includes('card-gru'))
    for (const [url, status] of [['/v1/models/card-gru/versions/1', 403], ['/v1/models/card-gru/versions/1/card', 403], ['/v1/models/nobody/versions/1', 403], ['/v1/models/card-row/versions/9', 404], ['/metrics', 403]] as const) {
      const answer = await get('row', url)
      assert.deepEqual([url, answer.statusCode], [url, status])
      assert.doesNotMatch(answer.body.replaceAll('card-gru,', ''), /card-(gru@|cnn|attention)|models\//, url)
    }
    assert.equal((await get('vera', '/v1/models/..%2F..%2Fsrc/versions/1')).statusCode, 404)
  })

  it('are registered from a signed file, once, by who may, and tried before', async () => {
    const bytes = readFileSync(file)
    assert.equal((await register('vera', bytes)).statusCode, 403)
    const other = await register('row', bytes)
    assert.deepEqual([other.statusCode, other.json<{ error: string }>().error], [403, 'the key is not for model gru'])
    const made = await register('rolf', bytes)
    assert.equal(made.statusCode, 201, made.body)
    const { registration, isNew } = made.json<{ registration: Registration; isNew: boolean }>()
    assert.deepEqual([registration.model, registration.actor, registration.importedFrom?.exportedBy, isNew], ['gru@1', 'rolf', 'anna', true])
    assert.equal(registration.trial.rows, 3)
    assert.deepEqual(readdirSync(join(root, 'gru', '1')).sort(), ['model.onnx', 'model.yaml', 'registration.json'])
    const again = await register('rolf', bytes)
    assert.deepEqual([again.statusCode, again.json<{ isNew: boolean }>().isNew], [200, false])
  })

  it('that were altered, or that a stranger has signed, are refused, and leave nothing behind', async () => {
    const altered = readFileSync(file)
    altered[altered.length - 1]! ^= 1
    const strange = join(folder, 'strange')
    exportModel({ folder: store.add('other', gruStep()).folder, out: strange, key: theirs.privateKey, actor: 'eve', nowMs: 0, harrier: '0' })
    for (const [payload, why] of [[altered, /^the file: model\.onnx was altered/], [readFileSync(strange), /^the file: it is not signed by/], [Buffer.from('{}'), /^the file: is no exported model version/]] as const) {
      const answer = await register('rolf', payload)
      assert.deepEqual([answer.statusCode, answer.json<{ code: string }>().code], [422, 'PACKAGE_REFUSED'])
      assert.match(answer.json<{ error: string }>().error, why)
    }
    assert.deepEqual(readdirSync(root), ['gru'])
    assert.deepEqual(readdirSync(temporary).filter((name) => name.startsWith('harrier-')), [])
  })

  it('are loaded and unloaded as Triton does, by releasers', async () => {
    const post = (who: string, path: string, payload?: object): Promise<LightMyRequestResponse> => get(who, `/v2/repository/models/${path}`, { method: 'POST', ...(payload ? { payload } : {}) })
    const state = async (name: string): Promise<string> => (await get('vera', '/v2/repository/index', { method: 'POST' })).json<{ name: string; state: string }[]>().find((each) => each.name === name)!.state
    assert.equal((await post('vera', 'card-cnn/load')).statusCode, 403)
    assert.equal((await post('row', 'card-cnn/load')).statusCode, 403)
    assert.equal(await state('card-cnn'), 'UNAVAILABLE')
    assert.equal((await post('rolf', 'card-cnn/load', { parameters: { config: '{"version_policy": {"specific": {"versions": [1]}}}' } })).statusCode, 200)
    assert.equal(await state('card-cnn'), 'READY')
    assert.equal((await get('vera', '/v2/models/card-cnn/ready')).statusCode, 200)
    assert.equal((await post('rolf', 'card-cnn/load')).statusCode, 200, 'again')
    assert.equal((await post('rolf', 'card-cnn/unload')).statusCode, 200)
    assert.equal((await get('vera', '/v2/models/card-cnn/ready')).statusCode, 404)
    assert.deepEqual([(await post('rolf', 'card-cnn/unload')).statusCode, (await post('rolf', 'nobody/load')).statusCode], [404, 404])
    assert.equal((await post('rolf', 'card-cnn/load', { parameters: { config: '{"version_policy": {"specific": {"versions": ["7"]}}}' } })).statusCode, 404)
    assert.equal((await post('rolf', 'card-cnn/load', { parameters: { config: 7 } })).statusCode, 400)
  })

  it('are in a document that is OpenAPI', async () => {
    const document = (await get('vera', '/openapi.json')).json<{ paths: Record<string, Record<string, { requestBody?: { content: object } }>> }>()
    const { valid, errors } = await new Validator().validate(document)
    assert.ok(valid, JSON.stringify(errors))
    assert.deepEqual(Object.keys(document.paths['/v1/models']!['post']!.requestBody!.content), ['application/octet-stream'])
    assert.ok('/v1/topologies/{topology}/stages/{stage}/releases' in document.paths)
  })
})
