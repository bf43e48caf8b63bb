import type { RecordLog } from './record-log.js'

/** A changelog record of one entity: its state as of a batch. */
export interface Snapshot {
  readonly entity: string
  readonly value: Uint8Array
  /** Sequence of the batch that it reflects. */
  readonly asOf: number
}

/** Bytes before `asOf` in a changelog record; see topology/slot-record.ts. */
const asOfAt = 8

/**
 * The newest record of each entity that reflects a batch before the one that is to be computed again. A changelog is compacted,
 * so the broker mostly has records that are too new; an archive keeps older ones.
 */
export async function findSnapshots(log: RecordLog, topic: string, partition: number, before: ReadonlyMap<string, number>, signal?: AbortSignal): Promise<Map<string, Snapshot>> {
  const found = new Map<string, Snapshot>()
  const bounds = await log.bounds(topic, partition)
  if (!bounds || bounds.to <= bounds.from) return found
  await log.read({ topic, partition, from: bounds.from, to: bounds.to }, (columns) => {
    for (let row = 0; row < columns.count; row++) {
      const key = columns.key(row)
      const value = columns.value(row)
      if (!key || !value || value.length < asOfAt + 8) continue
      const entity = Buffer.from(key).toString()
      const limit = before.get(entity)
      if (limit === undefined) continue
      const asOf = new DataView(value.buffer, value.byteOffset, value.byteLength).getFloat64(asOfAt, true)
      if (asOf < limit && asOf > (found.get(entity)?.asOf ?? -1)) found.set(entity, { entity, value: Uint8Array.from(value), asOf })
    }
  }, signal)
  return found
}
