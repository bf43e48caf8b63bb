import { createSign, generateKeyPairSync } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { systemClock } from '../../src/base/clock.js'

/** An OAuth issuer: tokens for client credentials, signed with RS256, and the key to check them. */
export class TestIssuer {
  readonly clientId = 'harrier-engine'
  readonly clientSecret = 'osprey-4b8d'
  /** Lifetime of the tokens given out from now on. */
  lifetimeSeconds = 300
  issued = 0
  refused = 0
  readonly #keys = generateKeyPairSync('rsa', { modulusLength: 2048 })
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        const answer = (status: number, value: object): void => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
        if (request.url === '/jwks') return answer(200, { keys: [{ ...this.#keys.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }] })
        const expected = `Basic ${Buffer.from(`${this.clientId}:${this.clientSecret}`).toString('base64')}`
        const form = new URLSearchParams(body)
        if (request.headers.authorization !== expected || form.get('grant_type') !== 'client_credentials') {
          this.refused++
          return answer(401, { error: 'invalid_client', error_description: `unknown client or secret ${request.headers.authorization}` })
        }
        this.issued++
        answer(200, { access_token: this.token('harrier'), token_type: 'Bearer', expires_in: this.lifetimeSeconds })
      })
    })
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  token(subject: string, lifetimeSeconds = this.lifetimeSeconds): string {
    const now = Math.floor(systemClock.nowMs() / 1000)
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const signed = `${part({ alg: 'RS256', typ: 'JWT', kid: 'k1' })}.${part({ sub: subject, aud: 'kafka', scope: 'kafka', iat: now, exp: now + lifetimeSeconds })}`
    return `${signed}.${createSign('sha256').update(signed).sign(this.#keys.privateKey).toString('base64url')}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
