import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload } from 'jose'
import { HarrierError } from '../base/errors.js'
import { roles, type Principal, type Role } from './key-record.js'

export interface OidcOptions {
  /** `iss` of the tokens; its `/.well-known/openid-configuration` names the keys unless `jwks` does. */
  readonly issuer: string
  readonly audience: string
  readonly jwks?: string | undefined
  /** The claim that holds a role, or a list in which the highest counts; dots lead inside. */
  readonly roleClaim: string
}

export const oidcLimits = {
  requestMsMax: 5000,
  /** The keys are asked for again after so long, and at most so often for an unknown key id. */
  keysMsMax: 600_000,
  cooldownMs: 30_000,
  /** By how much clocks may differ. */
  clockSkewSeconds: 30,
  tokenBytesMax: 8192,
} as const

/** Signatures by a private key of the issuer only: none with a shared secret, and never `none`. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']

/** Bearer tokens of an issuer: who it is and which role. */
export class OidcVerifier {
  readonly #options: OidcOptions
  #keys: ReturnType<typeof createRemoteJWKSet> | undefined

  constructor(options: OidcOptions) {
    this.#options = options
  }

  /** Asks the issuer where its keys are. Errors: CONFIG_INVALID, TOKEN_UNAVAILABLE. */
  async open(): Promise<void> {
    const url = this.#options.jwks ?? (await this.#discover())
    if (!URL.canParse(url)) throw new HarrierError('CONFIG_INVALID', 'the address of the issuer\'s keys is no URL', { remedy: 'correct --oidc-jwks' })
    this.#keys = createRemoteJWKSet(new URL(url), { timeoutDuration: oidcLimits.requestMsMax, cacheMaxAge: oidcLimits.keysMsMax, cooldownDuration: oidcLimits.cooldownMs })
  }

  async #discover(): Promise<string> {
    const { issuer } = this.#options
    try {
      const answer = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, { signal: AbortSignal.timeout(oidcLimits.requestMsMax), redirect: 'error' })
      const { issuer: named, jwks_uri: keys } = (await answer.json()) as { issuer?: string; jwks_uri?: string }
      if (named === issuer && keys !== undefined) return keys
    } catch (error) {
      throw new HarrierError('TOKEN_UNAVAILABLE', `the issuer ${issuer} does not say where its keys are`, { cause: error, remedy: 'correct --oidc-issuer, or name the keys with --oidc-jwks' })
    }
    throw new HarrierError('CONFIG_INVALID', `${issuer} names another issuer, or no keys`, { remedy: 'write --oidc-issuer as the tokens have it' })
  }

  /** Errors: UNAUTHENTICATED, FORBIDDEN (no role of ours), TOKEN_UNAVAILABLE (the keys cannot be had). */
  async verify(token: string): Promise<Principal> {
    const refused = (): HarrierError => new HarrierError('UNAUTHENTICATED', 'the token is not taken: issuer, audience, time or signature')
    if (!this.#keys || token.length > oidcLimits.tokenBytesMax) throw refused()
    const { issuer, audience, roleClaim } = this.#options
    let payload: JWTPayload
    try {
      payload = (await jwtVerify(token, this.#keys, { issuer, audience, algorithms, clockTolerance: oidcLimits.clockSkewSeconds, requiredClaims: ['exp', 'sub'] })).payload
    } catch (error) {
      if (error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError)) throw new HarrierError('TOKEN_UNAVAILABLE', 'the keys of the issuer cannot be had', { cause: error, retryAfterMs: 5000 })
      throw refused()
    }
    const role = roleOf(payload, roleClaim)
    if (role === undefined) throw new HarrierError('FORBIDDEN', `the token names no role of ours in "${roleClaim}"`)
    return { id: `oidc ${payload.sub}`, name: payload.sub!, role, models: null, topologies: null, quota: {} }
  }
}

function roleOf(payload: JWTPayload, claim: string): Role | undefined {
  let value: unknown = payload
  for (const part of claim.split('.')) value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[part] : undefined
  const named = (Array.isArray(value) ? value : String(value ?? '').split(' ')) as unknown[]
  return roles.findLast((role) => named.includes(role) || named.includes(`harrier:${role}`))
}
