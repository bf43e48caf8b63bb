import { assert } from '../base/assert.js'
import type { RecordColumns } from '../base/record-columns.js'

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

/** The schema id of a row's value; -1 where the envelope is not one. */
export function schemaIdAt(records: RecordColumns, row: number): number {
  const { bytes } = records.arena
  const at = records.valueAt[row]!
  if (records.valueBytes[row]! < prefixBytes || bytes[at] !== 0) return -1
  return ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!) >>> 0
}
