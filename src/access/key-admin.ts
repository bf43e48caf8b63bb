import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { makeKey } from './access-key.js'
import { accessTopicConfigs, accessTopics, type AccessTopics } from './access-topics.js'
import { KeyDirectory } from './key-directory.js'
import type { KeyRecord } from './key-record.js'
import { SharedLog, type SharedLogOptions } from './shared-log.js'

export interface KeyAdminOptions extends Pick<SharedLogOptions, 'connection' | 'clock' | 'logger'> {
  readonly namespace?: string | undefined
  /** Who acts, for the audit. */
  readonly actor: string
}

export type KeyWish = Pick<KeyRecord, 'name' | 'role' | 'models' | 'topologies' | 'quota' | 'expiresMs'>

/** What the audit keeps of a key: all but hashes. */
type AuditedKey = Omit<KeyRecord, 'hash' | 'previous'> & { readonly previousUntilMs: number | null }

/** Longest overlap of a rotation. */
export const overlapMsMax = 30 * 86_400_000

/** Makes, turns and ends keys. Each change and its audit record are in one transaction. */
export class KeyAdmin {
  readonly #log: SharedLog
  readonly #topics: AccessTopics
  readonly #keys: KeyDirectory
  readonly #actor: string
  readonly #clock: Clock

  private constructor(log: SharedLog, keys: KeyDirectory, { namespace, actor, clock }: KeyAdminOptions) {
    this.#log = log
    this.#keys = keys
    this.#topics = accessTopics(namespace)
    this.#actor = actor
    this.#clock = clock
  }

  /** Makes the topics where they are missing. Errors: those of a connection. */
  static async open(options: KeyAdminOptions): Promise<KeyAdmin> {
    const topics = accessTopics(options.namespace)
    const keys = new KeyDirectory()
    const log = await SharedLog.open({
      ...options,
      topics: (['keys', 'usage', 'audit'] as const).map((each) => ({ topic: topics[each], config: accessTopicConfigs[each] })),
      followed: [topics.keys],
      // One administration at a time: a second one takes over the name, and the first one's change fails as a whole.
      writer: `${topics.keys}-admin`,
      createTopics: true,
      onRecord: (_, key, value) => keys.apply(key, value),
    })
    return new KeyAdmin(log, keys, options)
  }

  list(): readonly KeyRecord[] {
    return this.#keys.list()
  }

  /** `key` is the only time that it is told. */
  async create(wish: KeyWish): Promise<{ readonly key: string; readonly record: KeyRecord }> {
    const { prefix, key, hash } = makeKey()
    const record: KeyRecord = { prefix, ...wish, hash, previous: null, createdMs: this.#clock.nowMs(), createdBy: this.#actor, revokedMs: null }
    await this.#change('create', undefined, record)
    return { key, record }
  }

  /** A new secret under the same prefix, role and scopes; the old one works on for the overlap. Errors: CONFIG_INVALID. */
  async rotate(prefix: string, overlapMs: number): Promise<{ readonly key: string; readonly record: KeyRecord }> {
    const before = this.#find(prefix)
    if (overlapMs > overlapMsMax) throw new HarrierError('CONFIG_INVALID', `an overlap of ${overlapMs} ms is longer than 30 days`, { remedy: 'choose a shorter one' })
    if (before.revokedMs !== null) throw new HarrierError('CONFIG_INVALID', `key ${prefix} is revoked`, { remedy: 'create another' })
    const { key, hash } = makeKey(prefix)
    const record: KeyRecord = { ...before, hash, previous: overlapMs > 0 ? { hash: before.hash, untilMs: this.#clock.nowMs() + overlapMs } : null }
    await this.#change('rotate', before, record)
    return { key, record }
  }

  /** Errors: CONFIG_INVALID. */
  async revoke(prefix: string): Promise<KeyRecord> {
    const before = this.#find(prefix)
    if (before.revokedMs !== null) return before
    const record: KeyRecord = { ...before, previous: null, revokedMs: this.#clock.nowMs() }
    await this.#change('revoke', before, record)
    return record
  }

  async close(): Promise<void> {
    await this.#log.close()
  }

  /** By prefix, also as `hk_<prefix>`. */
  #find(text: string): KeyRecord {
    const found = this.#keys.get(text.replace(/^hk_/, ''))
    if (found) return found
    throw new HarrierError('CONFIG_INVALID', `there is no key "${text.slice(0, 15)}"`, { remedy: '`harrier keys list` shows their prefixes' })
  }

  async #change(action: string, before: KeyRecord | undefined, after: KeyRecord): Promise<void> {
    const atMs = this.#clock.nowMs()
    const entry = { at: new Date(atMs).toISOString(), actor: this.#actor, action: `keys.${action}`, subject: after.prefix, before: before ? audited(before) : null, after: audited(after) }
    await this.#log.append([
      { topic: this.#topics.keys, key: after.prefix, value: after },
      { topic: this.#topics.audit, key: after.prefix, value: entry },
    ])
    this.#keys.apply(after.prefix, Buffer.from(JSON.stringify(after)))
  }
}

function audited({ hash: _hash, previous, ...rest }: KeyRecord): AuditedKey {
  return { ...rest, previousUntilMs: previous?.untilMs ?? null }
}

