import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { LightMyRequestResponse } from 'fastify'
import { AccessControl } from '../../src/access/access-control.js'
import { accessTopics } from '../../src/access/access-topics.js'
import { KeyAdmin } from '../../src/access/key-admin.js'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { RangeReader } from '../../src/consumer/range-reader.js'
import { testService, type TestService } from '../web/web-fixture.js'
import { harrier } from '../stack/stack-fixture.js'
import { startTestStack, type TestStack } from './test-stack.js'

const namespace = 'access'
const waitMsMax = 60_000

describe('keys of the service on a broker', { timeout: 300_000 }, () => {
  let stack: TestStack
  let admin: KeyAdmin
  let connection: { brokers: string; registryUrl: string }
  const open: { close(): Promise<void> }[] = []

  before(async () => {
    stack = await startTestStack({ registry: false })
    connection = { brokers: stack.brokers, registryUrl: '' }
    admin = await KeyAdmin.open({ connection, namespace, actor: 'ann', clock: systemClock, logger: silentLogger })
    open.push(admin)
  })
  after(async () => {
    for (const each of open.reverse()) await each.close()
    await stack.stop()
  })

  const access = (instanceId: string): Promise<AccessControl> => AccessControl.open({ keys: { connection, namespace, instanceId }, clock: systemClock, logger: silentLogger })
  async function instance(instanceId: string): Promise<TestService> {
    const control = await access(instanceId)
    open.push(control)
    const service = await testService({ parts: { access: control } })
    open.push(service)
    return service
  }
  const predict = (service: TestService, key: string, rows = 1): Promise<LightMyRequestResponse> =>
    service.app.inject({ method: 'POST', url: '/predict', headers: { 'x-api-key': key }, payload: { model: 'card-row', input: Array.from({ length: rows }, () => Array<number>(14).fill(1)) } })
  async function until(what: string, ready: () => Promise<boolean>): Promise<number> {
    const beganMs = systemClock.monotonicMs()
    while (!(await ready())) {
      assert.ok(systemClock.monotonicMs() - beganMs < waitMsMax, what)
      await systemClock.sleep(20)
    }
    return systemClock.monotonicMs() - beganMs
  }

  it('work on every instance once they are made, and on none once they are revoked', async (test) => {
    const [one, two] = [await instance('one'), await instance('two')]
    const { key, record } = await admin.create({ name: 'pos', role: 'scorer', models: ['card-row'], topologies: null, quota: {}, expiresMs: null })
    for (const service of [one, two]) await until('a key that was made works', async () => (await predict(service, key)).statusCode === 200)
    assert.equal((await one.app.inject({ url: '/v2/models/card-gru', headers: { authorization: `Bearer ${key}` } })).statusCode, 403, 'another model')
    const rotated = await admin.rotate(record.prefix, 3_600_000)
    for (const each of [key, rotated.key]) await until('both secrets work in the overlap', async () => (await predict(one, each)).statusCode === 200)
    await admin.revoke(record.prefix)
    const deadMs = await Promise.all([one, two].flatMap((service) => [key, rotated.key].map((each) => until('a revoked key is dead', async () => (await predict(service, each)).statusCode === 401))))
    test.diagnostic(`a revoked key was dead on both instances after ${Math.round(Math.max(...deadMs))} ms`)
  })

  it('have a quota of scores a day that all instances count together, and that a restart does not forget', async () => {
    const { key } = await admin.create({ name: 'batch', role: 'scorer', models: null, topologies: null, quota: { scoresPerDay: 1000, requestsPerSecond: 1000 }, expiresMs: null })
    const [one, two] = [await instance('three'), await instance('four')]
    const answer = await predict(one, key, 600)
    assert.deepEqual([answer.statusCode, answer.headers['ratelimit-limit'], answer.headers['ratelimit-remaining'], answer.headers['ratelimit-policy']], [200, '1000', '400', '1000;w=1, 1000;w=86400'])
    // Each look takes a score of the 400 that are left.
    let left = 1000
    await until('the other instance knows', async () => (left = Number((await predict(two, key)).headers['ratelimit-remaining'])) < 400)
    const refused = await predict(two, key, left + 1)
    assert.deepEqual([refused.statusCode, refused.json<{ code: string }>().code, refused.headers['ratelimit-remaining']], [429, 'QUOTA_EXCEEDED', '0'])
    assert.ok(Number(refused.headers['retry-after']) > 0)
    assert.equal((await predict(two, key, left)).statusCode, 200)
    // closed and opened again under the same name, after it has told what it gave
    const before = await access('five')
    before.enter({ id: 'key again', name: 'again', role: 'scorer', models: null, topologies: null, quota: { scoresPerDay: 10 } }, 'm', 10)
    await before.close()
    const again = await access('five')
    open.push(again)
    assert.throws(() => again.enter({ id: 'key again', name: 'again', role: 'scorer', models: null, topologies: null, quota: { scoresPerDay: 10 } }, 'm', 1), /10 of which are used/)
  })

  it('leave in the audit who did what, with before and after and without a hash', async () => {
    const reader = new RangeReader({ brokers: stack.brokers, clock: systemClock, logger: silentLogger })
    await reader.start()
    const entries: { actor: string; action: string; before: { revokedMs: number | null } | null; after: { revokedMs: number | null; name: string } }[] = []
    let text = ''
    await reader.readRange({ topic: accessTopics(namespace).audit, partition: 0, from: 'earliest', to: 'settled-end' }, (columns) => {
      for (let row = 0; row < columns.count; row++) {
        text += Buffer.from(columns.value(row)!).toString()
        entries.push(JSON.parse(Buffer.from(columns.value(row)!).toString()) as (typeof entries)[number])
      }
    })
    await reader.close()
    assert.deepEqual(entries.slice(0, 3).map(({ actor, action, after: { name } }) => [actor, action, name]), [['ann', 'keys.create', 'pos'], ['ann', 'keys.rotate', 'pos'], ['ann', 'keys.revoke', 'pos']])
    assert.equal(entries[0]!.before, null)
    assert.deepEqual([entries[2]!.before!.revokedMs, typeof entries[2]!.after.revokedMs], [null, 'number'])
    assert.doesNotMatch(text, /"hash"|hk_/)
  })

  it('are made, listed, turned and ended from the command line, and shown once', async () => {
    const env = { HARRIER_BROKERS: stack.brokers, HARRIER_REGISTRY: 'http://127.0.0.1:1' }
    const run = (...args: string[]): ReturnType<typeof harrier> => harrier(['keys', ...args, '--namespace', namespace], env)
    const made = await run('create', '--name', 'till 7', '--role', 'viewer', '--models', 'card-row,card-gru', '--requests-per-second', '5', '--expires', '90d', '--actor', 'bob')
    assert.equal(made.code, 0, made.stderr)
    const [key, note] = made.stdout.split('\n') as [string, string]
    assert.match(key, /^hk_[0-9a-f]{12}_/)
    assert.match(note, /not shown again/)
    const listed = await run('list')
    const line = listed.stdout.split('\n').find((each) => each.includes('till 7'))!
    assert.match(line, /viewer +card-row,card-gru +all +5\/s .* bob .* in force$/)
    assert.ok(!listed.stdout.includes(key.slice(16)))
    const json = JSON.parse((await run('revoke', key.slice(3, 15), '--json')).stdout) as { state: string; hash?: string }
    assert.deepEqual([json.state, json.hash], ['revoked', undefined])
  })
})
