import { readFileSync } from 'node:fs'
import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { HttpClient } from './http-client.js'
import { Secret } from './secret.js'
import type { TlsSettings } from './security.js'
import { lastingTrouble } from './trouble.js'

export interface Token {
  readonly value: Secret
  /** Wall-clock time in ms from which `token` gives a newer one. */
  readonly refreshAtMs: number
}

/** Where bearer tokens come from. Ask for each use: what is good still is given again without a request. */
export interface TokenSource {
  /** Errors: AUTHENTICATION_FAILED, TOKEN_UNAVAILABLE. */
  token(): Promise<Token>
  /** The token was refused: the next call gets a new one. */
  forget(): void
}

export const tokenLimits = {
  requestMsMax: 10_000,
  /** A token is replaced after this share of its life. */
  lifeShare: 0.8,
  /** A token file is read again this often, and a token without an expiry is asked for again this often. */
  unknownLifeMs: 60_000,
} as const

export interface ClientCredentials {
  readonly endpoint: string
  readonly clientId: string
  readonly clientSecret: Secret
  readonly scope?: string | undefined
  readonly tls?: TlsSettings | undefined
}

/** OAuth 2.0 client credentials (RFC 6749, 4.4): one request for each life of a token, however many ask. */
export class ClientCredentialsTokens implements TokenSource {
  readonly #credentials: ClientCredentials
  readonly #clock: Clock
  readonly #http: HttpClient
  #token: Token | undefined
  #asking: Promise<Token> | undefined

  constructor(credentials: ClientCredentials, clock: Clock) {
    this.#credentials = credentials
    this.#clock = clock
    this.#http = new HttpClient(credentials.tls)
  }

  token(): Promise<Token> {
    if (this.#token && this.#clock.nowMs() < this.#token.refreshAtMs) return Promise.resolve(this.#token)
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined))
    return this.#asking
  }

  forget(): void {
    this.#token = undefined
  }

  async #ask(): Promise<Token> {
    const { endpoint, clientId, clientSecret, scope } = this.#credentials
    const form = new URLSearchParams({ grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) })
    // RFC 6749, 2.3.1: both are form-encoded before they are put together.
    const encode = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1)
    const basic = Buffer.from(`${encode(clientId)}:${encode(clientSecret.reveal())}`).toString('base64')
    const headers = { authorization: `Basic ${basic}`, 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' }
    const askedMs = this.#clock.nowMs()
    let answer
    try {
      answer = await this.#http.request(endpoint, { method: 'POST', headers, body: form.toString(), signal: AbortSignal.timeout(tokenLimits.requestMsMax) })
    } catch (error) {
      throw (
        lastingTrouble(`the token endpoint ${endpoint}`, `${messageOf(error)} ${String((error as { code?: unknown }).code ?? '')}`) ??
        new HarrierError('TOKEN_UNAVAILABLE', `the token endpoint ${endpoint} does not answer: ${messageOf(error)}`)
      )
    }
    const { access_token: value, expires_in: seconds, error } = parse(answer.text)
    if (answer.status >= 500) throw new HarrierError('TOKEN_UNAVAILABLE', `the token endpoint ${endpoint} answered with status ${answer.status}`)
    if (answer.status !== 200 || typeof value !== 'string' || value === '') {
      // Only the code of the error: a description might repeat what was sent.
      const code = typeof error === 'string' && /^[\w.-]{1,64}$/.test(error) ? ` (${error})` : ''
      throw failed(`the token endpoint ${endpoint} gave no token to client ${clientId}: status ${answer.status}${code}`, 'correct clientId, clientSecret and scope of the connection file')
    }
    const lifeMs = typeof seconds === 'number' && seconds > 0 ? seconds * 1000 * tokenLimits.lifeShare : tokenLimits.unknownLifeMs
    this.#token = { value: new Secret(value), refreshAtMs: askedMs + lifeMs }
    return this.#token
  }
}

/** A token in a file that somebody else keeps fresh. */
export class TokenFile implements TokenSource {
  readonly #path: string
  readonly #clock: Clock

  constructor(path: string, clock: Clock) {
    this.#path = path
    this.#clock = clock
  }

  async token(): Promise<Token> {
    let value: string
    try {
      value = readFileSync(this.#path, 'utf8').trim()
    } catch (error) {
      throw failed(`the token file ${this.#path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}`, 'correct tokenFile, or let what writes it run first')
    }
    if (value === '') throw failed(`the token file ${this.#path} is empty`, 'let what writes it run first')
    const nowMs = this.#clock.nowMs()
    const expiresMs = expiryOf(value)
    if (expiresMs !== undefined && expiresMs <= nowMs) {
      throw failed(`the token in ${this.#path} expired at ${new Date(expiresMs).toISOString()}`, 'whatever keeps that file fresh has stopped: start it again')
    }
    const lifeMs = expiresMs === undefined ? Infinity : (expiresMs - nowMs) * tokenLimits.lifeShare
    return { value: new Secret(value), refreshAtMs: nowMs + Math.min(lifeMs, tokenLimits.unknownLifeMs) }
  }

  forget(): void {
    // Nothing is kept: the file is read for each token.
  }
}

/** A token that stays as it is. */
export class FixedToken implements TokenSource {
  readonly #token: Token

  constructor(value: Secret) {
    this.#token = { value, refreshAtMs: Infinity }
  }

  token(): Promise<Token> {
    return Promise.resolve(this.#token)
  }

  forget(): void {
    // There is no other.
  }
}

/** `exp` of a JWT in ms; undefined for any other token. */
function expiryOf(token: string): number | undefined {
  const { exp } = parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
  return typeof exp === 'number' ? exp * 1000 : undefined
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

function failed(message: string, remedy: string): HarrierError {
  return new HarrierError('AUTHENTICATION_FAILED', message, { remedy })
}
