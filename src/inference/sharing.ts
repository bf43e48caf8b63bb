import type { ModelUse } from './scorer.js'

/** Which model decides which entity: the champion, which is model 0, or a challenger for its share. Plain, for messages. */
export interface Sharing {
  /** -1: there is none. */
  readonly challenger: number
  /** Entities whose place is below are the challenger's. */
  readonly threshold: number
  readonly epoch: number
}

export function sharingOf(models: readonly (Pick<ModelUse, 'role'> & { readonly share?: number | undefined; readonly epoch?: number | undefined })[]): Sharing {
  const challenger = models.findIndex(({ role, share = 0 }) => role === 'challenger' && share > 0)
  const { share = 0, epoch = 0 } = models[challenger] ?? {}
  return { challenger, threshold: Math.round(share * 0x1_0000_0000), epoch }
}

/** The model that decides an entity, by the hash of its key: 0, or the challenger. */
export function deciderOf({ challenger, threshold, epoch }: Sharing, keyHash: number): number {
  return challenger >= 0 && shareHash(keyHash, epoch) < threshold ? challenger : 0
}

/**
 * A place in [0, 2^32) for an entity, by the hash of its key: entities below share * 2^32 are the challenger's. A larger share of
 * the same challenger keeps those that it has, and another challenger, of another epoch, gets others.
 */
function shareHash(keyHash: number, epoch: number): number {
  let hash = Math.imul(keyHash ^ Math.imul(epoch, 0x9e3779b1), 0xcc9e2d51)
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0x1b873593)
  hash ^= hash >>> 16
  return hash >>> 0
}
