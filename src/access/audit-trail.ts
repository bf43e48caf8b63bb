import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { ClusterConnection } from '../connection/security.js'
import { accessTopicConfigs, accessTopics } from './access-topics.js'
import type { Principal } from './key-record.js'
import { SharedLog } from './shared-log.js'

export interface AuditTrailOptions {
  readonly connection: ClusterConnection
  readonly namespace?: string | undefined
  readonly instanceId: string
  readonly clock: Clock
  readonly logger: Logger
}

/** Something that somebody has changed by the service. */
export interface AuditedAction {
  /** `<what>.<verb>` */
  readonly action: string
  /** What it was done to; the key of the record. */
  readonly subject: string
  readonly reason?: string | undefined
  /** Id of the HTTP request. */
  readonly request: string
  readonly before: unknown
  readonly after: unknown
}

/** Writes who did what into the topic of the audit, where keys are administered too. Nothing is opened before the first action. */
export class AuditTrail {
  readonly #options: AuditTrailOptions
  readonly #topic: string
  #log: Promise<SharedLog> | undefined

  constructor(options: AuditTrailOptions) {
    this.#options = options
    this.#topic = accessTopics(options.namespace).audit
  }

  /** Before an action: where nothing can be noted nothing is done. Errors: those of a connection. */
  async ready(): Promise<void> {
    await this.#opened()
  }

  /** Errors: BROKER_UNAVAILABLE, TRANSACTION_ABORTED. */
  async note({ id, name }: Principal, { action, subject, reason = '', request, before, after }: AuditedAction): Promise<void> {
    const log = await this.#opened()
    const at = new Date(this.#options.clock.nowMs()).toISOString()
    await log.append([{ topic: this.#topic, key: subject, value: { at, actor: name, id, action, subject, reason, request, before: before ?? null, after: after ?? null } }])
  }

  async close(): Promise<void> {
    await (await this.#log?.catch(() => undefined))?.close()
  }

  #opened(): Promise<SharedLog> {
    const { connection, instanceId, clock, logger } = this.#options
    this.#log ??= SharedLog.open({
      connection, topics: [{ topic: this.#topic, config: accessTopicConfigs.audit }], followed: [], writer: `${this.#topic}-${instanceId}`, createTopics: true, onRecord: () => undefined, clock, logger,
    })
    // What failed once is tried again by the next action.
    this.#log.catch(() => (this.#log = undefined))
    return this.#log
  }
}
