import { HarrierError } from '../base/errors.js'
import { parseKey, sameHash } from './access-key.js'
import { readKeyRecord, type KeyRecord, type Principal } from './key-record.js'

/** Every answer for a key that is not taken is the same: it tells nobody which keys there are. */
const refused = (): HarrierError => new HarrierError('UNAUTHENTICATED', 'the key is not known, expired or revoked')

/** The keys of the topic, as far as it was read. */
export class KeyDirectory {
  readonly #keys = new Map<string, KeyRecord>()
  /** Records that could not be read. */
  unreadable = 0

  /** A record of the topic; null = the key is gone. A record that cannot be read takes the key away, rather than leave an old right. */
  apply(prefix: string, value: Uint8Array | null): void {
    const record = value === null ? undefined : readKeyRecord(value)
    if (record?.prefix === prefix) return void this.#keys.set(prefix, record)
    if (value !== null) this.unreadable++
    this.#keys.delete(prefix)
  }

  get(prefix: string): KeyRecord | undefined {
    return this.#keys.get(prefix)
  }

  /** In the order in which they were made. */
  list(): KeyRecord[] {
    return [...this.#keys.values()].sort((a, b) => a.createdMs - b.createdMs || (a.prefix < b.prefix ? -1 : 1))
  }

  /** Errors: UNAUTHENTICATED. */
  verify(text: string, nowMs: number): Principal {
    const parsed = parseKey(text)
    const record = parsed && this.#keys.get(parsed.prefix)
    if (!parsed || !record) throw refused()
    const { hash, previous, revokedMs, expiresMs, prefix, name, role, models, topologies, quota } = record
    const isCurrent = sameHash(hash, parsed.hash)
    const isPrevious = previous !== null && sameHash(previous.hash, parsed.hash) && nowMs < previous.untilMs
    const isOver = revokedMs !== null || (expiresMs !== null && nowMs >= expiresMs)
    if (isOver || !(isCurrent || isPrevious)) throw refused()
    return { id: `key ${prefix}`, name, role, models, topologies, quota }
  }
}
