import { KeyIndex } from '../entity/key-index.js'
import { NumberQueue } from '../entity/growable.js'
import type { EntityStore } from '../entity/entity-store.js'
import type { ScoringModels } from '../inference/scorer.js'
import type { LabelQueue } from './label-queue.js'
import type { UpstreamTimes } from './upstream-times.js'

/**
 * One stage on one partition: the unit of state, order, lineage and restore. Its scalars are what lineage records
 * before and after each batch; its entities live in the stage's store, under an index of its own.
 */
export class Task {
  readonly partition: number
  /** topology/stage/partition */
  readonly name: string
  readonly index: KeyIndex
  readonly #store: EntityStore
  /** Slots whose change is not on the changelog, oldest first. */
  readonly dirty = new NumberQueue('int32')
  /** Batches that are not wholly on the changelog, oldest first: what a restore would fold again. */
  readonly tail = new Tail()
  /** Its state is whole: events may be folded into it and its slots be written. False while it is restored. */
  isReady = false
  /** Monotonic ms of its last turn of the checkpoint. */
  lastTurnMs = -Infinity
  /** Entities at the head of `dirty` that its last turn could not write: a frame in flight might have changed them. */
  passedOver = 0
  /** The log behind it is about to be deleted: all that is dirty goes on the changelog at its next turn. */
  hurries = false
  /** How far its changelog has been read into it: next offset (-1: not at all), newest batch that a record reflects, monotonic ms. */
  readonly changelog = { position: -1, newestAsOf: -1, readAtMs: 0 }
  /** Input that was folded without outputs and is in no lineage record yet: it goes into the next batch's transaction. */
  silentPart: TaskPart | null = null
  /** Sequence of the next batch. */
  nextSequence = 0
  /** Next input offset to fold; -1 until the first record of a partition without history. */
  position = -1
  /** Highest event time seen, ms since 1970; 0 before the first. After the first stage: what all upstream tasks have reached. */
  streamTimeMs = 0
  /** How far the sweep over turned days has come: day × segments + segment; -1 before the first record, and where no days turn. See `DayTurns`. */
  turnPosition = -1
  /** Labels that wait for their time; null where the stage reads none itself. */
  readonly labels: LabelQueue | null
  /** Null in the first stage. */
  readonly upstream: UpstreamTimes | null

  /** The batch `sequence` has changed a slot, which is dirty from then on. While a restore folds its record's `asOf` stays. */
  markChanged(part: TaskPart, slot: number, sequence: number, restoring: boolean): void {
    if (!restoring) this.#store.touch(slot, sequence)
    if (!this.#store.markDirty(slot, sequence)) return
    this.dirty.push(slot)
    part.dirtied++
  }

  /** Sequence of the oldest change that is on no changelog; `clean` when all are. */
  oldestDirty(clean: number): number {
    return this.dirty.length > 0 ? this.#store.dirtySince(this.dirty.at(0)) : clean
  }

  /** Records that a restore would fold again. */
  get tailRecords(): number {
    return this.position - (this.tail.from ?? this.position)
  }

  constructor(name: string, partition: number, store: EntityStore, { labels = null, upstream = null }: { labels?: LabelQueue | null; upstream?: UpstreamTimes | null } = {}) {
    this.name = name
    this.partition = partition
    this.labels = labels
    this.upstream = upstream
    this.index = new KeyIndex(store.slots)
    this.#store = store
  }
}

/** Sequences and first offsets of batches, oldest first. */
export class Tail {
  readonly #sequences = new NumberQueue('float64')
  readonly #offsets = new NumberQueue('float64')

  /** First offset of the oldest batch; undefined when there is none. */
  get from(): number | undefined {
    return this.#offsets.length > 0 ? this.#offsets.at(0) : undefined
  }

  push(sequence: number, from: number): void {
    this.#sequences.push(sequence)
    this.#offsets.push(from)
  }

  /** Takes the newest batch back. */
  pop(): void {
    this.#sequences.pop()
    this.#offsets.pop()
  }

  /** Drops batches before `sequence`. */
  dropBefore(sequence: number): void {
    while (this.#sequences.length > 0 && this.#sequences.at(0) < sequence) {
      this.#sequences.shift()
      this.#offsets.shift()
    }
  }
}

/** What one batch did to one task: the material of its lineage record, and of an undo. */
export interface TaskPart {
  readonly task: Task
  readonly sequence: number
  /** Offsets [from, to) of the input. */
  readonly from: number
  to: number
  /** Offsets [labelsFrom, labelsTo) of the labels topic; -1: none yet. */
  readonly labelsFrom: number
  labelsTo: number
  /** Stream times of the upstream tasks; null in the first stage. */
  readonly upstreamBefore: Float64Array | null
  upstreamAfter: Float64Array | null
  readonly positionBefore: number
  readonly streamTimeBefore: number
  streamTimeAfter: number
  /** `Task.turnPosition`. */
  readonly turnsBefore: number
  turnsAfter: number
  records: number
  /** Events that were scored; with `turned` the scored events of the batch. */
  scored: number
  /** Days that turned, each with a score. */
  turned: number
  /** Events that changed state and were not scored themselves. */
  unscored: number
  alerts: number
  deadLetters: number
  late: number
  fallbacks: number
  /** Labels that came into effect, those that said the same again, those that said something else than before, those of no known event. */
  readonly labels: { applied: number; repeated: number; conflicting: number; unknown: number }
  /** Schema ids of its records that the registry did not know. */
  readonly unknownSchemaIds: Set<number>
  /** The models by which it was folded, where it was folded silently; null: those of its batch's frame. */
  models: ScoringModels | null
  /** What was folded silently before it; see `Task.silentPart`. */
  before: TaskPart | null
  /** First, last but one and last row of the part; `Batch.nextRow` links them. */
  firstRow: number
  beforeLastRow: number
  lastRow: number
  dirtied: number
  /** Sequence of the oldest change that is on no changelog when this batch has committed. */
  oldestDirty: number
}

/** The part of a task in a batch that begins. */
export function emptyPart(task: Task, { sequence, from, to }: { sequence: number; from: number; to: number }): TaskPart {
  return {
    task,
    sequence,
    from,
    to,
    labelsFrom: task.labels?.position ?? -1,
    labelsTo: task.labels?.position ?? -1,
    upstreamBefore: task.upstream && task.upstream.times.slice(),
    upstreamAfter: null,
    positionBefore: task.position,
    streamTimeBefore: task.streamTimeMs,
    streamTimeAfter: task.streamTimeMs,
    turnsBefore: task.turnPosition,
    turnsAfter: task.turnPosition,
    records: 0,
    scored: 0,
    turned: 0,
    unscored: 0,
    alerts: 0,
    deadLetters: 0,
    late: 0,
    fallbacks: 0,
    labels: { applied: 0, repeated: 0, conflicting: 0, unknown: 0 },
    unknownSchemaIds: new Set(),
    models: null,
    before: null,
    firstRow: -1,
    beforeLastRow: -1,
    lastRow: -1,
    dirtied: 0,
    oldestDirty: 0,
  }
}
