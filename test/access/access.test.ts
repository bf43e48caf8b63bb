import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { generateKeyPair, exportJWK, SignJWT } from 'jose'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { makeKey, parseKey } from '../../src/access/access-key.js'
import { AccessControl, demand } from '../../src/access/access-control.js'
import { KeyDirectory } from '../../src/access/key-directory.js'
import { roles, type KeyRecord, type Principal, type Quota } from '../../src/access/key-record.js'
import { OidcVerifier } from '../../src/access/oidc.js'
import { QuotaKeeper } from '../../src/access/quota-keeper.js'
import { ManualClock, systemClock } from '../../src/base/clock.js'
import { HarrierError, type ErrorCode } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import { testService } from '../web/web-fixture.js'

const isError = (code: ErrorCode) => (error: unknown): boolean => error instanceof HarrierError && error.code === code

function recordOf(more: Partial<KeyRecord> = {}): { key: string; record: KeyRecord } {
  const { prefix, key, hash } = makeKey()
  return { key, record: { prefix, name: 'a', role: 'scorer', models: null, topologies: null, quota: {}, hash, previous: null, createdMs: 1, createdBy: 'me', expiresMs: null, revokedMs: null, ...more } }
}

describe('keys', () => {
  const directory = new KeyDirectory()
  const put = (record: KeyRecord): void => directory.apply(record.prefix, Buffer.from(JSON.stringify(record)))

  it('are stored as hashes, from which nobody gets the key back', () => {
    const { key, record } = recordOf()
    assert.match(key, /^hk_[0-9a-f]{12}_[\w-]{43}$/)
    const secret = key.slice(16)
    assert.ok(!JSON.stringify(record).includes(secret))
    assert.equal(record.hash, createHash('sha256').update(secret).digest('hex'))
    assert.equal(parseKey(`${key} `), undefined)
  })

  it('work until they expire or are revoked, and one that differs in a digit does not', () => {
    const { key, record } = recordOf({ expiresMs: 1000, models: ['card-gru'] })
    put(record)
    assert.deepEqual(directory.verify(key, 999), { id: `key ${record.prefix}`, name: 'a', role: 'scorer', models: ['card-gru'], topologies: null, quota: {} })
    const other = key.endsWith('A') ? `${key.slice(0, -1)}B` : `${key.slice(0, -1)}A`
    for (const [text, atMs] of [[key, 1000], [other, 0], ['hk_', 0], [recordOf().key, 0]] as const) assert.throws(() => directory.verify(text, atMs), isError('UNAUTHENTICATED'))
    put({ ...record, revokedMs: 5 })
    assert.throws(() => directory.verify(key, 10), isError('UNAUTHENTICATED'))
  })

  it('keep working under the old secret for the overlap of a rotation, and no longer', () => {
    const { key, record } = recordOf()
    const fresh = makeKey(record.prefix)
    put({ ...record, hash: fresh.hash, previous: { hash: record.hash, untilMs: 100 } })
    for (const each of [key, fresh.key]) assert.equal(directory.verify(each, 99).role, 'scorer')
    assert.throws(() => directory.verify(key, 100), isError('UNAUTHENTICATED'))
    assert.equal(directory.verify(fresh.key, 100).role, 'scorer')
  })

  it('whose record cannot be read are taken away', () => {
    const { key, record } = recordOf()
    put(record)
    directory.apply(record.prefix, Buffer.from('{"prefix":"x"}'))
    assert.throws(() => directory.verify(key, 0), isError('UNAUTHENTICATED'))
    assert.equal(directory.unreadable, 1)
  })

  it('may do what their role may, with the models and topologies that they are for', () => {
    const principal = (more: Partial<Principal>): Principal => ({ id: 'key 1', name: 'till', role: 'scorer', models: null, topologies: null, quota: {}, ...more })
    for (const role of roles) for (const needed of roles) {
      const allowed = roles.indexOf(role) >= roles.indexOf(needed)
      if (allowed) demand(principal({ role }), needed)
      else assert.throws(() => demand(principal({ role }), needed), isError('FORBIDDEN'))
    }
    demand(principal({ models: ['a'] }), 'viewer', { model: 'a' })
    assert.throws(() => demand(principal({ models: ['a'] }), 'viewer', { model: 'b' }), isError('FORBIDDEN'))
    assert.throws(() => demand(principal({ topologies: [] }), 'viewer', { topology: 'b' }), isError('FORBIDDEN'))
  })
})

describe('quotas', () => {
  const who = (quota: Quota): Principal => ({ id: 'key 1', name: 'till', role: 'scorer', models: null, topologies: null, quota })
  const exceeded = (retryAfterMs: number) => (error: unknown): boolean => error instanceof HarrierError && error.code === 'QUOTA_EXCEEDED' && Math.round(error.retryAfterMs!) === retryAfterMs

  it('let a second of requests through at once and then as many as flow in, for each model apart', () => {
    const clock = new ManualClock(0)
    const keeper = new QuotaKeeper(clock)
    const me = who({ requestsPerSecond: 4 })
    const left = [1, 2, 3, 4].map(() => keeper.enter(me, 'a', 1).state!.remaining)
    assert.deepEqual(left, [3, 2, 1, 0])
    assert.throws(() => keeper.enter(me, 'a', 1), exceeded(250))
    keeper.enter(me, 'b', 1)
    clock.advance(250)
    assert.deepEqual(keeper.enter(me, 'a', 1).state, { limit: 4, remaining: 0, resetSeconds: 1, policy: '4;w=1' })
    clock.advance(60_000)
    assert.equal(keeper.enter(me, 'a', 1).state!.remaining, 3)
  })

  it('count requests at once until they are over', () => {
    const keeper = new QuotaKeeper(new ManualClock(0))
    const me = who({ concurrent: 2 })
    const [first] = [keeper.enter(me, 'a', 1), keeper.enter(me, 'a', 1)]
    assert.throws(() => keeper.enter(me, 'a', 1), exceeded(1000))
    first!.release()
    first!.release()
    keeper.enter(me, 'a', 1)
    assert.throws(() => keeper.enter(me, 'a', 1), exceeded(1000))
  })

  it('count the scores of a day over all processes and restarts, and begin anew at midnight UTC', () => {
    const clock = new ManualClock(3 * 86_400_000 + 86_000_000)
    const keeper = new QuotaKeeper(clock)
    const me = who({ scoresPerDay: 100 })
    keeper.enter(me, 'a', 60)
    assert.deepEqual(keeper.takeChanges(), [{ id: 'key 1', subject: 'a', day: 3, scores: 60 }])
    assert.deepEqual(keeper.takeChanges(), [])
    keeper.apply({ id: 'key 1', subject: 'a', day: 3, scores: 30 }, 'other', false)
    keeper.apply({ id: 'key 1', subject: 'a', day: 2, scores: 500 }, 'other', false)
    assert.throws(() => keeper.enter(me, 'a', 11), exceeded(400_000))
    assert.deepEqual(keeper.enter(me, 'a', 10).state, { limit: 100, remaining: 0, resetSeconds: 400, policy: '100;w=86400' })
    const restarted = new QuotaKeeper(clock)
    restarted.apply({ id: 'key 1', subject: 'a', day: 3, scores: 70 }, 'me', true)
    assert.throws(() => restarted.enter(me, 'a', 31), exceeded(400_000))
    clock.advance(400_000)
    assert.equal(keeper.enter(me, 'a', 100).state!.remaining, 0)
  })
})

describe('tokens of an issuer', () => {
  let server: Server
  let issuer = ''
  let sign: (claims: object, more?: { audience?: string; issuer?: string; expires?: string; alg?: 'none' | 'HS256' }) => Promise<string>
  before(async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256')
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256', use: 'sig' }
    server = createServer((request, response) => {
      const body = request.url === '/keys' ? { keys: [jwk] } : request.url === '/.well-known/openid-configuration' ? { issuer, jwks_uri: `${issuer}/keys` } : undefined
      response.writeHead(body ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    sign = async (claims, { audience = 'harrier', issuer: iss = issuer, expires = '5m', alg } = {}) => {
      const jwt = new SignJWT({ ...claims }).setSubject('ann').setIssuer(iss).setAudience(audience).setIssuedAt().setExpirationTime(expires)
      return alg === 'HS256' ? await jwt.setProtectedHeader({ alg, kid: 'k' }).sign(Buffer.from(JSON.stringify(jwk))) : await jwt.setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(privateKey)
    }
  })
  after(() => void server.close())

  it('are taken with the right issuer, audience, time and signature, and their role is the highest that they name', async () => {
    const oidc = new OidcVerifier({ issuer, audience: 'harrier', roleClaim: 'realm.roles' })
    await oidc.open()
    assert.deepEqual(await oidc.verify(await sign({ realm: { roles: ['viewer', 'harrier:releaser', 'x'] } })), { id: 'oidc ann', name: 'ann', role: 'releaser', models: null, topologies: null, quota: {} })
    const roles = { realm: { roles: 'scorer' } }
    assert.equal((await oidc.verify(await sign(roles))).role, 'scorer')
    const good = await sign(roles)
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${good.split('.')[1]}.`
    const turned = good.endsWith('A') ? `${good.slice(0, -4)}BBBB` : `${good.slice(0, -4)}AAAA`
    for (const token of [await sign(roles, { audience: 'other' }), await sign(roles, { issuer: 'http://evil' }), await sign(roles, { expires: '-2m' }), await sign(roles, { alg: 'HS256' }), unsigned, turned, 'x', 'x'.repeat(10_000)]) {
      await assert.rejects(oidc.verify(token), isError('UNAUTHENTICATED'), token)
    }
    await assert.rejects(oidc.verify(await sign({ realm: { roles: ['owner'] } })), isError('FORBIDDEN'))
  })

  it('open the routes of their role, and nothing is open without one but health and the document', async () => {
    const access = await AccessControl.open({ oidc: { issuer, audience: 'harrier', roleClaim: 'roles' }, clock: systemClock, logger: silentLogger })
    const service = await testService({ parts: { access } })
    try {
      const payload = { inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 14], data: Array<number>(14).fill(1) }] }
      const [viewer, scorer] = await Promise.all([sign({ roles: ['viewer'] }), sign({ roles: ['scorer'] })])
      const status = async (method: 'GET' | 'POST', url: string, token?: string): Promise<number> =>
        (await service.app.inject({ method, url, ...(method === 'POST' ? { payload } : {}), ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }) })).statusCode
      for (const url of ['/healthz', '/readyz', '/v2/health/live', '/v2/health/ready', '/openapi.json']) assert.equal(await status('GET', url), 200, url)
      for (const url of ['/v2', '/metrics', '/v2/models/card-row', '/v2/models/stats']) assert.deepEqual([await status('GET', url), await status('GET', url, viewer), await status('GET', url, `${viewer}x`)], [401, 200, 401], url)
      const infer = '/v2/models/card-row/infer'
      assert.deepEqual([await status('POST', infer), await status('POST', infer, viewer), await status('POST', infer, scorer)], [401, 403, 200])
      const answer = await service.app.inject({ method: 'POST', url: '/predict', payload: 'x'.repeat(1000), headers: { 'content-type': 'application/json' } })
      assert.deepEqual([answer.statusCode, answer.headers['www-authenticate']], [401, 'Bearer realm="harrier"'], 'before the body is looked at')
    } finally {
      await service.close()
      await access.close()
    }
  })

  it('of an issuer that is not there, or is another, are a mistake at the start', async () => {
    await assert.rejects(new OidcVerifier({ issuer: `${issuer}/other`, audience: 'a', roleClaim: 'roles' }).open(), isError('CONFIG_INVALID'))
    await assert.rejects(new OidcVerifier({ issuer: 'http://127.0.0.1:1', audience: 'a', roleClaim: 'roles' }).open(), isError('TOKEN_UNAVAILABLE'))
  })
})
