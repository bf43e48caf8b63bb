import { createHash } from 'node:crypto'
import type { RecordColumns } from '../base/record-columns.js'
import { Fault } from '../codec/decode-fault.js'
import { EventColumns } from '../codec/event-columns.js'
import { ForwardKind, forwardFields } from '../codec/forward-encoder.js'
import type { LineageRecord } from '../codec/lineage-codec.js'
import { decisionNames } from '../codec/outcome-columns.js'
import { NO_UPDATE, type Frame } from '../inference/frame.js'
import { exportBytesMax, exportSlot } from '../inference/slot-sections.js'
import type { Batch } from '../topology/batch.js'
import type { Stage } from '../topology/stage.js'
import { topologyNames, type TopologyNames } from '../topology/names.js'
import { Outputs } from '../topology/outputs.js'
import { labelsToOf } from '../topology/task-lineage.js'
import { eventIdField } from '../topology/topology-schema.js'
import { EntityLabels } from './entity-labels.js'
import { readLineage, type LineagePlace } from './log-search.js'
import type { RecordLog } from './record-log.js'
import { modelsOf, openReplayedStage, putSnapshot, takeOver, type ReplayedStage, type ReplayedStageOptions } from './replayed-stage.js'
import type { ScoredEvent } from './scored-event.js'
import type { Snapshot } from './state-snapshots.js'
import { Unavailable } from './unavailable.js'

/** A score as it was computed again. */
export interface ReplayedScore {
  readonly event: ScoredEvent
  readonly lineage: LineageRecord
  /** float32, by model; NaN where the model had failed. */
  readonly scores: ReadonlyMap<string, number>
  /** Undefined where the policy of that time is not at hand. */
  readonly decision: string | undefined
  readonly late: boolean
  /** The feature row, by name; float32. */
  readonly features: ReadonlyMap<string, number>
  /** sha256 of the ring and hidden states after the event; undefined where events of the batch that follow are in it. */
  readonly stateDigest: string | undefined
  readonly deviceClass: string
  /** Models whose files were not found. */
  readonly missing: readonly string[]
}

export interface TaskReplayOptions extends Omit<ReplayedStageOptions, 'schemas' | 'partitions'> {
  readonly log: RecordLog
  readonly namespace: string | undefined
  readonly partition: number
  readonly entities: ReadonlySet<string>
  /** By event id. */
  readonly targets: ReadonlyMap<string, ScoredEvent>
  /** Stop after each event that is wanted, so that its state can be shown. */
  readonly detailed: boolean
  readonly signal: AbortSignal
  readonly onScored: (score: ReplayedScore) => void
  readonly onProgress: (batches: number, of: number) => void
}

/** Batches that are read and folded in one go. */
const batchesAtOnce = 256
/** Offsets of the lineage that are read before their batches are folded. */
const lineageOffsetsAtOnce = 2048

/**
 * Computes the scores of some entities again, from the log: the batches of a task, one after the other, by the engine's own
 * fold, with the models that the lineage record of each batch names. Records of other entities only move stream time.
 */
export class TaskReplay {
  readonly #options: TaskReplayOptions
  readonly #names: TopologyNames
  readonly #partitions: number
  #current: ReplayedStage | undefined
  #labels: EntityLabels | undefined
  #batch: Batch | undefined
  #targetRows: number[] = []
  #scratch: EventColumns | undefined

  constructor(options: TaskReplayOptions, partitions: number) {
    this.#options = options
    this.#names = topologyNames(options.view, options.namespace)
    this.#partitions = partitions
  }

  /**
   * From batch `first` to batch `last`, that of the last wanted event. `snapshots` are states of entities before `first`.
   * Errors: Unavailable, where the log does not give what the lineage says.
   */
  async run(first: LineagePlace, last: LineagePlace, snapshots: readonly Snapshot[]): Promise<void> {
    const { onProgress } = this.#options
    const { task, sequence } = first.record
    const lastSequence = last.record.sequence
    try {
      const begin = (this.#current = await this.#open(first.record))
      begin.task.streamTimeMs = first.record.stream_time_before
      if (first.record.upstream_stream_times_before.length > 0) begin.task.upstream?.set(first.record.upstream_stream_times_before)
      begin.task.turnPosition = first.record.turns_before
      begin.task.labels?.reset(first.record.inputs[1]?.from ?? -1)
      for (const snapshot of snapshots) putSnapshot(begin, snapshot)
      let expected = sequence
      for (let from = first.offset; from <= last.offset; from += lineageOffsetsAtOnce) {
        for (const group of await this.#groups(task, from, Math.min(last.offset + 1, from + lineageOffsetsAtOnce))) {
          if (group[0]!.sequence !== expected) throw new Unavailable(`the lineage of ${task} has batch ${group[0]!.sequence} where ${expected} should follow`)
          await this.#foldGroup(group)
          expected = group.at(-1)!.sequence + 1
          onProgress(expected - sequence, lastSequence + 1 - sequence)
        }
      }
      if (expected <= lastSequence) throw new Unavailable(`the lineage of ${task} ends with batch ${expected - 1}; batch ${lastSequence} is wanted`)
    } finally {
      await this.#current?.stage.scorer.close()
    }
  }

  /** Lineage records of the task among these offsets, those together that were made under the same conditions. */
  async #groups(task: string, from: number, to: number): Promise<LineageRecord[][]> {
    const { log, partition, signal } = this.#options
    const groups: LineageRecord[][] = []
    let conditions = ''
    await readLineage(log, { topic: this.#names.lineage, partition, from, to }, task, ({ record }) => {
      const own = conditionsOf(record)
      const group = groups.at(-1)
      if (group && own === conditions && group.length < batchesAtOnce && record.sequence === group.at(-1)!.sequence + 1) group.push(record)
      else groups.push([record])
      conditions = own
    }, signal)
    return groups
  }

  #open(record: LineageRecord): Promise<ReplayedStage> {
    return openReplayedStage(record, this.#options.partition, { ...this.#options, schemas: this.#options.log, partitions: this.#partitions })
  }

  /** Batches under the same models, of which the same had failed. */
  async #foldGroup(group: readonly LineageRecord[]): Promise<void> {
    const { partition, entities, signal } = this.#options
    const first = group[0]!
    const last = group.at(-1)!
    if (this.#current!.signature !== modelsOf(first)) {
      const before = this.#current!
      this.#current = takeOver(before, await this.#open(first))
      await before.stage.scorer.close()
      this.#batch = undefined
    }
    const { stage, task } = this.#current!
    if (task.labels) {
      this.#labels ??= new EntityLabels(stage, entities)
      const from = Math.max(0, first.inputs[1]?.from ?? 0)
      const to = labelsToOf(last)
      if (to > from) await this.#read({ topic: this.#names.labels!, partition, from, to }, (columns) => this.#labels!.take(task.labels!, columns))
    }
    const { from } = first.inputs[0]!
    const { to } = last.inputs[0]!
    let at = 0
    if (to > from) {
      await this.#read({ topic: this.#names.input, partition, from, to }, async (columns) => {
        const { wanted, targets } = await this.#lookAhead(columns, first)
        for (let row = 0; row < columns.count; row++) {
          for (; columns.offset[row]! >= group[at]!.inputs[0]!.to; at++) await this.#endBatch(group, at)
          const batch = this.#filling(stage)
          const taken = batch.records.copyRow(columns, row)
          batch.sequences![taken] = group[at]!.sequence
          batch.labelsTo![taken] = labelsToOf(group[at]!)
          batch.only![taken] = wanted[row]!
          if (targets.has(row)) this.#targetRows.push(taken)
          if (batch.records.count === batch.recordsMax || (this.#options.detailed && targets.has(row))) await this.#flush(group)
        }
      })
      signal.throwIfAborted()
    }
    for (; at < group.length; at++) await this.#endBatch(group, at)
    await this.#flush(group)
    if (task.turnPosition !== last.turns_after) {
      throw new Unavailable(`folding batches ${first.sequence} to ${last.sequence} of ${task.name} again turned days up to ${task.turnPosition}, the lineage says ${last.turns_after}: records of the input are missing or are others`)
    }
    if (task.streamTimeMs !== last.stream_time_after) {
      throw new Unavailable(`folding batches ${first.sequence} to ${last.sequence} of ${task.name} again ended at stream time ${task.streamTimeMs}, the lineage says ${last.stream_time_after}: records of the input are missing or are others`)
    }
  }

  #filling(stage: Stage): Batch {
    const batch = (this.#batch ??= stage.makeBatch({ restoring: true }))
    batch.only ??= new Uint8Array(batch.recordsMax)
    return batch
  }

  /** The events of a batch are in: the days that its sweep turned follow, with its sequence. */
  async #endBatch(group: readonly LineageRecord[], at: number): Promise<void> {
    const { stage, task } = this.#current!
    const { sequence, turns_before, turns_after } = group[at]!
    if (turns_after === turns_before) return
    await this.#flush(group)
    while (task.turnPosition < turns_after && stage.turns?.owes(task) === true) {
      const batch = this.#filling(stage)
      task.nextSequence = sequence
      batch.partFor(task, task.position)
      batch.sweepTo = turns_after
      await this.#flush(group)
    }
  }

  async #read(range: { topic: string; partition: number; from: number; to: number }, onBatch: (columns: RecordColumns) => Promise<void>): Promise<void> {
    const { log, signal } = this.#options
    const bounds = await log.bounds(range.topic, range.partition)
    if (!bounds || bounds.from > range.from) throw new Unavailable(`${range.topic}/${range.partition} is needed from offset ${range.from}, it is kept from ${bounds ? bounds.from : 'nowhere'}`)
    await log.read(range, onBatch, signal)
  }

  /** Which rows belong to the entities, and which of them are wanted. */
  async #lookAhead(columns: RecordColumns, { unknown_schema_ids }: LineageRecord): Promise<{ wanted: Uint8Array; targets: Set<number> }> {
    const { view, entities, targets } = this.#options
    const { decoder } = this.#current!.stage
    if (!this.#scratch || this.#scratch.rowsMax < columns.count) this.#scratch = new EventColumns(view.fields, Math.max(columns.count, columns.recordsMax))
    const events = this.#scratch
    const unknown = new Set(unknown_schema_ids)
    const loading = decoder.prepare(columns, 0, this.#options.signal, unknown)
    if (loading) await loading
    decoder.decode(columns, events, 0, unknown)
    const key = events.index(view.stage.key)
    const id = events.index(eventIdField)
    const kind = view.fields.findIndex(({ name }) => name === forwardFields.kind)
    const wanted = new Uint8Array(columns.count)
    const found = new Set<number>()
    for (let row = 0; row < columns.count; row++) {
      const isReadable = events.fault[row] === Fault.none
      const entity = isReadable ? events.text(key, row, columns.arena) : columns.key(row) && Buffer.from(columns.key(row)!).toString()
      if (entity === null || !entities.has(entity)) continue
      wanted[row] = 1
      if (!isReadable || (kind >= 0 && events.numbers[kind]![row] !== ForwardKind.event)) continue
      if (targets.has(events.text(id, row, columns.arena) ?? '')) found.add(row)
    }
    return { wanted, targets: found }
  }

  async #flush(group: readonly LineageRecord[]): Promise<void> {
    const { stage, missing } = this.#current!
    const batch = this.#batch
    if (!batch || (batch.records.count === 0 && batch.parts.length === 0)) return
    const { models, unknown_schema_ids, ahead_max_ms } = group[0]!
    const references = stage.scorer.models.map(({ reference }) => reference)
    const skip = models.filter(({ failure }) => failure !== null).map(({ model }) => references.indexOf(model)).filter((index) => index >= 0)
    batch.unknownIds = new Set(unknown_schema_ids)
    batch.aheadMaxMs = ahead_max_ms ?? Infinity
    const loading = stage.decoder.prepare(batch.records, 0, this.#options.signal, batch.unknownIds)
    if (loading) await loading
    stage.fold(batch)
    this.#findDays(batch)
    if (references.length > 0) await stage.score(batch, { skip, explain: undefined, stateOnly: this.#targetRows.length === 0 })
    const failed = batch.frame!.failures.find(({ model }) => !skip.includes(model))
    if (failed) throw new Unavailable(`${references[failed.model]} failed now and had not failed then: ${failed.message}`)
    if (this.#targetRows.length > 0) this.#give(batch, group, missing)
    stage.finishRestored(batch)
    batch.reset()
    batch.sweepTo = -1
    this.#targetRows = []
  }

  /** Days that have turned are rows behind the records. */
  #findDays({ events, records, polled }: Batch): void {
    const id = events.index(eventIdField)
    for (let row = polled; row < records.count; row++) if (this.#options.targets.has(events.text(id, row, records.arena)!)) this.#targetRows.push(row)
  }

  #give(batch: Batch, group: readonly LineageRecord[], missing: readonly string[]): void {
    const { view, targets, detailed, onScored } = this.#options
    const { stage } = this.#current!
    const { events, records, frame, outcome } = batch
    const id = events.index(eventIdField)
    const decider = missing.length === 0 && group[0]!.digests.policy === view.digests.policy ? new Outputs(stage, decidingOnly) : undefined
    decider?.decide(batch)
    for (const row of this.#targetRows) {
      const event = targets.get(events.text(id, row, records.arena)!)!
      const at = batch.frameRow[row]!
      const lineage = group.find(({ sequence }) => sequence === sequenceOf(batch, row))!
      // Another event with the same id, in another batch, or one that was refused.
      if (at < 0 || lineage.sequence !== event.sequence) continue
      const width = frame!.shape.features
      onScored({
        event,
        lineage,
        scores: new Map(stage.scorer.models.map(({ reference }, m) => [reference, frame!.scores[m]![at]!])),
        decision: decider && decisionNames[outcome.decision[row]!],
        late: batch.late[row] === 1,
        features: new Map(view.stage.features.map(({ name }, f) => [name, frame!.rows[at * width + f]!])),
        stateDigest: detailed && isNewest(frame!, at) ? this.#digest(frame!.slot[at]!) : undefined,
        deviceClass: stage.scorer.deviceClass,
        missing,
      })
    }
  }

  #digest(slot: number): string {
    const { memory } = this.#current!.stage.scorer
    const bytes = new Uint8Array(exportBytesMax(memory))
    return createHash('sha256').update(bytes.subarray(0, exportSlot(memory, slot, bytes, 0))).digest('hex')
  }
}

/** Of a day that turned before an event: that of the event, which follows it; in a sweep its own. */
function sequenceOf(batch: Batch, row: number): number {
  let next = row
  while (next >= batch.polled) {
    if (batch.nextRow[next]! < 0) return batch.parts[0]!.sequence
    next = batch.nextRow[next]!
  }
  return batch.sequences![next]!
}

/** Whether the entity's sequence memory is as this row of the frame has left it. */
function isNewest(frame: Frame, at: number): boolean {
  if (frame.slot[at]! <= 0) return false
  for (let later = at + 1; later < frame.count; later++) if (frame.slot[later] === frame.slot[at] && (frame.flags[later]! & NO_UPDATE) === 0) return false
  return true
}

const decidingOnly = { schemaIds: { lineage: 0 }, inputTopic: '', partitions: 1, transactionalId: '', engine: { harrier: '', onnxruntime: '', node: '', device_class: '' } }

function conditionsOf(record: LineageRecord): string {
  return JSON.stringify([modelsOf(record), record.models.filter(({ failure }) => failure !== null).map(({ model }) => model), record.unknown_schema_ids, record.ahead_max_ms])
}
