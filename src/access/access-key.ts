import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/** `hk_<prefix>_<secret>`: the prefix names a key and may be seen by anybody, the secret is shown once and kept by nobody. */
const pattern = /^hk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/

export interface NewKey {
  readonly prefix: string
  /** The whole key, for its owner. */
  readonly key: string
  readonly hash: string
}

/** 256 bits of chance: nothing that could be guessed, so a plain SHA-256 of it is as good as a slow hash. */
export function makeKey(prefix = randomBytes(6).toString('hex')): NewKey {
  const secret = randomBytes(32).toString('base64url')
  return { prefix, key: `hk_${prefix}_${secret}`, hash: hashOf(secret) }
}

/** Undefined for what has not the form of a key. */
export function parseKey(text: string): { readonly prefix: string; readonly hash: string } | undefined {
  const match = pattern.exec(text)
  return match ? { prefix: match[1]!, hash: hashOf(match[2]!) } : undefined
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

/** Takes as long for hashes that differ in the first digit as for those that differ in the last. */
export function sameHash(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(a, 'hex'), Buffer.from(b, 'hex'))
}
