import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { createServer, type Server } from 'node:tls'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { HarrierError, type ErrorCode } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import { RegistryClient } from '../../src/codec/registry-client.js'
import { loadConnectionFile, type ConnectionFile } from '../../src/connection/connection-file.js'
import { adminLimits, KafkaAdmin } from '../../src/consumer/admin.js'
import { librdkafkaFeatures, rebuildRemedy } from '../../src/consumer/kafka-security.js'
import { RangeReader } from '../../src/consumer/range-reader.js'
import { connectLimits } from '../../src/consumer/connect-watch.js'
import { askRegistry } from '../../src/stack/health.js'
import { makeCertificate } from './certificates.js'
import { runHarrier } from './harrier-process.js'
import { secretEnv, secretsOf, SecureFixture } from './secure-fixture.js'

const clock = systemClock
const dayMs = 86_400_000
const skip = librdkafkaFeatures().includes('ssl') ? false : `librdkafka was compiled without TLS: ${rebuildRemedy}`
/** What a refusal takes at most, with room for a slow machine. */
const refusalMsMax = Math.max(adminLimits.refusedMsMax, connectLimits.refusedMsMax) + 8000
const good = 'username: harrier, password: "${KAFKA_PASSWORD}"'

interface Failure {
  readonly what: string
  readonly kafka: () => string
  readonly code: ErrorCode
  readonly says: RegExp
  readonly remedy: RegExp
}

describe('a secured cluster that does not let us in', { skip }, () => {
  let fixture: SecureFixture
  let expired: Server
  before(async () => {
    fixture = await SecureFixture.start({ registry: false })
    fixture.ways()
    const { authority } = fixture.stack
    const old = makeCertificate({ commonName: 'broker', issuer: authority, notBeforeMs: clock.nowMs() - 9 * dayMs, notAfterMs: clock.nowMs() - dayMs })
    expired = createServer({ key: old.key, cert: old.certificate }, (socket) => socket.resume())
    expired.on('tlsClientError', () => undefined)
    await new Promise<void>((resolve) => expired.listen(0, '127.0.0.1', resolve))
    fixture.write('stranger.pem', makeCertificate({ commonName: 'Another Authority' }).certificate)
    const outdated = makeCertificate({ commonName: 'harrier', issuer: authority, notBeforeMs: clock.nowMs() - 9 * dayMs, notAfterMs: clock.nowMs() - dayMs })
    fixture.write('outdated.pem', outdated.certificate)
    fixture.write('outdated.key', outdated.key)
    const self = makeCertificate({ commonName: 'harrier' })
    fixture.write('unknown.pem', self.certificate)
    fixture.write('unknown.key', self.key)
    fixture.write('wrong-password', 'sparrow-1a2b\n')
    fixture.write('bad-token', fixture.issuer.token('harrier').replace(/.{20}$/, 'A'.repeat(20)))
  })
  after(async () => {
    await new Promise((resolve) => expired.close(resolve))
    await fixture.stop()
  })

  const load = (file: string): ConnectionFile => loadConnectionFile(file, { clock, env: { ...process.env, ...secretEnv } })
  const noSecretIn = (text: string): void => {
    for (const secret of [...secretsOf(fixture.issuer), 'sparrow-1a2b']) assert.ok(!text.includes(secret), 'a secret was shown')
  }
  const onMtls = (more: string): string => `brokers: ${fixture.stack.mtlsBrokers}\ntls: { ca: ca.pem${more} }`

  const failures: Failure[] = [
    {
      what: 'a wrong password with SCRAM',
      kafka: () => fixture.sasl('mechanism: SCRAM-SHA-512, username: harrier, password: "file:wrong-password"'),
      code: 'AUTHENTICATION_FAILED', says: /refused user name or password/, remedy: /sasl\.password/,
    },
    {
      what: 'a wrong password with PLAIN',
      kafka: () => fixture.sasl('mechanism: PLAIN, username: harrier, password: "file:wrong-password"'),
      code: 'AUTHENTICATION_FAILED', says: /refused user name or password/, remedy: /sasl\.password/,
    },
    {
      what: 'a mechanism that the listener has not',
      kafka: () => fixture.sasl(`mechanism: SCRAM-SHA-256, ${good}`),
      code: 'AUTHENTICATION_FAILED', says: /does not know the SASL mechanism/, remedy: /sasl\.mechanism/,
    },
    {
      what: 'a token with a wrong signature',
      kafka: () => fixture.sasl('mechanism: OAUTHBEARER, tokenFile: bad-token'),
      code: 'AUTHENTICATION_FAILED', says: /refused the token/, remedy: /issuer, audience/,
    },
    {
      what: 'a token endpoint that refuses our secret',
      kafka: () => fixture.sasl(`mechanism: OAUTHBEARER, tokenEndpoint: "${fixture.issuer.url}/token", clientId: harrier-engine, clientSecret: "file:wrong-password"`),
      code: 'AUTHENTICATION_FAILED', says: /gave no token to client harrier-engine: status 401 \(invalid_client\)/, remedy: /clientSecret/,
    },
    {
      what: 'an authority that we do not know',
      kafka: () => fixture.sasl(`mechanism: PLAIN, ${good}`).replace('ca.pem', 'stranger.pem'),
      code: 'CERTIFICATE_REFUSED', says: /not signed by an authority that we trust|its authority is not in tls\.ca/, remedy: /tls\.ca/,
    },
    {
      what: 'a broker with an expired certificate',
      kafka: () => `brokers: 127.0.0.1:${(expired.address() as AddressInfo).port}\ntls: { ca: ca.pem }`,
      code: 'CERTIFICATE_REFUSED', says: /certificate has expired|it has expired/, remedy: /renew|tls\.ca/,
    },
    {
      what: 'no certificate where one is demanded',
      kafka: () => onMtls(''),
      code: 'CERTIFICATE_REFUSED', says: /refused our client certificate, or wants one/, remedy: /tls\.certificate/,
    },
    {
      what: 'a certificate of another authority',
      kafka: () => onMtls(', certificate: unknown.pem, key: unknown.key'),
      code: 'CERTIFICATE_REFUSED', says: /refused our client certificate/, remedy: /tls\.certificate/,
    },
    {
      what: 'TLS where there is none',
      kafka: () => `brokers: ${fixture.open.brokers}\ntls: { ca: ca.pem }`,
      code: 'CONFIG_INVALID', says: /does not speak TLS/, remedy: /TLS listener/,
    },
    {
      what: 'no TLS where it is wanted',
      kafka: () => `brokers: ${fixture.stack.mtlsBrokers}\nconnectTimeout: 2s`,
      code: 'BROKER_UNAVAILABLE', says: /within 2000 ms/, remedy: /may want TLS/,
    },
    {
      what: 'a broker that is not there',
      kafka: () => 'brokers: 127.0.0.1:1\ntls: { ca: ca.pem }\nconnectTimeout: 2s',
      code: 'BROKER_UNAVAILABLE', says: /127\.0\.0\.1:1 within 2000 ms.*refused(?!.*suppressed)/i, remedy: /start the broker/,
    },
  ]

  it('says why, by the admin client and by the data plane, within the time of a refusal', async () => {
    await Promise.all(
      failures.map(async ({ what, kafka, code, says, remedy }, index) => {
        const { brokers, security, connectMsMax } = load(fixture.connection(`failure-${index}`, kafka()))
        const limits = { connectMsMax }
        const admin = new KafkaAdmin({ brokers, security, clock, limits })
        const reader = new RangeReader({ brokers, security, clock, logger: silentLogger, limits })
        const began = clock.monotonicMs()
        for (const client of [admin, reader]) {
          const error = await client.start().then(() => undefined, (thrown: unknown) => thrown)
          const which = `${what}, ${client === admin ? 'admin' : 'reader'}`
          assert.ok(error instanceof HarrierError, which)
          assert.equal(error.code, code, `${which}: ${error.message}`)
          assert.match(error.message, says, which)
          assert.match(error.remedy, remedy, which)
          noSecretIn(`${error.message} ${error.remedy} ${error.stack}`)
        }
        assert.ok(clock.monotonicMs() - began < 2 * refusalMsMax, what)
        await admin.close()
      }),
    )
  })

  it('finds our own expired certificate before it connects, with its date', () => {
    const file = fixture.connection('outdated', onMtls(', certificate: outdated.pem, key: outdated.key'))
    assert.throws(() => load(file), (error: HarrierError) => error.code === 'CERTIFICATE_REFUSED' && /outdated\.pem \(CN=harrier\) expired on \d{4}-\d\d-\d\dT/.test(error.message))
  })

  it('ends a command with the cause, what to do, and exit code 1', async () => {
    const wrong = fixture.connection('wrong', fixture.sasl('mechanism: SCRAM-SHA-512, username: harrier, password: "file:wrong-password"'))
    const [run, doctor] = await Promise.all([runHarrier(['run', '--connection', wrong], secretEnv), runHarrier(['doctor', '--connection', wrong], secretEnv)])
    assert.equal(run.code, 1, run.said)
    assert.match(run.stderr, /harrier: the broker at \S+ cannot be used: it refused user name or password .*\n {2}what to do: correct sasl\.username and sasl\.password of the connection file {2}\[AUTHENTICATION_FAILED\]\n$/)
    assert.equal(run.stdout, '')
    assert.equal(doctor.code, 1)
    assert.match(doctor.stdout, /missing +configured brokers .*refused user name or password/)
    noSecretIn(run.said + doctor.said)
  })

  it('tells a wrong registry password, and a registry that we cannot trust, at once', async () => {
    const part = fixture.sasl(`mechanism: PLAIN, ${good}`)
    const wrong = load(fixture.connection('registry-password', part, fixture.registry('basic').replace('${REGISTRY_PASSWORD}', 'file:wrong-password')))
    const client = new RegistryClient(wrong.registryUrl, { clock, security: wrong.registrySecurity })
    await assert.rejects(client.latest('any'), (error: HarrierError) => error.code === 'REGISTRY_REFUSED' && /status 401/.test(error.message) && /registry\.auth/.test(error.remedy))
    assert.match((await askRegistry(wrong.registryUrl, wrong.registrySecurity)).detail, /401: it does not accept our credentials/)
    const stranger = load(fixture.connection('registry-ca', part, fixture.registry('basic').replace('ca.pem', 'stranger.pem')))
    await assert.rejects(new RegistryClient(stranger.registryUrl, { clock, security: stranger.registrySecurity }).latest('any'), { code: 'CERTIFICATE_REFUSED', message: /not signed by an authority that we trust/ })
    const bare = load(fixture.connection('registry-bare', part, `registry:\n  url: ${fixture.guards.mtls.url}\n  tls: { ca: ca.pem }`))
    await assert.rejects(new RegistryClient(bare.registryUrl, { clock, security: bare.registrySecurity }).latest('any'), { code: 'CERTIFICATE_REFUSED', message: /client certificate/ })
  })
})
