import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { ClusterConnection } from '../connection/security.js'
import { accessTopicConfigs, accessTopics } from './access-topics.js'
import { KeyDirectory } from './key-directory.js'
import { mayAct, type Principal, type Role } from './key-record.js'
import { OidcVerifier, type OidcOptions } from './oidc.js'
import { QuotaKeeper, type Lease, type UsageEntry } from './quota-keeper.js'
import { SharedLog } from './shared-log.js'

/** How often a process tells what its keys have used. */
export const usageIntervalMs = 1000

export interface AccessOptions {
  /** Keys are in topics of this cluster; absent: tokens only. */
  readonly keys?: { readonly connection: ClusterConnection; readonly namespace?: string | undefined; readonly instanceId: string } | undefined
  readonly oidc?: OidcOptions | undefined
  readonly clock: Clock
  readonly logger: Logger
}

/** Anybody, where nothing is asked for: on loopback, or as it was said. */
export const anybody: Principal = { id: 'anybody', name: 'anybody', role: 'admin', models: null, topologies: null, quota: {} }

/**
 * Who may do what. Keys come from a compacted topic that every process follows, so that a revocation is in force everywhere as soon
 * as it is read: some tenths of a second. No request waits for Kafka.
 */
export class AccessControl {
  readonly #options: AccessOptions
  readonly #keys = new KeyDirectory()
  readonly #quotas: QuotaKeeper
  readonly #oidc: OidcVerifier | undefined
  #log: SharedLog | undefined
  #stopTelling: () => void = () => undefined

  private constructor(options: AccessOptions) {
    this.#options = options
    this.#quotas = new QuotaKeeper(options.clock)
    this.#oidc = options.oidc && new OidcVerifier(options.oidc)
  }

  /** Errors: CONFIG_INVALID, TOKEN_UNAVAILABLE, those of a connection. */
  static async open(options: AccessOptions): Promise<AccessControl> {
    const access = new AccessControl(options)
    await access.#oidc?.open()
    if (options.keys) await access.#follow(options.keys)
    return access
  }

  async #follow({ connection, namespace, instanceId }: NonNullable<AccessOptions['keys']>): Promise<void> {
    const { clock, logger } = this.#options
    const topics = accessTopics(namespace)
    this.#log = await SharedLog.open({
      connection,
      topics: (['keys', 'usage', 'audit'] as const).map((each) => ({ topic: topics[each], config: accessTopicConfigs[each] })),
      followed: [topics.keys, topics.usage],
      writer: `${topics.usage}-${instanceId}`,
      createTopics: true,
      onRecord: (topic, key, value) => (topic === topics.keys ? this.#keys.apply(key, value) : this.#applyUsage(key, value, instanceId)),
      clock,
      logger,
    })
    let isTelling = false
    this.#stopTelling = clock.every(usageIntervalMs, () => {
      if (isTelling) return
      isTelling = true
      void this.#tellUsage(topics.usage, instanceId).finally(() => (isTelling = false))
    })
  }

  /** A key, or a token of the issuer. Errors: UNAUTHENTICATED, FORBIDDEN, TOKEN_UNAVAILABLE. */
  async authenticate(credential: string | undefined): Promise<Principal> {
    if (credential === undefined || credential === '') throw new HarrierError('UNAUTHENTICATED', 'the request has no key and no token')
    if (credential.startsWith('hk_') || !this.#oidc) return this.#keys.verify(credential, this.#options.clock.nowMs())
    return await this.#oidc.verify(credential)
  }

  /** Takes one request with so many scores off the quota of whoever asks. Errors: QUOTA_EXCEEDED. */
  enter(principal: Principal, subject: string, scores: number): Lease {
    return this.#quotas.enter(principal, subject, scores)
  }

  async close(): Promise<void> {
    this.#stopTelling()
    const { keys } = this.#options
    if (keys) await this.#tellUsage(accessTopics(keys.namespace).usage, keys.instanceId)
    await this.#log?.close()
  }

  async #tellUsage(topic: string, instanceId: string): Promise<void> {
    const entries = this.#quotas.takeChanges()
    if (entries.length === 0) return
    const told = entries.map((entry) => ({ topic, key: `${entry.day}/${instanceId}/${entry.id}/${entry.subject}`, value: { ...entry, process: instanceId } }))
    await this.#log?.append(told).catch((error: unknown) => this.#options.logger.log('warn', 'usage of keys could not be told to other processes', { cause: messageOf(error) }))
  }

  #applyUsage(key: string, value: Buffer | null, instanceId: string): void {
    if (value === null) return
    try {
      const entry = JSON.parse(value.toString()) as UsageEntry & { process: string }
      if (typeof entry.scores === 'number' && typeof entry.process === 'string') this.#quotas.apply(entry, entry.process, entry.process === instanceId)
    } catch {
      this.#options.logger.log('warn', 'a record of usage could not be read', { day: key.split('/')[0] })
    }
  }
}

/** Errors: FORBIDDEN. */
export function demand(principal: Principal, needed: Role, scope: { readonly model?: string; readonly topology?: string } = {}): void {
  if (!mayAct(principal.role, needed)) throw new HarrierError('FORBIDDEN', `the role ${principal.role} may not do this: ${needed} may`)
  if (scope.model !== undefined && principal.models && !principal.models.includes(scope.model)) throw new HarrierError('FORBIDDEN', `the key is not for model ${scope.model}`)
  if (scope.topology !== undefined && principal.topologies && !principal.topologies.includes(scope.topology)) throw new HarrierError('FORBIDDEN', `the key is not for topology ${scope.topology}`)
}

/** For what tells of all models and topologies. Errors: FORBIDDEN. */
export function demandAll({ models, topologies }: Principal): void {
  if (models || topologies) throw new HarrierError('FORBIDDEN', 'this tells of all models and topologies, and the key is for some of them')
}

/** Whether somebody may know of a model. */
export function seesModel({ models }: Principal, name: string): boolean {
  return models === null || models.includes(name)
}

export function seesTopology({ topologies }: Principal, name: string): boolean {
  return topologies === null || topologies.includes(name)
}
