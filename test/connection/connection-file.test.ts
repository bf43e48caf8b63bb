import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { after, describe, it } from 'node:test'
import { ManualClock, systemClock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import { loadConnectionFile, type ConnectionFile } from '../../src/connection/connection-file.js'
import { describeSecurity } from '../../src/connection/security.js'
import { kafkaJsSecurity, librdkafkaSecurity, requireFeatures } from '../../src/consumer/kafka-security.js'
import { makeCertificate } from '../broker/certificates.js'

describe('a connection file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-connection-'))
  after(() => rmSync(folder, { recursive: true }))
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const load = (text: string, env: Record<string, string> = {}, clock = systemClock): ConnectionFile => loadConnectionFile(write('connection.yaml', text), { clock, env })
  const refusal = (text: string, env: Record<string, string> = {}): HarrierError => {
    try {
      load(text, env)
    } catch (error) {
      assert.ok(error instanceof HarrierError)
      return error
    }
    throw new Error(`taken: ${text}`)
  }
  const registry = 'registry: { url: "https://registry:8081/" }'

  it('gives brokers, security and registry, with variables and files put in', () => {
    const authority = makeCertificate({ commonName: 'authority' })
    write('ca.pem', authority.certificate)
    write('password', 's3cret\n')
    const env = { HOST: 'b1', SCOPE: 'x' }
    const loaded = load(`brokers: "\${HOST}:9093, b2:9093"\ntls: { ca: ca.pem }\nsasl: { mechanism: SCRAM-SHA-512, username: u, password: "file:password" }\nconnectTimeout: 5s\n${registry}`, env)
    assert.equal(loaded.brokers, 'b1:9093,b2:9093')
    assert.equal(loaded.registryUrl, 'https://registry:8081')
    assert.equal(loaded.connectMsMax, 5000)
    const settings = librdkafkaSecurity(loaded.security)
    assert.deepEqual({ ...settings, 'ssl.ca.pem': settings['ssl.ca.pem'] === authority.certificate }, {
      'security.protocol': 'sasl_ssl',
      'ssl.ca.pem': true,
      'ssl.endpoint.identification.algorithm': 'https',
      'sasl.mechanisms': 'SCRAM-SHA-512',
      'sasl.username': 'u',
      'sasl.password': 's3cret',
    })
    assert.deepEqual(kafkaJsSecurity(loaded.security).sasl, { mechanism: 'scram-sha-512', username: 'u', password: 's3cret' })
    assert.equal(describeSecurity(loaded.security), 'TLS, SCRAM-SHA-512 as u')
  })

  it('shows its secrets to nobody that prints it', () => {
    const loaded = load(`brokers: b:1\ntls: {}\nsasl: { mechanism: PLAIN, username: u, password: "\${PW}" }\nregistry: { url: "http://r", auth: basic, username: u, password: "\${PW}" }`, { PW: 'hidden-5f' })
    for (const text of [JSON.stringify(loaded), inspect(loaded, { depth: 9 }), String((loaded.security.login as { password: unknown }).password), describeSecurity(loaded.security)]) {
      assert.ok(!text.includes('hidden-5f'), text)
    }
  })

  it('says where an object store is, reads its secrets again each time, and takes the environment where it names none', () => {
    write('store-secret', 's3cret-old')
    const store = (settings: string): string => `brokers: b:1\n${registry}\nobjectStore: { ${settings} }`
    const { objectStore } = load(store('endpoint: "https://store:9000/", accessKeyId: "${WHO}", secretAccessKey: "file:store-secret"'), { WHO: 'harrier' })
    assert.deepEqual({ ...objectStore, credentials: null }, { endpoint: 'https://store:9000', region: 'us-east-1', pathStyle: true, tls: undefined, credentials: null })
    assert.deepEqual([objectStore!.credentials().accessKeyId, objectStore!.credentials().secretAccessKey.reveal()], ['harrier', 's3cret-old'])
    write('store-secret', 's3cret-new\n')
    assert.equal(objectStore!.credentials().secretAccessKey.reveal(), 's3cret-new')
    const amazon = load(store('region: eu-central-1'), { AWS_ACCESS_KEY_ID: 'k', AWS_SECRET_ACCESS_KEY: 's', AWS_SESSION_TOKEN: 't', AWS_ENDPOINT_URL: 'https://elsewhere' }).objectStore!
    assert.deepEqual([amazon.endpoint, amazon.pathStyle, amazon.credentials().sessionToken!.reveal()], [undefined, false, 't'])
    const cases: [string, RegExp][] = [
      ['accessKeyId: k, region: r', /objectStore: accessKeyId and secretAccessKey go together/],
      ['accessKeyId: k', /objectStore: accessKeyId and secretAccessKey go together/],
      ['pathStyle: true', /objectStore: give region, or endpoint/],
      ['region: r, accessKeyId: k, secretAccessKey: "${UNSET}"', /objectStore\.secretAccessKey: the variable UNSET is not set/],
      ['region: r, accessKeyId: k, secretAccessKey: hidden-5f', /objectStore\.secretAccessKey: a secret is not written out here/],
    ]
    for (const [settings, message] of cases) {
      const { message: said } = refusal(store(settings))
      assert.match(said, message)
      assert.ok(!said.includes('hidden-5f'))
    }
  })

  it('refuses a secret that is written out, in any place, without repeating it', () => {
    for (const text of [
      `brokers: b:1\ntls: {}\nsasl: { mechanism: PLAIN, username: u, password: hidden-5f }\n${registry}`,
      'brokers: b:1\nregistry: { url: "http://u:hidden-5f@r" }',
      'brokers: b:1\nregistry: { url: "http://r", auth: bearer, token: hidden-5f }',
      `brokers: b:1\npassword: "hidden-5f\n${registry}`,
      `brokers: u:hidden-5f@b:1\n${registry}`,
    ]) {
      const { code, message, remedy, stack } = refusal(text)
      assert.equal(code, 'CONFIG_INVALID')
      assert.ok(!`${message}${remedy}${stack}`.includes('hidden-5f'), message)
    }
  })

  it('names the setting that is wrong', () => {
    const cases: [string, RegExp][] = [
      [registry, /brokers: /],
      [`brokers: b\n${registry}`, /brokers: host:port/],
      [`brokers: b:1\ntsl: {}\n${registry}`, /tsl/],
      [`brokers: b:1\nsasl: { mechanism: PLAIN, username: u, password: "\${P}" }\n${registry}`, /sasl: PLAIN sends a secret that is open without tls/],
      [`brokers: b:1\ntls: {}\nsasl: { mechanism: SCRAM-SHA-512, username: u }\n${registry}`, /sasl: SCRAM-SHA-512 needs username and password/],
      [`brokers: b:1\ntls: {}\nsasl: { mechanism: SCRAM-SHA-512, username: u, password: "\${UNSET}" }\n${registry}`, /sasl\.password: the variable UNSET is not set/],
      [`brokers: b:1\ntls: {}\nsasl: { mechanism: SCRAM-SHA-512, username: u, password: "file:nothing" }\n${registry}`, /sasl\.password: nothing cannot be read: ENOENT/],
      [`brokers: b:1\ntls: {}\nsasl: { mechanism: OAUTHBEARER }\n${registry}`, /sasl: a token comes from tokenEndpoint or from tokenFile/],
      [`brokers: b:1\ntls: {}\nsasl: { mechanism: OAUTHBEARER, tokenEndpoint: "https://i/t" }\n${registry}`, /sasl: tokenEndpoint needs clientId and clientSecret/],
      [`brokers: b:1\ntls: { certificate: c.pem }\n${registry}`, /tls: certificate and key go together/],
      [`brokers: b:1\ntls: { ca: connection.yaml }\n${registry}`, /tls\.ca: connection\.yaml is not a PEM file/],
      ['brokers: b:1\nregistry: { url: "http://r", auth: basic }', /registry: basic needs username and password/],
    ]
    for (const [text, message] of cases) assert.match(refusal(text).message, message)
  })

  it('refuses certificates of ours that are expired, not valid yet, or of another key', () => {
    const nowMs = systemClock.nowMs()
    const own = makeCertificate({ commonName: 'own', notBeforeMs: nowMs - 1000, notAfterMs: nowMs + 100_000, keyPassword: 'k' })
    write('own.pem', own.certificate)
    write('own.key', own.key)
    write('other.key', makeCertificate({ commonName: 'other' }).key)
    const text = (key: string, password = ''): string => `brokers: b:1\ntls: { certificate: own.pem, key: ${key}${password} }\n${registry}`
    const withPassword = text('own.key', ', keyPassword: "${K}"')
    assert.equal(describeSecurity(load(withPassword, { K: 'k' }).security), 'mutual TLS')
    assert.throws(() => load(withPassword, { K: 'k' }, new ManualClock(nowMs + 200_000)), { code: 'CERTIFICATE_REFUSED', message: /own\.pem \(CN=own\) expired on/ })
    assert.throws(() => load(withPassword, { K: 'k' }, new ManualClock(nowMs - 100_000)), { code: 'CERTIFICATE_REFUSED', message: /is not valid before/ })
    assert.match(refusal(withPassword, { K: 'wrong' }).message, /tls\.key: the key cannot be read with keyPassword/)
    assert.match(refusal(text('own.key')).message, /an encrypted one needs keyPassword/)
    assert.match(refusal(text('other.key')).message, /tls\.key: the key is not that of own\.pem/)
  })

  it('says what a build of librdkafka lacks, and how it gets it', () => {
    const { security } = load(`brokers: b:1\ntls: {}\nsasl: { mechanism: SCRAM-SHA-512, username: u, password: "\${P}" }\n${registry}`, { P: 'p' })
    assert.throws(() => requireFeatures(security, ['gzip', 'sasl_plain']), { code: 'PREREQUISITE_MISSING', message: /without ssl and sasl_scram/, remedy: /libssl-dev.* then npm rebuild node-rdkafka/ })
    requireFeatures({}, [])
  })
})
