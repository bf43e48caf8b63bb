import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/base/clock.js'
import { HttpClient } from '../../src/connection/http-client.js'
import { Guardian } from '../../src/stack/guardian.js'
import { fetchParts, type Part } from '../../src/stack/library.js'
import { terminate } from '../../src/stack/owned-process.js'
import { freePort } from '../../src/stack/ports.js'
import { findJava, findMaven } from '../../src/stack/programs.js'
import { defaultStateDir } from '../../src/stack/state-folder.js'
import { startService, waitUntilAnswers } from '../../src/stack/start-service.js'
import type { Certificate } from '../broker/certificates.js'

const version = '2.9.0'
const part: Part = { title: `S3Proxy ${version}`, folder: `s3proxy-${version}`, pom: fileURLToPath(new URL('../../../stack/s3proxy/pom.xml', import.meta.url)), goal: 'dependency:copy-dependencies', aboutMegabytes: 22 }

export const s3Credentials = { accessKeyId: 'kestrel', secretAccessKey: 'merlin-4b7d' } as const

export interface S3Server {
  readonly endpoint: string
  /** The folder of a bucket: an object is a file. */
  bucketFolder(bucket: string): string
  stop(): Promise<void>
}

/** Undefined where it can run: else why not. */
export async function whyNoS3(): Promise<string | undefined> {
  const [java, maven] = await Promise.all([findJava(), findMaven()])
  return java && maven ? undefined : 'the S3 server of the tests needs Java and Maven'
}

/** S3Proxy over a folder, which checks signatures and knows conditions of writes; gone when the test process is, however it ends. */
export async function startS3Server(buckets: readonly string[]): Promise<S3Server> {
  const lib = join(defaultStateDir(), 'lib')
  mkdirSync(lib, { recursive: true })
  await fetchParts(lib, [part], (text, kind) => void (kind === 'tick' || process.stderr.write(`${text}\n`)))
  const folder = mkdtempSync(join(tmpdir(), 'harrier-s3-'))
  const data = join(folder, 'data')
  for (const bucket of buckets) mkdirSync(join(data, bucket), { recursive: true })
  const port = await freePort(20_000 + (process.pid % 4_000) * 3)
  const endpoint = `http://127.0.0.1:${port}`
  const properties = join(folder, 's3proxy.properties')
  writeFileSync(
    properties,
    [`s3proxy.endpoint=${endpoint}`, 's3proxy.authorization=aws-v2-or-v4', `s3proxy.identity=${s3Credentials.accessKeyId}`, `s3proxy.credential=${s3Credentials.secretAccessKey}`, 'jclouds.provider=filesystem', `jclouds.filesystem.basedir=${data}`, ''].join('\n'),
  )
  const logging = join(folder, 'logback.xml')
  writeFileSync(
    logging,
    '<configuration><appender name="err" class="ch.qos.logback.core.ConsoleAppender"><target>System.err</target><encoder><pattern>%d %level %logger %msg%n</pattern></encoder></appender>' +
      '<root level="warn"><appender-ref ref="err"/></root></configuration>',
  )
  const java = (await findJava())!
  const log = join(folder, 's3proxy.log')
  const service = startService('S3 server', [java.path, '-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', `-Dlogback.configurationFile=${logging}`, '-cp', `${join(lib, part.folder)}/*`, 'org.gaul.s3proxy.Main', '--properties', properties], log)
  const guardian = new Guardian()
  guardian.guard(service, folder)
  const http = new HttpClient()
  const stop = async (): Promise<void> => {
    guardian.release()
    await terminate(service, 0)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await waitUntilAnswers('S3 server', service, log, 60_000, async () => {
      try {
        const { status } = await http.request(`${endpoint}/`, { method: 'GET', headers: {} })
        return { ok: status === 403, detail: `status ${status}` }
      } catch (error) {
        return { ok: false, detail: String(error) }
      }
    }, systemClock)
  } catch (error) {
    await stop()
    throw error
  }
  return { endpoint, bucketFolder: (bucket) => join(data, bucket), stop }
}

/** HTTPS in front of an S3 server. It can be told to answer the next requests with an error, or to cut them off. */
export class S3Front {
  requests = 0
  /** What happens to the next requests, first to last: a status with a code, or 'cut'. */
  readonly troubles: ({ readonly status: number; readonly code: string } | 'cut')[] = []
  readonly #server: Server

  constructor(target: string, server: Certificate) {
    const { hostname, port } = new URL(target)
    this.#server = createServer({ key: server.key, cert: server.certificate }, (incoming, outgoing) => {
      this.requests++
      const trouble = this.troubles.shift()
      if (trouble === 'cut') return void incoming.socket.destroy()
      if (trouble) {
        incoming.resume()
        outgoing.writeHead(trouble.status, { 'content-type': 'application/xml' }).end(`<Error><Code>${trouble.code}</Code><Message>told to</Message></Error>`)
        return
      }
      // The host is signed, and goes through as it came.
      const behind = request({ hostname, port, path: incoming.url, method: incoming.method, headers: incoming.headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      })
      behind.on('error', () => outgoing.destroy())
      incoming.pipe(behind)
    })
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
