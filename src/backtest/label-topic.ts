import type { RecordColumns } from '../base/record-columns.js'
import { Fault } from '../codec/decode-fault.js'
import { EventColumns } from '../codec/event-columns.js'
import type { SchemaLookup } from '../codec/registry-client.js'
import { createSourceDecoder } from '../codec/source-decoder.js'
import type { RangeReader } from '../consumer/range-reader.js'
import { takeLabels } from '../topology/label-reader.js'
import type { Labels, Topology } from '../topology/load-topology.js'
import type { Stage } from '../topology/stage.js'
import type { TaggedBatch } from '../topology/stage-chain.js'
import type { Task } from '../topology/task.js'
import { eventIdField, isFraudField } from '../topology/topology-schema.js'
import type { RowAppender } from './score-table.js'

/** Labels that are read in one go. */
const labelsAtOnce = 10_000

export const labelTableColumns = [
  { name: 'event_id', type: 'text' },
  { name: 'is_fraud', type: 'boolean' },
] as const

/** How labels are read where the topology declares none: the event's id stands where it stands in the event. */
function labelsOf({ chain, labels }: Topology): Pick<Labels, 'fields' | 'readerSchema'> & { format: Labels['spec']['format'] } {
  if (labels) return { fields: labels.fields, readerSchema: labels.readerSchema, format: labels.spec.format }
  const { fields, spec } = chain[0]!
  const id = fields.find(({ name }) => name === eventIdField)!
  return { fields: [id, { name: isFraudField, path: isFraudField, type: 'boolean' }], readerSchema: undefined, format: spec.source.format }
}

/** All labels of a topic into a table, in the order of their offsets: who joins them takes the last of an event. */
export async function readLabelsInto(appender: RowAppender, reader: RangeReader, topic: string, partitions: number, topology: Topology, registry: SchemaLookup, signal: AbortSignal): Promise<{ labels: number; unreadable: number }> {
  const { fields, readerSchema, format } = labelsOf(topology)
  const decoder = createSourceDecoder({ format, fields, readerSchema, registry, recordBytesMax: topology.spec.limits.recordBytesMax })
  const id = fields.findIndex(({ name }) => name === eventIdField)
  const isFraud = fields.findIndex(({ name }) => name === isFraudField)
  const counts = { labels: 0, unreadable: 0 }
  let events: EventColumns | undefined
  const take = async (columns: RecordColumns): Promise<void> => {
    if (!events || events.rowsMax < columns.count) events = new EventColumns(fields, columns.recordsMax)
    const loading = decoder.prepare(columns, 0, signal)
    if (loading) await loading
    decoder.decode(columns, events)
    const ids: string[] = []
    const frauds: boolean[] = []
    for (let row = 0; row < columns.count; row++) {
      if (events.fault[row] !== Fault.none) continue
      ids.push(events.text(id, row, columns.arena)!)
      frauds.push(events.numbers[isFraud]![row] === 1)
    }
    counts.labels += ids.length
    counts.unreadable += columns.count - ids.length
    appender.write([ids, frauds], ids.length)
  }
  for (let partition = 0; partition < partitions; partition++) await reader.readRange({ topic, partition, from: 'earliest', to: 'stable-end' }, take, { signal })
  signal.throwIfAborted()
  appender.close()
  return counts
}

/** What the lineage says about a partition's batches: labels before `labelsTo` had come into effect by the end of offsets before `to`. */
export interface RecordedBatch {
  readonly to: number
  readonly labelsTo: number
}

/**
 * Reads labels into the queues of the first stage's tasks as the stream does: as far as stream time needs them. Where a run is
 * compared, a label takes effect in the batch in which it did then, however late it had come.
 */
export class TopicLabels {
  readonly #stage: Stage
  readonly #reader: RangeReader
  readonly #topic: string
  readonly #signal: AbortSignal
  readonly #recorded: ReadonlyMap<number, readonly RecordedBatch[]>
  readonly #ends = new Map<number, { low: number; end: number }>()
  readonly #at = new Map<number, number>()

  constructor(stage: Stage, reader: RangeReader, topic: string, recorded: ReadonlyMap<number, readonly RecordedBatch[]>, signal: AbortSignal) {
    this.#stage = stage
    this.#reader = reader
    this.#topic = topic
    this.#recorded = recorded
    this.#signal = signal
  }

  async beforeFold({ batch }: TaggedBatch): Promise<void> {
    for (const [task, newestMs] of this.#stage.newestTimes(batch)) await this.#cover(task, newestMs)
    const { records } = batch
    for (let row = 0; row < records.count; row++) batch.labelsTo![row] = this.#labelsTo(records.partition[row]!, records.offset[row]!)
  }

  async #cover(task: Task, newestMs: number): Promise<void> {
    const { partition } = task
    let ends = this.#ends.get(partition)
    if (!ends) {
      const { low, stableEnd } = await this.#reader.watermarks(this.#topic, partition)
      this.#ends.set(partition, (ends = { low, end: stableEnd }))
    }
    const queue = task.labels!
    while (queue.newestMs <= newestMs) {
      const from = queue.readTo < 0 ? ends.low : queue.readTo
      if (from >= ends.end) return
      const to = Math.min(from + labelsAtOnce, ends.end)
      await this.#reader.readRange({ topic: this.#topic, partition, from, to }, (columns) => takeLabels(this.#stage, queue, columns, this.#signal), { signal: this.#signal })
      this.#signal.throwIfAborted()
      queue.readTo = to
    }
  }

  /** Offsets of a partition come in order, so the place among the recorded batches only moves on. */
  #labelsTo(partition: number, offset: number): number {
    const batches = this.#recorded.get(partition)
    if (!batches) return Infinity
    let at = this.#at.get(partition) ?? 0
    while (at < batches.length && batches[at]!.to <= offset) at++
    this.#at.set(partition, at)
    return batches[at]?.labelsTo ?? Infinity
  }
}
