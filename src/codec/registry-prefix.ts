import { assert } from '../base/assert.js'

/** The envelope of the schema registry: byte 0x00, then the schema id as 32 bits, big-endian. */
export const prefixBytes = 5

export function schemaPrefix(schemaId: number): Uint8Array {
  assert(Number.isInteger(schemaId) && schemaId >= 0 && schemaId <= 0x7fffffff, 'a schema id has 31 bits')
  const prefix = Buffer.alloc(prefixBytes)
  prefix.writeInt32BE(schemaId, 1)
  return prefix
}

/** The schema id of a value; undefined when the value does not begin with the envelope. */
export function schemaIdOf(value: Uint8Array): number | undefined {
  if (value.length < prefixBytes || value[0] !== 0) return undefined
  return ((value[1]! << 24) | (value[2]! << 16) | (value[3]! << 8) | value[4]!) >>> 0
}
