import { InvalidArgumentError, type Command } from 'commander'
import { AccessControl } from '../access/access-control.js'
import { accessTopics } from '../access/access-topics.js'
import { AuditTrail } from '../access/audit-trail.js'
import type { OidcOptions } from '../access/oidc.js'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { ClusterConnection } from '../connection/security.js'
import type { DevicePolicy } from '../inference/device.js'
import { modelNameOf } from '../inference/manifest.js'
import { ModelHost } from '../inference/serving/model-host.js'
import { queueLimitsDefault } from '../inference/serving/request-queue.js'
import type { PrivacyKeys } from '../privacy/privacy-keys.js'
import { readTrustedKey } from '../registry/model-package.js'
import { ModelShelf } from '../registry/model-shelf.js'
import { ObjectModels } from '../registry/object-models.js'
import { ScoreGateway, type ScoreGatewayOptions } from '../topology/score-gateway.js'
import { modelsFolder } from '../topology/open-scorer.js'
import { RecordDesk } from '../topology/record-desk.js'
import { StageDesks } from '../topology/stage-desks.js'
import { StreamWatch } from '../topology/stream-watch.js'
import { serviceLimits } from '../web/service-limits.js'
import type { EngineView, VersionParts } from '../web/service-parts.js'
import type { ListenAddress, Service } from '../web/listen.js'
import { openMetricsService } from '../web/metrics-route.js'
import { Metrics } from '../web/metrics.js'
import { openService } from '../web/service.js'
import { TlsIdentity } from '../web/tls-identity.js'
import { parseCount } from './parse-options.js'

export const listenDefault: ListenAddress & { toString(): string } = { host: '127.0.0.1', port: 8080, toString: () => '127.0.0.1:8080' }

/** The address of the k-th of several processes, as an option. */
export function withPort({ host, port }: ListenAddress, k: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port + k}`
}

/** Options of the HTTP service, the same for `harrier serve` and `harrier run --serve`. */
export interface ServiceOptions {
  serveModels?: string[]
  servingThreads: number
  batchDelayMs: number
  queueRequests: number
  queueTimeoutMs: number
  tlsCertificate?: string
  tlsKey?: string
  plainHttp?: boolean
  trust?: string[]
  anonymous?: boolean
  keys?: boolean
  oidcIssuer?: string
  oidcAudience?: string
  oidcJwks?: string
  oidcRoleClaim: string
}

export function addServiceOptions(command: Command): Command {
  return command
    .option('--serve-models <names>', 'model versions that answer requests: <name>@<version> or <name>, separated by commas (default: all of the folder)', commaList)
    .option('--serving-threads <n>', 'threads of each served model version', parseCount, 1)
    .option('--batch-delay-ms <ms>', 'how long a free thread waits for a batch to fill', parseMs, queueLimitsDefault.delayMs)
    .option('--queue-requests <n>', 'requests that may wait for one model version; more are refused with 503', parseCount, queueLimitsDefault.requestsMax)
    .option('--queue-timeout-ms <ms>', 'how long a request may wait before it is refused with 503', parseCount, queueLimitsDefault.timeoutMsMax)
    .option('--keys', 'ask for a key of `harrier keys create`')
    .option('--oidc-issuer <url>', 'take bearer tokens of this issuer, as their `iss` has it')
    .option('--oidc-audience <name>', 'the `aud` that they must have')
    .option('--oidc-jwks <url>', 'where the keys of the issuer are (default: what its discovery document says)')
    .option('--oidc-role-claim <name>', 'claim with one of viewer, scorer, releaser, admin, or a list with one; dots lead inside', 'roles')
    .option('--tls-certificate <file>', 'PEM of the certificate of the service and the chain above it; a renewed one is taken without a restart')
    .option('--tls-key <file>', 'PEM of its key')
    .option('--trust <file>', 'ed25519 public key in PEM: versions that it has signed may be registered over HTTP; may be given several times', (file: string, all: string[] = []) => [...all, file])
    .option('--anonymous', 'let anybody who reaches an address that is not loopback use the service')
    .option('--plain-http', 'on an address that is not loopback, let keys and answers cross the network without TLS: behind a proxy that ends it')
}

export interface ServingChoice {
  readonly options: ServiceOptions
  readonly listen: ListenAddress
  readonly models?: string | ObjectModels | undefined
  readonly device?: DevicePolicy | undefined
  readonly engine?: EngineView | undefined
  /** Of the topics of keys. */
  readonly cluster?: { readonly connection: ClusterConnection; readonly namespace?: string | undefined; readonly instanceId: string } | undefined
  /** The topology whose scores may be asked for. */
  readonly scored?: Omit<ScoreGatewayOptions, 'clock' | 'logger'> | undefined
  /** Open its dead letters, and find its tokens. */
  readonly privacyKeys?: PrivacyKeys | undefined
  /** Its stream is shown, and no transaction is taken. */
  readonly isWatchedOnly?: boolean | undefined
  /** The file that says how to connect, where one does. */
  readonly connectionFile?: string | undefined
  readonly clock: Clock
  readonly logger: Logger
}

/** What `close` ends: the service and its models. */
export interface Serving {
  readonly service: Service
  readonly host: ModelHost
  close(): Promise<void>
}

/** Listens first, so that probes are answered, and opens the models then. Errors: USAGE, CONFIG_INVALID, those of models. */
export async function openServing({ options, listen, models, device, engine, cluster, scored, privacyKeys, isWatchedOnly, connectionFile, clock, logger }: ServingChoice): Promise<Serving> {
  const oidc = oidcOptions(options)
  const tls = await protectionOf(listen, options, { asksForRights: options.keys === true || oidc !== undefined }, clock)
  const objects = models instanceof ObjectModels ? models : undefined
  if (objects && options.trust) throw new HarrierError('USAGE', 'versions that come over HTTP go into a folder, and --models names an object store', { remedy: 'leave --trust out, and put versions there with `harrier models import … --models s3://…`' })
  const folder = objects?.folder ?? (typeof models === 'string' ? models : modelsFolder)
  const host = new ModelHost({
    folder, models: options.serveModels ?? [], device: device ?? 'cpu', threads: options.servingThreads, clock, logger,
    queue: { delayMs: options.batchDelayMs, requestsMax: options.queueRequests, timeoutMsMax: options.queueTimeoutMs },
  })
  const access = options.keys || oidc ? await AccessControl.open({ keys: options.keys ? cluster : undefined, oidc, clock, logger }) : undefined
  const gateway = scored && !isWatchedOnly ? await ScoreGateway.open({ ...scored, clock, logger }) : undefined
  const desks = scored && new StageDesks({ ...scored, models, clock, logger })
  const stats = engine?.stats && (() => engine.stats!())
  const stream = scored && { topology: scored.topology.name, watch: new StreamWatch({ ...scored, stats, clock, logger }), desk: new RecordDesk({ ...scored, privacyKeys, auditTopic: accessTopics(scored.namespace).audit, clock, logger }) }
  const audit = cluster && new AuditTrail({ ...cluster, clock, logger })
  const versions: VersionParts = { shelf: new ModelShelf(folder), desks, trusted: (options.trust ?? []).map(readTrustedKey), device: device ?? 'cpu', audit, connectionFile }
  const metrics = new Metrics({ stages: () => engine?.metrics() ?? [], models: () => host.served().filter(({ isOpen }) => isOpen) })
  const service = await openService({ host, engine, gateway, versions, stream, metrics, access, tls, batchDelayMs: options.batchDelayMs, limits: serviceLimits, clock, logger }, listen)
  const close = async (): Promise<void> => {
    await service.close()
    await Promise.all([host.close(), access?.close(), gateway?.close(), desks?.close(), audit?.close(), stream?.watch.close(), stream?.desk.close()])
  }
  try {
    if (objects) await fetchServed(objects, options.serveModels ?? [])
    await host.open()
  } catch (error) {
    await close()
    throw error
  }
  logger.log('info', 'the service is ready', { url: service.url, models: host.served().length })
  return { service, host, close }
}

/** What the service is to have of an object store, brought here: versions or names, or all. */
async function fetchServed(models: ObjectModels, served: readonly string[]): Promise<void> {
  const isServed = (reference: string): boolean => served.length === 0 || served.includes(reference) || served.includes(modelNameOf(reference))
  for (const reference of (await models.list()).filter(isServed)) await models.find(reference)
}

function oidcOptions({ oidcIssuer, oidcAudience, oidcJwks, oidcRoleClaim }: ServiceOptions): OidcOptions | undefined {
  if (oidcIssuer === undefined) return undefined
  if (oidcAudience === undefined) throw new HarrierError('USAGE', '--oidc-issuer without --oidc-audience would take tokens that were made for others', { remedy: 'name the audience of the tokens' })
  return { issuer: oidcIssuer, audience: oidcAudience, jwks: oidcJwks, roleClaim: oidcRoleClaim }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

/** `host:port`, `[::1]:port`, or a port on loopback. */
export function parseListen(text: string): ListenAddress {
  const match = /^(?:(\[[0-9a-fA-F:]+\]|[^\s:/[\]]+):)?(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (!match || port > 65_535) throw new InvalidArgumentError('host:port or a port is wanted, for example 127.0.0.1:8080.')
  return { host: (match[1] ?? '127.0.0.1').replace(/^\[|\]$/g, ''), port }
}

function commaList(text: string): string[] {
  return text.split(',').map((each) => each.trim()).filter((each) => each !== '')
}

function parseMs(text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0 || value > 1000) throw new InvalidArgumentError('a number of ms from 0 to 1000 is wanted.')
  return value
}

/** Metrics and health of an engine, without the service. Errors: USAGE, CONFIG_INVALID, CERTIFICATE_REFUSED. */
export async function openMetrics(engine: EngineView, address: ListenAddress, options: ServiceOptions, { clock, logger }: { readonly clock: Clock; readonly logger: Logger }): Promise<Service> {
  const tls = await protectionOf(address, options, { asksForRights: false }, clock)
  return await openMetricsService({ metrics: new Metrics({ stages: () => engine.metrics(), models: () => [] }), health: { engine }, tls, logger }, address)
}

/** Beyond loopback a listener has TLS and asks for rights, unless it was said that it need not. Errors: USAGE, CONFIG_INVALID, CERTIFICATE_REFUSED. */
async function protectionOf({ host }: ListenAddress, { tlsCertificate, tlsKey, plainHttp, anonymous }: ServiceOptions, { asksForRights }: { asksForRights: boolean }, clock: Clock): Promise<TlsIdentity | undefined> {
  if ((tlsCertificate === undefined) !== (tlsKey === undefined)) throw new HarrierError('USAGE', 'a certificate and its key go together', { remedy: 'name both --tls-certificate and --tls-key' })
  const refuse = (why: string, remedy: string): never => {
    throw new HarrierError('USAGE', `${host} is not loopback, and ${why}`, { remedy })
  }
  if (!isLoopback(host)) {
    if (!asksForRights && !anonymous) refuse('anybody who reaches it could use it', 'listen on 127.0.0.1, ask for keys with --keys or tokens with --oidc-issuer, or say --anonymous')
    if (tlsCertificate === undefined && !plainHttp) refuse('what is sent could be read on the way', 'name --tls-certificate and --tls-key; behind a proxy that ends TLS say --plain-http')
  }
  return tlsCertificate === undefined ? undefined : await TlsIdentity.load({ certificate: tlsCertificate, key: tlsKey! }, clock)
}
