import { RecordColumns } from '../base/record-columns.js'
import { Fault } from '../codec/decode-fault.js'
import { EventColumns } from '../codec/event-columns.js'
import { isText } from '../codec/field-spec.js'
import type { Batch } from './batch.js'
import type { LabelChunk } from './label-queue.js'
import type { Topology } from './load-topology.js'
import { eventTimeField, isFraudField, knownAtField } from './topology-schema.js'

/**
 * The labels of a decoded batch whose table says what its events turned out to be: as they would come on the labels topic,
 * each `delayMs` after its event. Undefined when no row has one.
 */
export function labelsOfRows({ records, events }: Batch, { fields, labels }: Topology, { isFraud, delayMs, offset }: { isFraud: readonly (boolean | null)[]; delayMs: number; offset: number }): LabelChunk | undefined {
  const rows = isFraud.flatMap((value, row) => (value === null || events.fault[row] !== Fault.none ? [] : [row]))
  if (rows.length === 0) return undefined
  const chunk: LabelChunk = { records: new RecordColumns(rows.length), labels: new EventColumns(labels!.fields, rows.length) }
  const times = events.numbers[events.index(eventTimeField)]!
  for (const [at, row] of rows.entries()) {
    chunk.records.begin(0, 0, offset + at, 0)
    for (const [f, field] of labels!.fields.entries()) {
      const source = fields.findIndex(({ name }) => name === field.name)
      if (isText(field)) {
        const bytes = source < 0 ? -1 : events.textBytes[source]![row]!
        chunk.labels.textBytes[f]![at] = bytes
        const from = source < 0 ? 0 : events.textAt[source]![row]!
        if (bytes >= 0) chunk.labels.textAt[f]![at] = chunk.records.arena.append(records.arena.bytes.subarray(from, from + bytes))
      } else {
        chunk.labels.numbers[f]![at] = field.name === isFraudField ? Number(isFraud[row]) : field.name === knownAtField ? times[row]! + delayMs : source < 0 ? NaN : events.numbers[source]![row]!
      }
    }
  }
  chunk.labels.count = rows.length
  return chunk
}
