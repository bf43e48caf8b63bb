import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ManualClock, systemClock } from '../../src/base/clock.js'
import type { HarrierError } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import { Secret } from '../../src/connection/secret.js'
import { ClientCredentialsTokens, TokenFile, tokenLimits, type TokenSource } from '../../src/connection/token-source.js'
import { keepToken, tokenKeeperLimits } from '../../src/consumer/oauth-bearer.js'
import { TestIssuer } from '../broker/test-issuer.js'

describe('tokens', () => {
  const issuer = new TestIssuer()
  const folder = mkdtempSync(join(tmpdir(), 'harrier-token-'))
  before(() => issuer.start())
  after(async () => {
    await issuer.stop()
    rmSync(folder, { recursive: true })
  })
  const source = (clock: ManualClock, secret = issuer.clientSecret, endpoint = `${issuer.url}/token`): TokenSource =>
    new ClientCredentialsTokens({ endpoint, clientId: issuer.clientId, clientSecret: new Secret(secret) }, clock)

  it('are asked for once in their life, however many want them, and again at four fifths of it', async () => {
    const clock = new ManualClock(systemClock.nowMs())
    const tokens = source(clock)
    const before = issuer.issued
    const [one, two] = await Promise.all([tokens.token(), tokens.token()])
    assert.equal(one.value.reveal(), two.value.reveal())
    clock.advance(issuer.lifetimeSeconds * 1000 * tokenLimits.lifeShare - 1)
    await tokens.token()
    assert.equal(issuer.issued - before, 1)
    clock.advance(1)
    await tokens.token()
    assert.equal(issuer.issued - before, 2)
    tokens.forget()
    await tokens.token()
    assert.equal(issuer.issued - before, 3)
  })

  it('that are refused say by whom and why, and repeat neither secret nor answer', async () => {
    const tokens = source(new ManualClock(), 'sparrow-1a2b')
    await assert.rejects(tokens.token(), (error: HarrierError) => {
      assert.equal(error.code, 'AUTHENTICATION_FAILED')
      assert.match(error.message, /gave no token to client harrier-engine: status 401 \(invalid_client\)$/)
      return true
    })
    await assert.rejects(source(new ManualClock(), 'x', 'http://127.0.0.1:1/token').token(), { code: 'TOKEN_UNAVAILABLE', message: /ECONNREFUSED/ })
  })

  it('in a file are read again, and an expired one is told with its time', async () => {
    const clock = new ManualClock(systemClock.nowMs())
    const file = join(folder, 'token')
    const tokens = new TokenFile(file, clock)
    await assert.rejects(tokens.token(), { code: 'AUTHENTICATION_FAILED', message: /cannot be read: ENOENT/ })
    writeFileSync(file, `${issuer.token('harrier', 30)}\n`)
    const first = await tokens.token()
    assert.ok(first.refreshAtMs <= clock.nowMs() + 30_000 * tokenLimits.lifeShare + 1000)
    writeFileSync(file, issuer.token('another', 30))
    assert.notEqual((await tokens.token()).value.reveal(), first.value.reveal())
    clock.advance(60_000)
    await assert.rejects(tokens.token(), { message: /the token in .* expired at \d{4}-/ })
  })

  it('reach a client of librdkafka before it connects, and anew when they are due; a failure is tried again', async () => {
    const clock = new ManualClock()
    const given: string[] = []
    let next = 0
    let down = false
    const tokens: TokenSource = {
      token: () => (down ? Promise.reject(new Error('down')) : Promise.resolve({ value: new Secret(`t${next++}`), refreshAtMs: clock.nowMs() + 10_000 })),
      forget: () => undefined,
    }
    const client = { setOauthBearerToken: (token: string) => void given.push(token) }
    const stop = await keepToken(client as never, tokens, { clock, logger: silentLogger })
    const pass = async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += tokenKeeperLimits.checkIntervalMs) {
        clock.advance(tokenKeeperLimits.checkIntervalMs)
        for (let i = 0; i < 5; i++) await Promise.resolve()
      }
    }
    assert.deepEqual(given, ['t0'])
    await pass(9000)
    assert.deepEqual(given, ['t0'])
    await pass(1000)
    assert.deepEqual(given, ['t0', 't1'])
    down = true
    await pass(12_000)
    down = false
    await pass(tokenKeeperLimits.retryMs)
    assert.deepEqual(given, ['t0', 't1', 't2'])
    stop()
    await pass(30_000)
    assert.equal(given.length, 3)
  })
})
