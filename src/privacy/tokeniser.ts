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
  /** Tokens: that of key k of an entry begins at `find(…) + k * tokenTextBytesMax`. */
  readonly bytes: Uint8Array
  readonly #domains: readonly Uint8Array[]
  readonly #prefixes: readonly Uint8Array[]
  readonly #entryBytes: number
  readonly #values: Uint8Array
  /** Length of the value of each entry and one more; 0: the entry is empty. */
  readonly #lengths: Uint8Array
  readonly #domainOf: Uint8Array
  #misses = 0

  /** `domains`: at most 256, named by their place. */
  constructor(keys: readonly TokenKey[], domains: readonly string[], cachedMax: number = tokenLimits.cachedMax) {
    assert(keys.length >= 1 && keys.length <= tokenLimits.inForceMax, 'one or two keys are in force')
    assert(domains.length <= 256 && Number.isInteger(Math.log2(cachedMax)), 'domains have a byte, entries a power of two')
    this.keys = keys
    this.#domains = domains.map((domain) => Buffer.from(`${domain}\0`))
    this.#prefixes = keys.map(({ version }) => Buffer.from(tokenPrefix(version)))
    this.tokenBytes = this.#prefixes.map(({ length }) => length + Math.ceil((tokenDigestBytes * 4) / 3))
    this.#entryBytes = keys.length * tokenTextBytesMax
    // One more: for values that are too long to be remembered.
    this.bytes = new Uint8Array((cachedMax + 1) * this.#entryBytes)
    this.#values = new Uint8Array(cachedMax * tokenLimits.cachedValueBytesMax)
    this.#lengths = new Uint8Array(cachedMax)
    this.#domainOf = new Uint8Array(cachedMax)
  }

  /** Where the tokens of a value stand in `bytes`, until the next call. */
  find(domain: number, source: Uint8Array, from: number, length: number): number {
    const { cachedValueBytesMax } = tokenLimits
    const cached = this.#lengths.length
    if (length > cachedValueBytesMax) return this.#make(cached, domain, source, from, length)
    let hash = 0x811c9dc5 ^ domain
    for (let i = from; i < from + length; i++) hash = Math.imul(hash ^ source[i]!, 0x01000193)
    hash ^= hash >>> 16
    hash = Math.imul(hash, 0x85ebca6b)
    hash ^= hash >>> 13
    const first = hash & (cached - 1)
    if (this.#holds(first, domain, source, from, length)) return first * this.#entryBytes
    const second = first ^ 1
    if (this.#holds(second, domain, source, from, length)) return second * this.#entryBytes
    const entry = this.#lengths[first] === 0 ? first : this.#lengths[second] === 0 ? second : (this.#misses++ & 1) === 0 ? first : second
    this.#lengths[entry] = length + 1
    this.#domainOf[entry] = domain
    for (let i = 0; i < length; i++) this.#values[entry * cachedValueBytesMax + i] = source[from + i]!
    return this.#make(entry, domain, source, from, length)
  }

  #holds(entry: number, domain: number, source: Uint8Array, from: number, length: number): boolean {
    if (this.#lengths[entry] !== length + 1 || this.#domainOf[entry] !== domain) return false
    const at = entry * tokenLimits.cachedValueBytesMax
    for (let i = 0; i < length; i++) if (this.#values[at + i] !== source[from + i]) return false
    return true
  }

  #make(entry: number, domain: number, source: Uint8Array, from: number, length: number): number {
    const at = entry * this.#entryBytes
    const value = source.subarray(from, from + length)
    for (let k = 0; k < this.keys.length; k++) {
      const prefix = this.#prefixes[k]!
      const start = at + k * tokenTextBytesMax
      this.bytes.set(prefix, start)
      const digest = digestText(this.keys[k]!.key, this.#domains[domain]!, value)
      for (let i = 0; i < digest.length; i++) this.bytes[start + prefix.length + i] = digest.charCodeAt(i)
    }
    return at
  }
}

/** The token of a text in a domain under one key, whether it is in force or retired. */
export function tokenOf({ key, version }: TokenKey, domain: string, text: string): string {
  return `${tokenPrefix(version)}${digestText(key, Buffer.from(`${domain}\0`), Buffer.from(text))}`
}

function digestText(key: KeyObject, domain: Uint8Array, value: Uint8Array): string {
  return createHmac('sha256', key).update(domain).update(value).digest().subarray(0, tokenDigestBytes).toString('base64url')
}
