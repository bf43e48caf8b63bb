import { hashKey } from './key-index.js'
/** stub */
export function hashId(bytes: Uint8Array, at: number, length: number): number {
  return hashKey(bytes, at, length)
}
