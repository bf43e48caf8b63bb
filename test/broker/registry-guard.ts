import { request } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Certificate } from './certificates.js'

export interface GuardOptions {
  /** The open registry behind. */
  readonly target: string
  readonly server: Certificate
  readonly authority: Certificate
  /** The `authorization` that is let through; undefined: a client certificate of the authority is demanded instead. */
  readonly authorization?: (() => readonly string[]) | undefined
}

/**
 * HTTPS with authentication in front of an open registry. Apicurio's own needs a Keycloak beside it, which no test can
 * count on; to a client both look the same.
 */
export class RegistryGuard {
  refused = 0
  passed = 0
  readonly #server: Server
  readonly #path: string

  constructor({ target, server, authority, authorization }: GuardOptions) {
    const { hostname, port, pathname } = new URL(target)
    this.#path = pathname
    const byCertificate = authorization === undefined
    const tls = { key: server.key, cert: server.certificate, ca: [authority.certificate], requestCert: byCertificate, rejectUnauthorized: byCertificate }
    this.#server = createServer(tls, (incoming, outgoing) => {
      const allowed = authorization === undefined ? (incoming.socket as TLSSocket).authorized : authorization().includes(incoming.headers.authorization ?? '')
      if (!allowed) {
        this.refused++
        outgoing.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify({ error_code: 40101, message: 'Unauthorized' }))
        return
      }
      this.passed++
      const { authorization: _secret, ...headers } = incoming.headers
      const behind = request({ hostname, port, path: incoming.url, method: incoming.method, headers: { ...headers, host: `${hostname}:${port}` } }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(outgoing)
      })
      behind.on('error', () => outgoing.destroy())
      incoming.pipe(behind)
    })
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.#path}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
