import { createHmac, type KeyObject } from 'node:crypto'
import { assert } from '../base/assert.js'
import { tokenDigestBytes, tokenPrefix, tokenTextBytesMax } from './token-text.js'

export const tokenLimits = {
  /** Values whose tokens are remembered: a power of two. A value that is not costs a digest, some microseconds. */
  cachedMax: 65_536,
  /** Longest value that is remembered, in bytes. */
  cachedValueBytesMax: 64,
  /** Keys in force at once: the one that joins, and while they are rotated the one that will. */
  inForceMax: 2,
} as const

/** Entries in which a value may stand. */
const ways = 4
const valueAt = 2
const tokensAt = valueAt + tokenLimits.cachedValueBytesMax

/** A version of the key of tokens. `id` names the key without telling anything of it. */
export interface TokenKey {
  readonly version: number
  readonly id: string
  readonly key: KeyObject
}

/** What lineage says of a key. */
export type TokenKeyName = Pick<TokenKey, 'version' | 'id'>

/**
 * Tokens of personal values under the keys in force, oldest first: HMAC-SHA-256 (RFC 2104) over the domain of the field, a zero byte and
 * the value's UTF-8, cut to 128 bits. The same value of the same domain has the same token wherever it is made; values of two
 * domains have tokens that say nothing of each other.
 *
 * On the hot path: `find` looks the bytes of a value up in flat arrays and makes no object; only a value that is not remembered costs a
 * digest. What is remembered changes no output.
 */
export class Tokeniser {
  readonly keys: readonly TokenKey[]
  /** Bytes of a token of each key. */
  readonly tokenBytes: readonly number[]
  /**
   * Entries that lie side by side, so that one look-up touches few lines of the processor's cache: the length of the value and one more (0:
   * the entry is empty), its domain, the value, the tokens. That of key k begins at `find(…) + k * tokenTextBytesMax`.
   */
  readonly bytes: Uint8Array
  readonly #domains: readonly Uint8Array[]
  readonly #prefixes: readonly Uint8Array[]
  readonly #entries: number
  readonly #entryBytes: number
  /** The newest entry: the entity of an event is asked for several times. */
  #newest = 0
  #misses = 0

  /** `domains`: at most 256, named by their place. */
  constructor(keys: readonly TokenKey[], domains: readonly string[], cachedMax: number = tokenLimits.cachedMax) {
    assert(keys.length >= 1 && keys.length <= tokenLimits.inForceMax, 'one or two keys are in force')
    assert(domains.length <= 256 && Number.isInteger(Math.log2(cachedMax)), 'domains have a byte, entries a power of two')
    this.keys = keys
    this.#domains = domains.map((domain) => Buffer.from(`${domain}\0`))
    this.#prefixes = keys.map(({ version }) => Buffer.from(tokenPrefix(version)))
    this.tokenBytes = this.#prefixes.map(({ length }) => length + Math.ceil((tokenDigestBytes * 4) / 3))
    this.#entries = cachedMax
    this.#entryBytes = Math.ceil((tokensAt + keys.length * tokenTextBytesMax) / 32) * 32
    // One more: for values that are too long to be remembered.
    this.bytes = new Uint8Array((cachedMax + 1) * this.#entryBytes)
  }

  /** Where the tokens of a value stand in `bytes`, until the next call. */
  find(domain: number, source: Uint8Array, from: number, length: number): number {
    if (length > tokenLimits.cachedValueBytesMax) return this.#make(this.#entries * this.#entryBytes, domain, source, from, length)
    if (this.#holds(this.#newest, domain, source, from, length)) return this.#newest + tokensAt
    let hash = 0x811c9dc5 ^ domain
    for (let i = from; i < from + length; i++) hash = Math.imul(hash ^ source[i]!, 0x01000193)
    hash ^= hash >>> 16
    hash = Math.imul(hash, 0x85ebca6b)
    hash ^= hash >>> 13
    const place = hash & (this.#entries - 1)
    const { bytes } = this
    let entry = -1
    for (let way = 0; way < ways; way++) {
      const at = (place ^ way) * this.#entryBytes
      if (this.#holds(at, domain, source, from, length)) return (this.#newest = at) + tokensAt
      if (bytes[at] === 0) {
        entry = at
        break
      }
    }
    // All are taken: one after the other makes room.
    if (entry < 0) entry = (place ^ (this.#misses++ % ways)) * this.#entryBytes
    bytes[entry] = length + 1
    bytes[entry + 1] = domain
    for (let i = 0; i < length; i++) bytes[entry + valueAt + i] = source[from + i]!
    this.#newest = entry
    return this.#make(entry, domain, source, from, length)
  }

  #holds(entry: number, domain: number, source: Uint8Array, from: number, length: number): boolean {
    const { bytes } = this
    if (bytes[entry] !== length + 1 || bytes[entry + 1] !== domain) return false
    const at = entry + valueAt
    for (let i = 0; i < length; i++) if (bytes[at + i] !== source[from + i]) return false
    return true
  }

  #make(entry: number, domain: number, source: Uint8Array, from: number, length: number): number {
    const value = source.subarray(from, from + length)
    for (let k = 0; k < this.keys.length; k++) {
      const prefix = this.#prefixes[k]!
      const start = entry + tokensAt + k * tokenTextBytesMax
      this.bytes.set(prefix, start)
      const digest = digestText(this.keys[k]!.key, this.#domains[domain]!, value)
      for (let i = 0; i < digest.length; i++) this.bytes[start + prefix.length + i] = digest.charCodeAt(i)
    }
    return entry + tokensAt
  }
}

/** The token of a text in a domain under one key, whether it is in force or retired. */
export function tokenOf({ key, version }: TokenKey, domain: string, text: string): string {
  return `${tokenPrefix(version)}${digestText(key, Buffer.from(`${domain}\0`), Buffer.from(text))}`
}

function digestText(key: KeyObject, domain: Uint8Array, value: Uint8Array): string {
  return createHmac('sha256', key).update(domain).update(value).digest().subarray(0, tokenDigestBytes).toString('base64url')
}
