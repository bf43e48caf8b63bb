import type { LineageRecord } from '../codec/lineage-codec.js'
import { ParquetTable } from '../replay/parquet-table.js'
import type { TopologyNames } from '../topology/names.js'
import { findLineage, offsetAtTime, readLineage } from './log-search.js'
import type { RecordLog } from './record-log.js'
import { ScoredDecoder, type ScoredEvent } from './scored-event.js'

export interface ExportPeriod {
  readonly names: TopologyNames
  /** Timestamps of the scored records, [sinceMs, untilMs). */
  readonly sinceMs: number
  readonly untilMs: number
  readonly out: string
  readonly onProgress: (text: string) => void
}

export interface ExportedEvidence {
  readonly events: number
  readonly batches: number
  readonly withoutLineage: number
}

const columns = [
  { name: 'event_id', type: 'text' }, { name: 'entity', type: 'text' }, { name: 'event_time', type: 'long' }, { name: 'score', type: 'float' }, { name: 'decision', type: 'text' },
  { name: 'model', type: 'text' }, { name: 'late', type: 'boolean' }, { name: 'fallback', type: 'boolean' }, { name: 'scores', type: 'text' }, { name: 'reasons', type: 'text' }, { name: 'scored_at', type: 'long' },
  { name: 'task', type: 'text' }, { name: 'sequence', type: 'long' }, { name: 'inputs', type: 'text' }, { name: 'models', type: 'text' }, { name: 'digest_topology', type: 'text' },
  { name: 'digest_features', type: 'text' }, { name: 'digest_policy', type: 'text' },
  { name: 'digest_layout', type: 'text' }, { name: 'transactional_id', type: 'text' }, { name: 'harrier', type: 'text' }, { name: 'onnxruntime', type: 'text' }, { name: 'node', type: 'text' },
  { name: 'device_class', type: 'text' },
] as const

/** Records that are read and written in one go. */
const recordsAtOnce = 20_000

/** All scored events of a period with what made them, in one Parquet file; lists as JSON. */
export async function exportEvidence(log: RecordLog, { names, sinceMs, untilMs, out, onProgress }: ExportPeriod): Promise<ExportedEvidence> {
  const table = await ParquetTable.open(out, columns)
  const result = { events: 0, batches: 0, withoutLineage: 0 }
  try {
    const decoder = new ScoredDecoder(log)
    const partitions = (await log.partitions(names.scored)) ?? 0
    for (let partition = 0; partition < partitions; partition++) {
      const to = await offsetAtTime(log, names.scored, partition, untilMs)
      for (let from = await offsetAtTime(log, names.scored, partition, sinceMs); from < to; from += recordsAtOnce) {
        const events: ScoredEvent[] = []
        await log.read({ topic: names.scored, partition, from, to: Math.min(to, from + recordsAtOnce) }, async (records) => {
          for (let row = 0; row < records.count; row++) {
            const timestampMs = records.timestamp[row]!
            const event = timestampMs < sinceMs || timestampMs >= untilMs ? undefined : await decoder.decode(records.value(row), { partition, offset: records.offset[row]!, timestampMs })
            if (event) events.push(event)
          }
        })
        const lineage = await lineageOf(log, names, partition, events)
        result.events += events.length
        result.batches += lineage.size
        result.withoutLineage += events.filter(({ task, sequence }) => !lineage.has(`${task}#${sequence}`)).length
        table.write(rowsOf(events, lineage), events.length)
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
