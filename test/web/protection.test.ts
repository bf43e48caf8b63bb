import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { connect as connectTls, type ConnectionOptions, type PeerCertificate } from 'node:tls'
import { ManualClock, systemClock } from '../../src/base/clock.js'
import { HarrierError } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import { openServing, parseListen, type ServiceOptions } from '../../src/cli/service-options.js'
import { Metrics } from '../../src/web/metrics.js'
import { openMetricsService } from '../../src/web/metrics-route.js'
import type { Service } from '../../src/web/listen.js'
import { handleErrors } from '../../src/web/problem.js'
import { serviceLimits } from '../../src/web/service-limits.js'
import { TlsIdentity, tlsReloadMs } from '../../src/web/tls-identity.js'
import { fastify } from 'fastify'
import { makeCertificate } from '../broker/certificates.js'

const dayMs = 86_400_000

describe('the protection of a listener', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-tls-'))
  const files = { certificate: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
  const authority = makeCertificate({ commonName: 'authority' })
  const clock = new ManualClock(systemClock.nowMs())
  const logs: string[] = []
  const logger = { log: (_: string, message: string, fields?: object) => void logs.push(`${message} ${JSON.stringify(fields ?? {})}`) }
  const metrics = new Metrics({ stages: () => [], models: () => [] })
  let service: Service

  const issue = (commonName: string, options: { notAfterMs?: number } = {}): ReturnType<typeof makeCertificate> => makeCertificate({ commonName, issuer: authority, ...options })
  const write = ({ certificate, key }: { certificate: string; key: string }): void => {
    writeFileSync(files.certificate, certificate)
    writeFileSync(files.key, key)
  }
  const port = (): number => Number(new URL(service.url).port)
  async function handshake(options: ConnectionOptions = {}): Promise<{ certificate: PeerCertificate; protocol: string | null }> {
    const socket = connectTls({ port: port(), host: '127.0.0.1', servername: 'localhost', ca: authority.certificate, ...options })
    try {
      await once(socket, 'secureConnect')
      return { certificate: socket.getPeerCertificate(), protocol: socket.getProtocol() }
    } finally {
      socket.destroy()
    }
  }
  /** What a server says to bytes that are sent to it, until it closes. */
  async function say(bytes: string, to: Service): Promise<{ status: number; headers: string; body: { code?: string; error?: string; request_id?: string } }> {
    const socket = connect({ port: Number(new URL(to.url).port), host: '127.0.0.1' })
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString())).on('error', () => undefined)
    socket.write(bytes)
    await once(socket, 'close')
    const [head, body] = text.split('\r\n\r\n') as [string, string]
    return { status: Number(/^HTTP\/1.1 (\d+)/.exec(head)?.[1]), headers: head, body: JSON.parse(body.replace(/^[0-9a-f]+\r\n|\r\n0$/g, '')) as object }
  }

  before(async () => {
    write(issue('first'))
    service = await openMetricsService({ metrics, health: {}, tls: await TlsIdentity.load(files, clock), logger }, { host: '127.0.0.1', port: 0 })
  })
  after(async () => {
    await service.close()
    rmSync(folder, { recursive: true })
  })

  it('is TLS 1.2 at least, with forward secrecy, and tells browsers to stay with it', async () => {
    assert.match(service.url, /^https:/)
    assert.equal((await handshake()).protocol, 'TLSv1.3')
    assert.equal((await handshake({ maxVersion: 'TLSv1.2' })).protocol, 'TLSv1.2')
    await assert.rejects(handshake({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' }))
    await assert.rejects(handshake({ maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA256:@SECLEVEL=0' }))
    const socket = connectTls({ port: port(), host: '127.0.0.1', servername: 'localhost', ca: authority.certificate })
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    await once(socket, 'close')
    assert.match(text, /^HTTP\/1.1 200/)
    assert.match(text, /\r\nstrict-transport-security: max-age=\d{7,}/)
  })

  it('takes a renewed certificate without a restart, and keeps the one before while the new one cannot be used', async () => {
    const until = async (reached: () => boolean | Promise<boolean>): Promise<void> => {
      while (!(await reached())) {
        clock.advance(tlsReloadMs)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const names = async (): Promise<string> => (await handshake()).certificate.subject.CN as string
    assert.equal(await names(), 'first')
    const second = issue('second')
    writeFileSync(files.certificate, second.certificate)
    await until(() => logs.some((line) => /cannot be used.*is not the key of/.test(line)))
    assert.equal(await names(), 'first')
    writeFileSync(files.key, second.key)
    await until(async () => (await names()) === 'second')
    write(issue('third', { notAfterMs: clock.nowMs() - dayMs }))
    await until(() => logs.some((line) => /cannot be used.*expired/.test(line)))
    assert.equal(await names(), 'second')
    assert.equal(logs.filter((line) => /expired/.test(line)).length, 1, 'a cause is told once')
    assert.ok(!logs.join().includes('PRIVATE'))
  })

  it('refuses a certificate that is over, and files that are none, at the start', async () => {
    const refused = async (content: { certificate: string; key: string }, code: string, message: RegExp): Promise<void> => {
      write(content)
      await assert.rejects(TlsIdentity.load(files, clock), (error: HarrierError) => error.code === code && message.test(error.message) && !error.message.includes('PRIVATE'))
    }
    await refused(issue('old', { notAfterMs: clock.nowMs() - 1000 }), 'CERTIFICATE_REFUSED', /expired on/)
    await refused({ ...issue('a'), key: issue('b').key }, 'CONFIG_INVALID', /is not the key of/)
    await refused({ ...issue('a'), key: 'no key' }, 'CONFIG_INVALID', /holds no key/)
    await refused({ ...issue('a'), certificate: '' }, 'CONFIG_INVALID', /holds no certificate/)
    await refused(makeCertificate({ commonName: 'locked', keyPassword: 'x' }), 'CONFIG_INVALID', /without a password/)
    await assert.rejects(TlsIdentity.load({ ...files, key: join(folder, 'none') }, clock), /ENOENT/)
  })

  it('beyond loopback asks for rights and for TLS, unless it was said that it need not', async () => {
    const base = { servingThreads: 1, batchDelayMs: 0, queueRequests: 1, queueTimeoutMs: 1, oidcRoleClaim: 'roles', serveModels: ['none-such'] } satisfies ServiceOptions
    const open = (options: Partial<ServiceOptions>, listen = '0.0.0.0:0'): Promise<unknown> => openServing({ options: { ...base, ...options }, listen: parseListen(listen), clock: systemClock, logger: silentLogger })
    await assert.rejects(open({}), /anybody who reaches it/)
    await assert.rejects(open({ plainHttp: true }), /anybody who reaches it/)
    await assert.rejects(open({ anonymous: true }), /could be read on the way/)
    await assert.rejects(open({ keys: true }), /could be read on the way/)
    await assert.rejects(open({ tlsCertificate: files.certificate }), /go together/)
    // these come as far as the models
    for (const allowed of [open({}, '127.0.0.1:0'), open({ anonymous: true, plainHttp: true })]) await assert.rejects(allowed, /none-such/)
  })

  it('answers nonsense in its own words, without repeating it, and closes', async () => {
    const plain = await openMetricsService({ metrics, health: {}, logger: silentLogger }, { host: '127.0.0.1', port: 0 })
    const get = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${headers}\r\n`
    try {
      const cases: [string, number][] = [
        ['secret nonsense\r\n\r\n', 400],
        [get('/%E0%A4%A'), 400],
        [get(`/healthz?secret=${'a'.repeat(serviceLimits.urlBytesMax)}`), 414],
        [get('/healthz', `Secret: ${'a'.repeat(serviceLimits.headerBytesMax)}\r\n`), 431],
        [get('/secret'), 404],
      ]
      for (const [bytes, status] of cases) {
        const answer = await say(bytes, plain)
        assert.equal(answer.status, status, bytes.slice(0, 60))
        assert.ok(answer.body.code && answer.body.error && answer.body.request_id)
        assert.match(answer.headers, /nosniff/)
        assert.match(answer.headers, /content-security-policy/)
        assert.doesNotMatch(JSON.stringify(answer.body), /secret|%E0|HPE|FST_/)
      }
    } finally {
      await plain.close()
    }
  })

  it('keeps what a broker, a registry or a model said for the log', async () => {
    const app = fastify()
    const said: string[] = []
    handleErrors(app, { log: (_, message, fields) => void said.push(`${message} ${String(fields?.cause)}`) })
    for (const code of ['BROKER_UNAVAILABLE', 'MODEL_FAILED', 'RESTORE_IMPOSSIBLE'] as const) {
      app.get(`/${code}`, () => {
        throw new HarrierError(code, 'kafka-7.inside:9092 at /opt/models/x.onnx')
      })
    }
    for (const code of ['BROKER_UNAVAILABLE', 'MODEL_FAILED', 'RESTORE_IMPOSSIBLE']) {
      const answer = await app.inject(`/${code}`)
      assert.ok(answer.statusCode >= 500)
      assert.doesNotMatch(answer.body, /inside|onnx\b/)
    }
    assert.equal(said.filter((line) => line.includes('kafka-7.inside')).length, 3)
  })
})
