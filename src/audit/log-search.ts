import type { RecordColumns } from '../base/record-columns.js'
import { decodeLineage, type LineageRecord } from '../codec/lineage-codec.js'
import { schemaIdOf } from '../codec/registry-prefix.js'
import type { RecordLog } from './record-log.js'

/** Below so many offsets a range is read whole. */
const linearMax = 512

export interface LineagePlace {
  readonly record: LineageRecord
  readonly offset: number
}

/** The lineage record of a batch: sequences of a task grow with offsets, so it is found in few steps. Undefined: it is not kept. */
export async function findLineage(log: RecordLog, topic: string, partition: number, task: string, sequence: number): Promise<LineagePlace | undefined> {
  const bounds = await log.bounds(topic, partition)
  if (!bounds) return undefined
  let { from, to } = bounds
  const own = Buffer.from(task)
  while (to - from > linearMax) {
    const middle = Math.floor((from + to) / 2)
    const first = await firstOf(log, { topic, partition, from: middle, to }, (columns, row) => (isOf(columns, row, own) ? { offset: columns.offset[row]!, value: Uint8Array.from(columns.value(row)!) } : undefined))
    const record = first && (await decode(log, first.value))
    if (record?.sequence === sequence) return { record, offset: first!.offset }
    if (!record || record.sequence > sequence) to = middle
    else from = first!.offset + 1
  }
  let found: LineagePlace | undefined
  await readLineage(log, { topic, partition, from, to }, task, (place) => {
    if (place.record.sequence === sequence) found = place
  })
  return found
}

/** Lineage records of a task in a range, in their order. */
export async function readLineage(log: RecordLog, range: { topic: string; partition: number; from: number; to: number }, task: string, onRecord: (place: LineagePlace) => void | Promise<void>, signal?: AbortSignal): Promise<void> {
  const own = Buffer.from(task)
  await log.read(range, async (columns) => {
    for (let row = 0; row < columns.count; row++) if (isOf(columns, row, own)) await onRecord({ record: await decode(log, columns.value(row)!), offset: columns.offset[row]! })
  }, signal)
}

async function decode(log: RecordLog, value: Uint8Array): Promise<LineageRecord> {
  const id = schemaIdOf(value)
  return decodeLineage(value, id === undefined ? undefined : await log.schemaById(id))
}

function isOf(columns: RecordColumns, row: number, task: Buffer): boolean {
  const key = columns.key(row)
  return key !== null && columns.valueBytes[row]! > 0 && task.equals(key)
}

/** What `pick` gives for the first row for which it gives anything. */
async function firstOf<T>(log: RecordLog, range: { topic: string; partition: number; from: number; to: number }, pick: (columns: RecordColumns, row: number) => T | undefined): Promise<T | undefined> {
  for (let from = range.from; from < range.to; from += linearMax) {
    let found: T | undefined
    await log.read({ ...range, from, to: Math.min(range.to, from + linearMax) }, (columns) => {
      for (let row = 0; row < columns.count && found === undefined; row++) found = pick(columns, row)
    })
    if (found !== undefined) return found
  }
  return undefined
}
