import type { Secret } from './secret.js'
import type { TokenSource } from './token-source.js'

/** TLS of a client: whom it trusts and how it shows who it is. */
export interface TlsSettings {
  /** PEM of the authorities that sign the servers' certificates; without it, those that Node.js brings. */
  readonly ca?: string | undefined
  /** PEM of the client's certificate and the chain above it. */
  readonly certificate?: string | undefined
  readonly key?: Secret | undefined
  readonly keyPassword?: Secret | undefined
  readonly verifyHostname: boolean
}

export type PasswordMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'

export type KafkaLogin =
  | { readonly mechanism: PasswordMechanism; readonly username: string; readonly password: Secret }
  | { readonly mechanism: 'OAUTHBEARER'; readonly tokens: TokenSource }

/** How clients of the brokers protect the connection and show who they are; empty: an open listener. */
export interface KafkaSecurity {
  readonly tls?: TlsSettings | undefined
  readonly login?: KafkaLogin | undefined
}

export type RegistryLogin =
  | { readonly type: 'basic'; readonly username: string; readonly password: Secret }
  | { readonly type: 'bearer'; readonly tokens: TokenSource }

export interface RegistrySecurity {
  readonly tls?: TlsSettings | undefined
  readonly login?: RegistryLogin | undefined
}

export interface ObjectStoreCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: Secret
  readonly sessionToken?: Secret | undefined
}

/** How an S3-compatible object store is reached. */
export interface ObjectStoreAccess {
  /** Base of the API, without a slash at the end; undefined: Amazon S3 of the region. */
  readonly endpoint?: string | undefined
  readonly region: string
  readonly pathStyle: boolean
  readonly tls?: TlsSettings | undefined
  /** Asked for each request, so that renewed ones are taken without a restart. Errors: CONFIG_INVALID. */
  readonly credentials: () => ObjectStoreCredentials
}

/** A cluster and its schema registry, and how to connect to them. */
export interface ClusterConnection {
  /** `host:port`, comma-separated. */
  readonly brokers: string
  readonly security?: KafkaSecurity | undefined
  /** How long the first answer of a broker is waited for. */
  readonly connectMsMax?: number | undefined
  /** Base of a Confluent-compatible API, without a slash at the end. */
  readonly registryUrl: string
  readonly registrySecurity?: RegistrySecurity | undefined
  /** Where `s3://` leads; undefined: what the environment says. */
  readonly objectStore?: ObjectStoreAccess | undefined
}

/** What a client takes of `connectMsMax`: its own limit where the connection names none. */
export function connectLimits({ connectMsMax }: Pick<ClusterConnection, 'connectMsMax'>): { limits?: { connectMsMax: number } } {
  return connectMsMax === undefined ? {} : { limits: { connectMsMax } }
}

/** One line about who connects how, for people: no secret is in it. */
export function describeSecurity({ tls, login }: KafkaSecurity): string {
  const channel = tls === undefined ? 'open' : tls.certificate === undefined ? 'TLS' : 'mutual TLS'
  if (login === undefined) return channel
  return `${channel}, ${login.mechanism}${'username' in login ? ` as ${login.username}` : ''}`
}
