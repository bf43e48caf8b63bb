import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { problemText } from '../base/setting-problems.js'
import { connectionSchema, secretSettings, type ConnectionSpec, type ObjectStoreSpec, type TlsSpec, type TokenSpec } from './connection-schema.js'
import { environmentCredentials, regionDefault } from './object-store.js'
import { Secret } from './secret.js'
import type { KafkaLogin, KafkaSecurity, ObjectStoreAccess, RegistryLogin, RegistrySecurity, TlsSettings } from './security.js'
import { ClientCredentialsTokens, FixedToken, TokenFile, type TokenSource } from './token-source.js'

/** A connection file with all that it refers to. */
export interface ConnectionFile {
  readonly brokers: string
  readonly security: KafkaSecurity
  readonly connectMsMax: number
  readonly registryUrl: string
  readonly registrySecurity: RegistrySecurity
  readonly objectStore?: ObjectStoreAccess | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads a connection file, its certificates and its secrets. Paths are relative to the file.
 * @throws HarrierError CONFIG_INVALID with the setting named, CERTIFICATE_REFUSED for a certificate of ours that is not valid now.
 */
export function loadConnectionFile(file: string, options: { clock: Clock; env?: Environment }): ConnectionFile {
  const { clock, env = process.env } = options
  const reader = new Reader(file, env, clock)
  const spec = reader.spec()
  const { registry, sasl, objectStore } = spec
  const security: KafkaSecurity = { tls: reader.tls('tls', spec.tls), login: sasl && reader.kafkaLogin(sasl) }
  const registrySecurity: RegistrySecurity = { tls: reader.tls('registry.tls', registry.tls), login: reader.registryLogin(registry) }
  return {
    brokers: spec.brokers.replace(/\s+/g, ''),
    security,
    connectMsMax: spec.connectTimeout,
    registryUrl: registry.url.replace(/\/+$/, ''),
    registrySecurity,
    objectStore: objectStore && reader.objectStore(objectStore),
  }
}

/** Messages name settings, variables and files; never what stands in them. */
class Reader {
  readonly #file: string
  readonly #env: Environment
  readonly #clock: Clock

  constructor(file: string, env: Environment, clock: Clock) {
    this.#file = file
    this.#env = env
    this.#clock = clock
  }

  spec(): ConnectionSpec {
    const document = parseDocument(this.#read('', this.#file))
    const [first] = document.errors
    // The parser's own message quotes the line, and with it what may be a secret.
    if (first) throw this.#invalid('', `line ${first.linePos?.[0].line ?? 1} is not YAML (${first.code})`)
    const settings = this.#substitute(document.toJS(), [])
    const parsed = connectionSchema.safeParse(settings)
    if (parsed.success) return parsed.data
    const problems = parsed.error.issues.map((issue) => `\n  ${issue.path.length === 0 ? '' : `${issue.path.join('.')}: `}${problemText(issue, connectionSchema, settings, { showValues: false })}`)
    throw this.#invalid('', `${problems.length} problem${problems.length === 1 ? '' : 's'}${problems.join('')}`)
  }

  tls(at: string, spec: TlsSpec | undefined): TlsSettings | undefined {
    if (spec === undefined) return undefined
    const { ca, certificate, key, keyPassword, verifyHostname } = spec
    const pem = (name: string, path: string | undefined, kind: RegExp): string | undefined => {
      if (path === undefined) return undefined
      const text = this.#read(`${at}.${name}`, path)
      if (!kind.test(text)) throw this.#invalid(`${at}.${name}`, `${path} is not a PEM file of the right kind`)
      return text
    }
    const settings: TlsSettings = {
      ca: pem('ca', ca, /-----BEGIN (TRUSTED )?CERTIFICATE-----/),
      certificate: pem('certificate', certificate, /-----BEGIN CERTIFICATE-----/),
      key: key === undefined ? undefined : new Secret(pem('key', key, /-----BEGIN [A-Z ]*PRIVATE KEY-----/)!),
      keyPassword: keyPassword === undefined ? undefined : this.#secret(`${at}.keyPassword`, keyPassword),
      verifyHostname,
    }
    if (settings.certificate !== undefined && settings.key !== undefined) this.#checkPair(at, certificate!, settings)
    return settings
  }

  kafkaLogin(sasl: NonNullable<ConnectionSpec['sasl']>): KafkaLogin {
    if (sasl.mechanism === 'OAUTHBEARER') return { mechanism: sasl.mechanism, tokens: this.#tokens('sasl', sasl) }
    return { mechanism: sasl.mechanism, username: sasl.username!, password: this.#secret('sasl.password', sasl.password!) }
  }

  registryLogin(registry: ConnectionSpec['registry']): RegistryLogin | undefined {
    if (registry.auth === 'none') return undefined
    if (registry.auth === 'basic') return { type: 'basic', username: registry.username!, password: this.#secret('registry.password', registry.password!) }
    const { token } = registry
    return { type: 'bearer', tokens: token === undefined ? this.#tokens('registry', registry) : new FixedToken(this.#secret('registry.token', token)) }
  }

  objectStore({ endpoint, region, accessKeyId, secretAccessKey, sessionToken, pathStyle, tls }: ObjectStoreSpec): ObjectStoreAccess {
    const credentials = accessKeyId === undefined ? () => environmentCredentials(this.#env) : () => ({
      accessKeyId,
      secretAccessKey: this.#secret('objectStore.secretAccessKey', secretAccessKey!),
      sessionToken: sessionToken === undefined ? undefined : this.#secret('objectStore.sessionToken', sessionToken),
    })
    // What is wrong with those of the file is told now, and not when the first version is fetched.
    if (accessKeyId !== undefined) credentials()
    return { endpoint: endpoint?.replace(/\/+$/, ''), region: region ?? regionDefault, pathStyle: pathStyle ?? endpoint !== undefined, tls: this.tls('objectStore.tls', tls), credentials }
  }

  #tokens(at: string, { tokenFile, tokenEndpoint, clientId, clientSecret, scope, tokenCa }: TokenSpec): TokenSource {
    if (tokenFile !== undefined) return new TokenFile(this.#path(tokenFile), this.#clock)
    const tls = tokenCa === undefined ? undefined : this.tls(at, { ca: tokenCa, verifyHostname: true })
    return new ClientCredentialsTokens({ endpoint: tokenEndpoint!, clientId: clientId!, clientSecret: this.#secret(`${at}.clientSecret`, clientSecret!), scope, tls }, this.#clock)
  }

  #checkPair(at: string, path: string, { certificate, key, keyPassword }: TlsSettings): void {
    const name = `our certificate ${path}`
    let own: X509Certificate
    try {
      own = new X509Certificate(certificate!)
    } catch {
      throw this.#invalid(`${at}.certificate`, `${path} holds no certificate that can be read`)
    }
    const nowMs = this.#clock.nowMs()
    const refused = (why: string): HarrierError => new HarrierError('CERTIFICATE_REFUSED', `${name} (${own.subject.replace(/\n/g, ', ')}) ${why}`, { remedy: `renew it, and ${at}.key with it` })
    if (Date.parse(own.validTo) < nowMs) throw refused(`expired on ${new Date(own.validTo).toISOString()}`)
    if (Date.parse(own.validFrom) > nowMs) throw refused(`is not valid before ${new Date(own.validFrom).toISOString()}`)
    let matches: boolean
    try {
      matches = own.checkPrivateKey(createPrivateKey({ key: key!.reveal(), ...(keyPassword === undefined ? {} : { passphrase: keyPassword.reveal() }) }))
    } catch {
      throw this.#invalid(`${at}.key`, keyPassword === undefined ? 'the key cannot be read; an encrypted one needs keyPassword' : 'the key cannot be read with keyPassword')
    }
    if (!matches) throw this.#invalid(`${at}.key`, `the key is not that of ${path}`)
  }

  /** Puts variables into all values that are no secrets; those are resolved later, so that no message can show them. */
  #substitute(value: unknown, path: readonly string[]): unknown {
    if (Array.isArray(value)) return value.map((each, index) => this.#substitute(each, [...path, String(index)]))
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, secretSettings.has(name) ? each : this.#substitute(each, [...path, name])]))
    }
    if (typeof value !== 'string') return value
    return value.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => this.#variable(path.join('.'), name))
  }

  #secret(at: string, reference: string): Secret {
    const variable = /^\$\{(.*)\}$/.exec(reference)?.[1]
    if (variable !== undefined) return new Secret(this.#variable(at, variable))
    const path = reference.replace(/^file:/, '')
    const text = this.#read(at, path).replace(/\r?\n$/, '')
    if (text === '') throw this.#invalid(at, `the file ${path} is empty`)
    return new Secret(text)
  }

  #variable(at: string, name: string): string {
    const value = this.#env[name]
    if (value === undefined || value === '') throw this.#invalid(at, `the variable ${name} is not set`)
    return value
  }

  #read(at: string, path: string): string {
    try {
      return readFileSync(at === '' ? path : this.#path(path), 'utf8')
    } catch (error) {
      throw this.#invalid(at, `${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}`)
    }
  }

  #path(path: string): string {
    return resolve(dirname(this.#file), path)
  }

  #invalid(at: string, message: string): HarrierError {
    return new HarrierError('CONFIG_INVALID', `connection file ${this.#file}: ${at === '' ? '' : `${at}: `}${message}`, { remedy: 'correct the named setting; docs/connections.md lists them all' })
  }
}
