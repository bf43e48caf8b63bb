import { Arena } from '../base/arena.js'
import { RecordColumns } from '../base/record-columns.js'
import { EventColumns } from '../codec/event-columns.js'
import type { FieldSpec } from '../codec/field-spec.js'
import { OutcomeColumns } from '../codec/outcome-columns.js'
import { IntStack } from '../entity/growable.js'
import { UndoLog } from '../entity/undo-log.js'
import type { Frame } from '../inference/frame.js'
import type { LabelChunk } from './label-queue.js'
import { emptyPart, type Task, type TaskPart } from './task.js'

/** What became of a record. `folded`: it changed state, and gave no score of its own. */
export const Disposition = { scored: 0, deadLetter: 1, control: 2, label: 3, folded: 4 } as const

/** Rows of outputs beyond two for each record (scored event or dead letter, and alert): lineage records of the tasks. */
export const partitionsMax = 4096
/** Changelog records of one batch. */
export const checkpointRowsMax = 4096

/** First size of the arenas of a batch; they grow to `batchBytesMax`. */
const firstArenaBytesMax = 1 << 20
const firstRecordBytes = 1024

export interface DeadLetterCause {
  readonly code: string
  readonly message: string
  /** The same without any value of the record, where that differs. */
  readonly bare?: string
}

/** An entity that is gone; its deletion record keeps `asOf` until no restore can need it. */
export interface DeletedEntity {
  readonly key: Uint8Array
  readonly partition: number
  readonly asOf: number
}

/** A label as it was read, and the stream time at which it came into effect. */
export interface AppliedLabel {
  readonly chunk: LabelChunk
  readonly row: number
  readonly streamTimeMs: number
}

/** Spans that a batch has asked for: see batch-tracing.ts. */
export interface BatchTrace {
  end(committed: boolean): void
}

/** Everything that one batch needs on its way from poll to commit, allocated once and used again. */
export class Batch {
  /** Most records of the input; the columns have room for the turned days, too. */
  readonly recordsMax: number
  /** What was polled, then a row for each day that turned. */
  readonly records: RecordColumns
  /** Records that were polled: the first of the rows. */
  polled = 0
  readonly events: EventColumns
  readonly outcome: OutcomeColumns
  readonly outputs: RecordColumns
  /** Scored events and alerts: among the outputs, or in columns of their own where they leave before the transaction. */
  readonly early: RecordColumns
  /** Wall clock, ms, when they had left early; NaN where they did not. */
  publishedAtMs = NaN
  readonly undo = new UndoLog()
  /** Entities that the batch created. */
  readonly created = new IntStack()
  /** Partition of each created entity. */
  readonly createdIn = new IntStack()
  /** Slots whose changelog records the batch carries, and since when each had been dirty. */
  readonly checkpointed = new IntStack()
  readonly checkpointedSince: number[] = []
  /** What the batch's turn of the checkpoint changed of its tasks. */
  readonly turns: { readonly task: Task; readonly lastTurnMs: number; readonly hurried: boolean; readonly passedBefore: number; passed: number }[] = []
  /** What its turn wrote to the changelog, and where the checkpointer stood before. */
  readonly turn = { records: 0, bytes: 0, lastTurnMs: -Infinity, lastRestMs: -Infinity, sweptTo: 1 }
  /** Expired entities that the batch deletes from the changelog. */
  readonly swept = new IntStack()
  /** Partition of each. */
  readonly sweptIn = new IntStack()
  /** Entities whose deletion the batch carries, and those whose null may follow it. */
  readonly deleted: DeletedEntity[] = []
  readonly tombstoned: DeletedEntity[] = []
  /** Partitions with a part in the batch; of those without records only the checkpoint goes on. */
  readonly partitions = new Set<number>()
  /** While a restore folds several batches as one: the sequence of each row's batch. */
  readonly sequences: Float64Array | null
  /** While a restore folds: the offset before which labels had come into effect by the end of each row's batch. */
  readonly labelsTo: Float64Array | null
  /** While an audit folds: 1 for the rows of the entities that it looks at; the others only move stream time. */
  only: Uint8Array | null = null
  /** While a restore folds: the schema ids that were unknown when these records were first folded. */
  unknownIds: ReadonlySet<number> | undefined
  /** While a restore folds: how far ahead of their records' timestamps events were let then, ms. */
  aheadMaxMs: number | undefined
  frame: Frame | null = null
  /** Rows of the frame so far. */
  frameRows = 0
  /** How far the sweeps of its tasks may come; see `DayTurns`. */
  sweepTo: number
  /** Record row of each frame row. */
  readonly recordRow: Int32Array
  /** Frame row of each record row; -1 when it is not scored. */
  readonly frameRow: Int32Array
  readonly nextRow: Int32Array
  readonly disposition: Uint8Array
  readonly late: Uint8Array
  /** Stream time at each row. */
  readonly streamTimeMs: Float64Array
  readonly causes = new Map<number, DeadLetterCause>()
  /** Labels that come into effect before the event of a row: `labelCount[row]` of `labels`, from `labelStart[row]`. */
  readonly labels: AppliedLabel[] = []
  readonly labelStart: Int32Array
  readonly labelCount: Int32Array
  /** One part for each task with records in the batch, in order of first appearance. */
  readonly parts: TaskPart[] = []
  isDecoded = false
  /** Null where none of its events is traced. */
  trace: BatchTrace | null = null
  /** Assignment epoch at poll. */
  epoch = 0
  /** Monotonic ms when the poll ended. */
  polledAtMs = 0
  readonly #partOfPartition = new Map<number, TaskPart>()

  /** `daysMax`: rows of days that turn. */
  constructor(options: { recordsMax: number; bytesMax: number; fields: readonly FieldSpec[]; models: number; restoring?: boolean; daysMax?: number; early?: boolean }) {
    const { recordsMax, bytesMax, fields, models, daysMax = 0 } = options
    const rowsMax = recordsMax + daysMax
    this.recordsMax = recordsMax
    this.sweepTo = options.restoring ? -1 : Infinity
    this.sequences = options.restoring ? new Float64Array(recordsMax) : null
    this.labelsTo = options.restoring ? new Float64Array(recordsMax) : null
    const bytes = Math.min(firstArenaBytesMax, recordsMax * firstRecordBytes)
    this.records = new RecordColumns(rowsMax, new Arena(bytes, bytesMax))
    this.events = new EventColumns(fields, rowsMax)
    this.outcome = new OutcomeColumns(rowsMax, models)
    this.outputs = new RecordColumns(recordsMax * 2 + Math.min(partitionsMax, recordsMax) + checkpointRowsMax, new Arena(bytes, bytesMax))
    this.early = options.early === true ? new RecordColumns(recordsMax * 2, new Arena(bytes, bytesMax)) : this.outputs
    this.recordRow = new Int32Array(rowsMax)
    this.frameRow = new Int32Array(rowsMax)
    this.nextRow = new Int32Array(rowsMax)
    this.disposition = new Uint8Array(rowsMax)
    this.late = new Uint8Array(rowsMax)
    this.streamTimeMs = new Float64Array(rowsMax)
    this.labelStart = new Int32Array(rowsMax)
    this.labelCount = new Int32Array(rowsMax)
  }

  reset(): void {
    this.isDecoded = false
    this.trace = null
    this.polled = 0
    this.frameRows = 0
    this.records.reset()
    this.outputs.reset()
    this.early.reset()
    this.publishedAtMs = NaN
    this.undo.clear()
    this.created.clear()
    this.createdIn.clear()
    this.checkpointed.clear()
    this.checkpointedSince.length = 0
    this.turns.length = 0
    this.turn.records = 0
    this.turn.bytes = 0
    this.swept.clear()
    this.sweptIn.clear()
    this.deleted.length = 0
    this.tombstoned.length = 0
    this.causes.clear()
    this.labels.length = 0
    this.parts.length = 0
    this.#partOfPartition.clear()
  }

  /** The part of a task, begun with this record if it is the task's first in the batch. */
  partFor(task: Task, offset: number): TaskPart {
    const known = this.#partOfPartition.get(task.partition)
    if (known) return known
    // The start of a partition without history: an abort goes back to it.
    if (task.position < 0) task.position = offset
    const part = emptyPart(task, { sequence: task.nextSequence++, from: task.position, to: offset })
    this.parts.push(part)
    this.#partOfPartition.set(task.partition, part)
    return part
  }

  /** A row is the last of its part so far. */
  link(part: TaskPart, row: number): void {
    this.labelCount[row] = 0
    if (part.firstRow < 0) part.firstRow = row
    else this.nextRow[part.lastRow] = row
    part.beforeLastRow = part.lastRow
    part.lastRow = row
    this.nextRow[row] = -1
    this.frameRow[row] = -1
  }

  /** A row comes just before the last of its part. */
  linkBefore(part: TaskPart, row: number): void {
    this.labelCount[row] = 0
    if (part.beforeLastRow < 0) part.firstRow = row
    else this.nextRow[part.beforeLastRow] = row
    part.beforeLastRow = row
    this.nextRow[row] = part.lastRow
  }
}
