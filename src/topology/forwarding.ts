import { assert } from '../base/assert.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { EventColumns } from '../codec/event-columns.js'
import { ForwardEncoder, ForwardKind, forwardFields } from '../codec/forward-encoder.js'
import { partitionOf } from '../producer/murmur2.js'
import type { AppliedLabel, Batch } from './batch.js'
import type { BatchTracing } from './batch-tracing.js'
import type { Topology } from './load-topology.js'
import { Sink } from './names.js'
import { passHeaders } from './passed-headers.js'
import { isFraudField } from './topology-schema.js'

/**
 * What a stage passes to the next: its events, with their features and the champion's score, and labels, each to the
 * partition of its entity there, in the order in which this task has folded them.
 */
export class Forwarding {
  readonly #encoder: ForwardEncoder
  readonly #partitions: number
  readonly #features: number
  readonly #keyColumn: number
  /** Columns of the labels topic by forwarded field; -1: the labels do not give it. */
  readonly #labelColumns: readonly number[]
  readonly #labelKeyColumn: number
  readonly #labelIsFraud: number
  /** Columns of labels that came from the stage before, and of what came with its records. */
  readonly #ownColumns: readonly number[]
  readonly #isFraud: number

  constructor(topology: Topology, schemaId: number, partitions: number) {
    const { forward, fields, labels, stage } = topology
    assert(forward, 'only a stage before another one forwards')
    const { shape, to } = forward
    this.#encoder = new ForwardEncoder(schemaId, shape, fields)
    this.#partitions = partitions
    this.#features = stage.features.length
    const column = (name: string): number => fields.findIndex((field) => field.name === name)
    this.#keyColumn = column(to.key)
    this.#ownColumns = shape.fields.map(({ name }) => column(name))
    this.#isFraud = column(forwardFields.isFraud)
    const labelColumn = (name: string): number => labels?.fields.findIndex((field) => field.name === name) ?? -1
    this.#labelColumns = shape.fields.map(({ name, type }) => {
      const found = labelColumn(name)
      return found >= 0 && (labels!.fields[found]!.type === 'text') === (type === 'text') ? found : -1
    })
    this.#labelKeyColumn = labelColumn(to.key)
    this.#labelIsFraud = labelColumn(isFraudField)
  }

  event(batch: Batch, partition: number, row: number, tracing?: BatchTracing): void {
    const { records, events, frame, outputs } = batch
    this.#head(ForwardKind.event, partition, batch.streamTimeMs[row]!)
    this.#encoder.head.late = batch.late[row] === 1
    const outRow = this.#begin(outputs, records, events, this.#keyColumn, row)
    passHeaders(outputs, records, row)
    tracing?.event(batch, batch.outputs, row)
    this.#encoder.encodeEvent(outputs, outRow, records, events, row, frame!, batch.frameRow[row]!, this.#features)
  }

  /** A label of the labels topic. */
  label({ outputs }: Batch, partition: number, { chunk, row, streamTimeMs }: AppliedLabel): void {
    const { records, labels } = chunk
    if (labels.textBytes[this.#labelKeyColumn]![row]! <= 0) return
    this.#head(ForwardKind.label, partition, streamTimeMs)
    this.#encoder.head.isFraud = labels.numbers[this.#labelIsFraud]![row] === 1
    this.#encoder.encodeLabel(outputs, this.#begin(outputs, records, labels, this.#labelKeyColumn, row), records, labels, row, this.#labelColumns)
  }

  /** A label that came from the stage before. */
  forwardedLabel({ records, events, outputs, streamTimeMs }: Batch, partition: number, row: number): void {
    if (events.textBytes[this.#keyColumn]![row]! <= 0) return
    this.#head(ForwardKind.label, partition, streamTimeMs[row]!)
    this.#encoder.head.isFraud = events.numbers[this.#isFraud]![row] === 1
    this.#encoder.encodeLabel(outputs, this.#begin(outputs, records, events, this.#keyColumn, row), records, events, row, this.#ownColumns)
  }

  /** Of an event that is not late, or of a label that says genuine. */
  #head(kind: number, partition: number, streamTimeMs: number): void {
    const { head } = this.#encoder
    head.kind = kind
    head.upstream = partition
    head.streamTimeMs = streamTimeMs
    head.late = false
    head.isFraud = false
  }

  /** A row under the key of the next stage. */
  #begin(outputs: RecordColumns, records: RecordColumns, events: EventColumns, keyColumn: number, row: number): number {
    const { bytes } = records.arena
    const from = events.textAt[keyColumn]![row]!
    const length = events.textBytes[keyColumn]![row]!
    const outRow = outputs.begin(Sink.forward, partitionOf(bytes, from, length, this.#partitions), 0, records.timestamp[row]!)
    outputs.copyKey(outRow, bytes, from, length)
    return outRow
  }
}
