import type { RecordColumns } from '../base/record-columns.js'
import { decodeLineage, type LineageRecord } from '../codec/lineage-codec.js'
import type { RegistryClient } from '../codec/registry-client.js'
import { schemaIdOf } from '../codec/registry-prefix.js'
import type { RangeReader } from '../consumer/range-reader.js'
import { isSilentRecord } from './control-record.js'
import type { TopologyNames } from './names.js'
import type { Task } from './task.js'

export type LineageSource = Readonly<{ reader: Pick<RangeReader, 'lastRecords'>; names: TopologyNames; registry: Pick<RegistryClient, 'schemaById'> }>

interface LineageQuery {
  readonly count: number
  /** Batches that are being committed are waited for. A batch without records does not move the committed offset: only this shows it. */
  readonly settled: boolean
  readonly signal?: AbortSignal | undefined
  readonly accept: (records: RecordColumns, row: number) => boolean
}

/** The last lineage records of a partition that `accept` takes, oldest first. */
async function readLineage({ reader, names, registry }: LineageSource, partition: number, { count, settled, signal, accept }: LineageQuery): Promise<LineageRecord[]> {
  const columns = await reader.lastRecords(names.lineage, partition, {
    count,
    settled,
    accept: (records, row) => records.value(row) !== null && accept(records, row),
    ...(signal ? { signal } : {}),
  })
  const records: LineageRecord[] = []
  for (let row = 0; row < columns.count; row++) {
    const value = columns.value(row)!
    const id = schemaIdOf(value)
    records.push(decodeLineage(value, id === undefined ? undefined : await registry.schemaById(id)))
  }
  return records
}

/** The last lineage records of a task by its name, oldest first. */
export function lineageOf(source: LineageSource, { name, partition }: Pick<Task, 'name' | 'partition'>, query: Omit<LineageQuery, 'accept'>): Promise<LineageRecord[]> {
  const own = Buffer.from(name)
  return readLineage(source, partition, { ...query, accept: (records, row) => own.equals(records.key(row) ?? noKey) })
}

/** The last batch that another state generation of the task's stage and partition has scored. */
export async function lastOfOtherGenerations(source: LineageSource, task: Task, signal?: AbortSignal): Promise<LineageRecord | undefined> {
  const { names } = source
  const accept = (records: RecordColumns, row: number): boolean => {
    const key = Buffer.from(records.key(row) ?? noKey).toString()
    return key !== task.name && names.isTaskOfAnyGeneration(key) && !isSilentRecord(records, row)
  }
  return (await readLineage(source, task.partition, { count: 1, settled: true, signal, accept }))[0]
}

/** The second range of a batch is that of its labels; -1: it has none, or none yet. */
export function labelsFromOf({ inputs }: Pick<LineageRecord, 'inputs'>): number {
  return inputs[1]?.from ?? -1
}

export function labelsToOf({ inputs }: Pick<LineageRecord, 'inputs'>): number {
  return inputs[1]?.to ?? -1
}

const noKey = Buffer.alloc(0)
