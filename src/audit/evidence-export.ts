import type { LineageRecord } from '../codec/lineage-codec.js'
import { ParquetTable } from '../replay/parquet-table.js'
import type { TopologyNames } from '../topology/names.js'
import type { RecordMask } from '../topology/record-mask.js'
import { findLineage, readLineage } from './log-search.js'
import type { RecordLog } from './record-log.js'
import { ScoredDecoder, type ScoredEvent } from './scored-event.js'

export const periodsBy = ['record-time', 'event-time'] as const
export type PeriodBy = (typeof periodsBy)[number]

export interface ExportPeriod {
  readonly names: TopologyNames
  /** Of which times the period is: of the events, or of the records that brought them (scored records have the timestamp of their input). */
  readonly by: PeriodBy
  /** [sinceMs, untilMs) */
  readonly sinceMs: number
  readonly untilMs: number
  readonly out: string
  /** Hides personal values that stand on the topic as they are; absent: nothing is hidden. */
  readonly mask?: RecordMask | undefined
  readonly onProgress: (text: string) => void
}

export interface ExportedEvidence {
  readonly events: number
  readonly batches: number
  readonly withoutLineage: number
}

export interface TimeRange {
  readonly fromMs: number
  readonly toMs: number
}

const columns = [
  { name: 'event_id', type: 'text' }, { name: 'entity', type: 'text' }, { name: 'event_time', type: 'long' }, { name: 'score', type: 'float' }, { name: 'decision', type: 'text' },
  { name: 'model', type: 'text' }, { name: 'late', type: 'boolean' }, { name: 'fallback', type: 'boolean' }, { name: 'scores', type: 'text' }, { name: 'reasons', type: 'text' }, { name: 'record_time', type: 'long' },
  { name: 'task', type: 'text' }, { name: 'sequence', type: 'long' }, { name: 'inputs', type: 'text' }, { name: 'models', type: 'text' }, { name: 'digest_topology', type: 'text' },
  { name: 'digest_features', type: 'text' }, { name: 'digest_policy', type: 'text' },
  { name: 'digest_layout', type: 'text' }, { name: 'transactional_id', type: 'text' }, { name: 'harrier', type: 'text' }, { name: 'onnxruntime', type: 'text' }, { name: 'node', type: 'text' },
  { name: 'device_class', type: 'text' },
] as const

/** Records that are read and written in one go. */
const recordsAtOnce = 20_000

/**
 * All scored events of a period with what made them, in one Parquet file; lists as JSON. By record time it is read from the first
 * record of the period to the end of each partition, and by event time whole: neither grows with offsets without exception.
 */
export async function exportEvidence(log: RecordLog, { names, by, sinceMs, untilMs, out, mask, onProgress }: ExportPeriod): Promise<ExportedEvidence> {
  const table = await ParquetTable.open(out, columns)
  const result = { events: 0, batches: 0, withoutLineage: 0 }
  try {
    const decoder = new ScoredDecoder(log)
    const partitions = (await log.partitions(names.scored)) ?? 0
    for (let partition = 0; partition < partitions; partition++) {
      const bounds = await log.bounds(names.scored, partition)
      if (!bounds) continue
      const begin = by === 'record-time' ? await log.offsetAtTime(names.scored, partition, sinceMs) : bounds.from
      for (let from = Math.max(bounds.from, begin); from < bounds.to; from += recordsAtOnce) {
        const events: ScoredEvent[] = []
        await log.read({ topic: names.scored, partition, from, to: Math.min(bounds.to, from + recordsAtOnce) }, async (records) => {
          for (let row = 0; row < records.count; row++) {
            const timestampMs = records.timestamp[row]!
            if (by === 'record-time' && (timestampMs < sinceMs || timestampMs >= untilMs)) continue
            const event = await decoder.decode(records.value(row), { partition, offset: records.offset[row]!, timestampMs })
            if (event && (by === 'record-time' || (event.eventTimeMs >= sinceMs && event.eventTimeMs < untilMs))) events.push(event)
          }
        })
        const lineage = await lineageOf(log, names, partition, events)
        result.events += events.length
        result.batches += lineage.size
        result.withoutLineage += events.filter(({ task, sequence }) => !lineage.has(`${task}#${sequence}`)).length
        table.write(rowsOf(mask ? events.map((event) => ({ ...event, eventId: mask.eventId(event.eventId, event.entity), entity: mask.entity(event.entity) })) : events, lineage), events.length)
        onProgress(`${names.scored}/${partition}: ${result.events.toLocaleString('en')} scored events`)
      }
    }
    await table.close()
  } catch (error) {
    await table.discard().catch(() => undefined)
    throw error
  }
  return result
}

/** Offsets at each end of a partition that are looked at. */
const glanceOffsets = 64

/** About when the events of a topic were, by both measures: from the ends of its partitions. Undefined: there is none. */
export async function timesOf(log: RecordLog, topic: string): Promise<{ recordTimes: TimeRange; eventTimes: TimeRange } | undefined> {
  const decoder = new ScoredDecoder(log)
  const seen: ScoredEvent[] = []
  const partitions = (await log.partitions(topic)) ?? 0
  for (let partition = 0; partition < partitions; partition++) {
    const bounds = await log.bounds(topic, partition)
    if (!bounds) continue
    for (const [from, to] of [[bounds.from, Math.min(bounds.to, bounds.from + glanceOffsets)], [Math.max(bounds.from, bounds.to - glanceOffsets), bounds.to]] as const) {
      if (to <= from) continue
      await log.read({ topic, partition, from, to }, async (records) => {
        for (let row = 0; row < records.count; row++) {
          const event = await decoder.decode(records.value(row), { partition, offset: records.offset[row]!, timestampMs: records.timestamp[row]! })
          if (event) seen.push(event)
        }
      })
    }
  }
  if (seen.length === 0) return undefined
  const range = (times: number[]): TimeRange => ({ fromMs: Math.min(...times), toMs: Math.max(...times) })
  return { recordTimes: range(seen.map(({ timestampMs }) => timestampMs)), eventTimes: range(seen.map(({ eventTimeMs }) => eventTimeMs)) }
}

/** The lineage records of the batches of these events, by `task#sequence`. */
async function lineageOf(log: RecordLog, { lineage: topic }: TopologyNames, partition: number, events: readonly ScoredEvent[]): Promise<Map<string, LineageRecord>> {
  const found = new Map<string, LineageRecord>()
  for (const task of new Set(events.map((event) => event.task))) {
    const sequences = new Set(events.filter((event) => event.task === task).map(({ sequence }) => sequence))
    const first = await findLineage(log, topic, partition, task, Math.min(...sequences))
    const last = await findLineage(log, topic, partition, task, Math.max(...sequences))
    if (!first || !last) continue
    await readLineage(log, { topic, partition, from: first.offset, to: last.offset + 1 }, task, ({ record }) => {
      if (sequences.has(record.sequence)) found.set(`${task}#${record.sequence}`, record)
    })
  }
  return found
}

function rowsOf(events: readonly ScoredEvent[], lineage: ReadonlyMap<string, LineageRecord>): (string | number | boolean | null)[][] {
  const of = (pick: (event: ScoredEvent) => string | number | boolean): (string | number | boolean)[] => events.map(pick)
  const from = (pick: (record: LineageRecord) => string): (string | null)[] => events.map(({ task, sequence }) => {
    const record = lineage.get(`${task}#${sequence}`)
    return record ? pick(record) : null
  })
  return [
    of(({ eventId }) => eventId), of(({ entity }) => entity), of(({ eventTimeMs }) => eventTimeMs), of(({ score }) => score), of(({ decision }) => decision), of(({ model }) => model), of(({ late }) => late), of(({ fallback }) => fallback),
    of(({ scores }) => JSON.stringify(scores)), of(({ reasons }) => JSON.stringify(reasons)), of(({ timestampMs }) => timestampMs), of(({ task }) => task), of(({ sequence }) => sequence),
    from(({ inputs }) => JSON.stringify(inputs)), from(({ models }) => JSON.stringify(models)), from(({ digests }) => digests.topology), from(({ digests }) => digests.features), from(({ digests }) => digests.policy), from(({ digests }) => digests.layout),
    from(({ transactional_id }) => transactional_id), from(({ engine }) => engine.harrier), from(({ engine }) => engine.onnxruntime), from(({ engine }) => engine.node), from(({ engine }) => engine.device_class),
  ]
}
