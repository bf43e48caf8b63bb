import { assert } from '../base/assert.js'
import { Condition } from '../base/condition.js'
import { Fault } from '../codec/decode-fault.js'
import { isText } from '../codec/field-spec.js'
import { createSourceDecoder, type SourceDecoder } from '../codec/source-decoder.js'
import { schemaIdAt } from '../codec/registry-prefix.js'
import type { SchemaLookup } from '../codec/registry-client.js'
import { EntityStore } from '../entity/entity-store.js'
import { hashKey } from '../entity/key-index.js'
import { ForwardKind, forwardFields } from '../codec/forward-encoder.js'
import { FeatureProgram, storeNeeds } from '../features/feature-program.js'
import { NO_UPDATE, RESET } from '../inference/frame.js'
import type { ScoreOptions, Scorer } from '../inference/scorer.js'
import { isTooFarAhead } from './ahead-bound.js'
import { Batch, Disposition, type DeadLetterCause } from './batch.js'
import { isForgetRecord } from './control-record.js'
import { Checkpointer } from './checkpointer.js'
import { LabelQueue } from './label-queue.js'
import { LabelFold } from './label-fold.js'
import { labelSource, type LabelSource } from './label-source.js'
import { frameRowsMax, turnsDays } from './day-calendar.js'
import { DayTurns } from './day-turns.js'
import { EventReader } from './event-reader.js'
import type { Topology } from './load-topology.js'
import { topologyNames } from './names.js'
import { Refusal, tooLate } from './refusal.js'
import { personalFeatures } from './stage-fields.js'
import { Task, type TaskPart } from './task.js'
import { eventIdField, eventTimeField } from './topology-schema.js'
import { UpstreamTimes } from './upstream-times.js'

/**
 * One stage of a topology in this process: its entities, its features, and the tasks whose partitions this process
 * owns. It knows no Kafka.
 *
 * Invariants: (1) state changes only in `fold`, in the order of the input's offsets; (2) a batch that was folded is
 * either committed or rolled back, rolled back newest first; (3) expiry and lateness are decided from the stream time
 * of the record itself, so borders of batches do not show in a row.
 */
export class Stage {
  readonly topology: Topology
  readonly store: EntityStore
  readonly decoder: SourceDecoder
  readonly scorer: Scorer
  readonly checkpointer: Checkpointer
  /** By partition; undefined where this process does not own it. */
  readonly tasks: (Task | undefined)[] = []
  readonly #program: FeatureProgram
  readonly #reader: EventReader
  /** Where entities are scored when a day has turned. */
  readonly turns: DayTurns | null
  readonly #atRest = new Condition()
  #scoring = 0
  /** Batches that are folded and whose frames have not been scored. */
  readonly #unscored = new Set<Batch>()
  /** Frames that wait to be scored. */
  #entering = 0
  #frozen = false
  /** Which scores are explained: those of alerts. Undefined before the last stage. */
  readonly #explain: ScoreOptions['explain']
  readonly #keyColumn: number
  readonly #timeColumn: number
  /** The labels that the stage reads itself; null where it reads none, or has them from the stage before. */
  readonly labels: LabelSource | null
  /** Columns of what came with a forwarded record; null in the first stage. */
  readonly #forwarded: { kind: number; upstream: number; streamTime: number; late: number } | null
  readonly #labelFold: LabelFold
  readonly #refusal: Refusal
  /** Tasks of the stage before. */
  readonly #upstreamTasks: number

  /** `partitions`: of the input, and so of every stage's. */
  constructor(topology: Topology, scorer: Scorer, registry: SchemaLookup | undefined, partitions = 1) {
    const { stage, spec, fields } = topology
    this.topology = topology
    this.scorer = scorer
    this.store = new EntityStore({
      keyBytesMax: stage.keyBytesMax,
      ...storeNeeds(stage.features),
      graceMs: stage.grace,
      ttlMs: stage.ttl,
      windowEntriesMax: spec.limits.windowEntriesMax,
      turnsDays: turnsDays(stage),
    })
    this.decoder = createSourceDecoder({
      format: spec.source.format,
      fields,
      readerSchema: topology.readerSchema,
      registry,
      recordBytesMax: spec.limits.recordBytesMax,
      isTable: topology.isTable,
    })
    this.checkpointer = new Checkpointer(this)
    this.#program = new FeatureProgram(stage.features, this.store.log, new Set(fields.filter(isText).map((field) => field.name)))
    const column = (name: string): number => fields.findIndex((field) => field.name === name)
    this.#reader = new EventReader(this.#program, stage.features, fields)
    this.turns = turnsDays(stage) ? new DayTurns(topology, this.store, this.#program) : null
    this.#keyColumn = column(stage.key)
    this.#timeColumn = column(eventTimeField)
    this.labels = topology.labels ? labelSource(topology, topology.labels, registry) : null
    const { kind, upstream, streamTime, late, isFraud } = forwardFields
    this.#forwarded =
      topology.place === 0
        ? null
        : { kind: column(kind), upstream: column(upstream), streamTime: column(streamTime), late: column(late) }
    const own = { id: column(eventIdField), isFraud: column(isFraud), key: this.#keyColumn }
    this.#labelFold = new LabelFold(this.store, this.labels?.columns ?? own, this.turns)
    this.#refusal = new Refusal(topology)
    this.#upstreamTasks = partitions
    this.#explain = topology.forward || stage.policy.reasons === 0 ? undefined : { from: stage.policy.review, top: stage.policy.reasons, eventsMax: spec.limits.explainedEventsMax, hidden: personalFeatures(fields, stage.features) }
  }

  makeBatch({ recordsMax = this.topology.spec.limits.batchRecordsMax, restoring = false, early = false } = {}): Batch {
    const { spec, stage, fields, place } = this.topology
    const daysMax = this.turns ? frameRowsMax(stage, place, spec.limits) : 0
    return new Batch({ recordsMax, restoring, early, bytesMax: spec.limits.batchBytesMax, fields, models: this.scorer.models.length, daysMax })
  }

  /** A task that is none of this process's yet: see `addTask`. */
  makeTask(partition: number): Task {
    return new Task(topologyNames(this.topology).task(partition), partition, this.store, {
      labels: this.labels && new LabelQueue(this.labels.columns.knownAt),
      upstream: this.#forwarded && new UpstreamTimes(this.#upstreamTasks, this.topology.stage.upstreamSkew),
    })
  }

  addTask(partition: number, task = this.makeTask(partition)): Task {
    assert(!this.tasks[partition], 'a partition has one task')
    this.tasks[partition] = task
    return task
  }

  /** Gives back the slots of a task that has no part in a batch and takes none again. */
  releaseTask(task: Task): void {
    this.store.abandon(task.index)
  }

  /** Forgets a task and gives its slots back. No batch that it has part in may be in flight. */
  dropTask(partition: number): void {
    const task = this.tasks[partition]
    if (!task) return
    this.releaseTask(task)
    this.tasks[partition] = undefined
  }

  /** Step 2, where something has to be known of the events before they are folded. */
  decode(batch: Batch): void {
    this.decoder.decode(batch.records, batch.events, 0, batch.unknownIds)
    batch.isDecoded = true
  }

  /** Newest event time of each task in a decoded batch, ms, of those that are not too far ahead. */
  newestTimes({ records, events }: Batch): Map<Task, number> {
    const newest = new Map<Task, number>()
    const times = events.numbers[this.#timeColumn]!
    const { aheadMax } = this.topology.spec.source
    for (let row = 0; row < records.count; row++) {
      const task = this.tasks[records.partition[row]!]
      if (isTooFarAhead(times[row]!, records.timestamp[row]!, aheadMax)) continue
      if (task && events.fault[row] === Fault.none && !(newest.get(task)! >= times[row]!)) newest.set(task, times[row]!)
    }
    return newest
  }

  /**
   * Steps 2 to 4 of the batch cycle: decoded events change their entities and leave one feature row [F] each in the
   * batch's frame. A batch of a restore is never rolled back; there an event is passed over, but for its stream time,
   * when the entity's changelog record reflects its batch already.
   */
  fold(batch: Batch): void {
    const frame = this.scorer.acquireFrame()
    assert(frame, 'a batch in flight has a frame')
    batch.frame = frame
    if (!batch.isDecoded) this.decode(batch)
    const { records, events, sequences } = batch
    const { stage } = this.topology
    const times = events.numbers[this.#timeColumn]!
    const { only } = batch
    batch.polled = records.count
    let task: Task | undefined
    let part: TaskPart | undefined
    for (let row = 0; row < batch.polled; row++) {
      if (records.partition[row] !== task?.partition) {
        task = this.tasks[records.partition[row]!]
        assert(task, 'a record belongs to a task of this process')
        part = batch.partFor(task, records.offset[row]!)
      }
      this.#link(batch, part!, row)
      if (records.valueBytes[row]! < 0 && isForgetRecord(records, row)) {
        if (only === null || only[row] === 1) this.#forget(batch, task!, part!, row)
        continue
      }
      const cause = this.#refusal.of(batch, row)
      if (cause) {
        this.#deadLetter(batch, part!, row, cause)
        continue
      }
      const timeMs = times[row]!
      this.#advance(batch, task!, row, timeMs)
      const streamTimeMs = task!.streamTimeMs
      if (only !== null && only[row] === 0) continue
      const sequence = sequences ? sequences[row]! : part!.sequence
      if (this.#forwarded && events.numbers[this.#forwarded.kind]![row] === ForwardKind.label) {
        batch.disposition[row] = Disposition.label
        this.#labelFold.foldForwarded(batch, task!, part!, row, sequence)
        continue
      }
      if (task!.labels) this.#labelFold.foldDue(batch, task!, part!, row, sequence)
      const late = timeMs + stage.grace < streamTimeMs || (this.#forwarded !== null && events.numbers[this.#forwarded.late]![row] === 1)
      if (late) {
        part!.late++
        if (stage.late === 'dead-letter') {
          this.#deadLetter(batch, part!, row, tooLate(timeMs, stage.grace, streamTimeMs))
          continue
        }
      }
      this.#foldEvent(batch, part!, row, late, sequence)
    }
    if (this.turns) for (const done of batch.parts) this.turns.sweep(batch, done)
    frame.count = batch.frameRows
    for (const done of batch.parts) this.#finishPart(done, sequences !== null)
  }

  /** An event changes its entity, if it is not late, and leaves its row, if it is scored. */
  #foldEvent(batch: Batch, part: TaskPart, row: number, late: boolean, sequence: number): void {
    const { records, events, sequences } = batch
    const { task } = part
    const { turns } = this
    const { entry } = this.#program
    const frame = batch.frame!
    const { streamTimeMs } = task
    const timeMs = events.numbers[this.#timeColumn]![row]!
    const keyAt = events.textAt[this.#keyColumn]![row]!
    const keyBytes = events.textBytes[this.#keyColumn]![row]!
    this.#reader.read(batch, row)
    const { bytes } = records.arena
    const hash = hashKey(bytes, keyAt, keyBytes)
    let slot = task.index.find(bytes, keyAt, keyBytes, hash)
    const isScored = turns === null || turns.scores(events, row)
    if (sequences && slot > 0 && sequence <= this.store.asOf(slot)) {
      if (isScored) part.scored++
      else part.unscored++
      return
    }
    if (turns && slot > 0) turns.turnDue(batch, task, part, slot, row, sequence)
    const { moment } = this.store.log
    moment[0] = timeMs
    moment[1] = streamTimeMs
    let flags = 0
    if (late) {
      const known = slot > 0 && !this.store.isFresh(slot, streamTimeMs)
      if (!known) slot = 0
      this.store.peek(slot, timeMs, entry, streamTimeMs)
      flags = known ? NO_UPDATE : NO_UPDATE | RESET
    } else {
      if (slot < 0) {
        slot = this.store.allocate()
        this.store.slots.setKey(slot, bytes, keyAt, keyBytes, hash)
        this.store.setOwner(slot, task.partition)
        task.index.add(slot)
        batch.created.push(slot)
        batch.createdIn.push(task.partition)
      }
      const anew = this.store.fold(slot, entry, sequences ? null : batch.undo)
      if (anew) {
        flags = RESET
        turns?.begin(task, slot)
      }
      task.markChanged(part, slot, sequence, sequences !== null)
    }
    if (!isScored) {
      part.unscored++
      batch.disposition[row] = Disposition.folded
      return
    }
    if (turns) {
      flags = turns.flagsBeside(slot)
      if ((flags & RESET) !== 0) slot = 0
    }
    const at = batch.frameRows++
    this.#program.writeRow(frame.rows, at * this.topology.stage.features.length)
    frame.put(at, slot, flags, hash, timeMs)
    batch.recordRow[at] = row
    batch.frameRow[row] = at
    batch.disposition[row] = Disposition.scored
    batch.late[row] = late ? 1 : 0
    part.scored++
  }

  /** Stream time as of this record. */
  #advance(batch: Batch, task: Task, row: number, timeMs: number): void {
    let streamTimeMs = timeMs
    if (this.#forwarded) {
      const { upstream, streamTime } = this.#forwarded
      streamTimeMs = task.upstream!.advance(batch.events.numbers[upstream]![row]!, batch.events.numbers[streamTime]![row]!)
    }
    if (streamTimeMs > task.streamTimeMs) task.streamTimeMs = streamTimeMs
    batch.streamTimeMs[row] = task.streamTimeMs
    this.turns?.advance(task)
  }

  #finishPart(part: TaskPart, restoring: boolean): void {
    const { task } = part
    task.position = part.to
    part.streamTimeAfter = task.streamTimeMs
    part.turnsAfter = task.turnPosition
    part.upstreamAfter = task.upstream && task.upstream.times.slice()
    part.oldestDirty = task.oldestDirty(part.sequence + 1)
    if (restoring) return
    task.tail.push(part.sequence, part.from)
    part.before = task.silentPart
    task.silentPart = null
  }

  /**
   * Step 5. Rejects only when the scorer is lost. While state is being rolled back it waits: `undo` needs a scorer at
   * rest, and a restore of another task may be scoring.
   */
  async score(batch: Batch, options: ScoreOptions = {}): Promise<void> {
    this.#unscored.add(batch)
    try {
      await this.#score(batch, options)
    } finally {
      this.#unscored.delete(batch)
    }
  }

  async #score(batch: Batch, options: ScoreOptions): Promise<void> {
    // Frames of a task take effect in the order of their folds: nobody passes those that wait.
    if (this.#frozen || this.#entering > 0) {
      this.#entering++
      do await this.#atRest.changed()
      while (this.#frozen)
      this.#entering--
      this.#atRest.notify()
    }
    this.#scoring++
    try {
      await this.scorer.score(batch.frame!, { explain: this.#explain, ...options })
    } finally {
      this.#scoring--
      this.#atRest.notify()
    }
  }

  /** Sequence of the first batch of a task that is folded and not scored; Infinity when all are. */
  unscored(task: Task): number {
    let first = Infinity
    for (const { parts } of this.#unscored) for (const part of parts) if (part.task === task) first = Math.min(first, part.sequence)
    return first
  }

  /** True while no frame is being scored: entities hold still but for `fold`. */
  get isAtRest(): boolean {
    return this.#scoring === 0
  }

  /** Waits until frames in flight have been scored. */
  async rest(): Promise<void> {
    await this.#atRest.until(() => this.isAtRest)
  }

  /** Runs `work` with the scorer at rest and kept so. */
  async frozen(work: () => void): Promise<void> {
    this.#frozen = true
    try {
      await this.rest()
      work()
    } finally {
      this.#frozen = false
      this.#atRest.notify()
    }
  }

  /** The transaction has committed: the images are not needed any more. */
  commit(batch: Batch): void {
    batch.trace?.end(true)
    this.store.commit(batch.undo)
    this.checkpointer.commit(batch)
    for (const { task, oldestDirty, labelsTo } of batch.parts) {
      task.tail.dropBefore(oldestDirty)
      task.labels?.drop(labelsTo)
    }
    this.#releaseFrame(batch)
  }

  /** The transaction was aborted: entities, tasks and sequences are as before the batch. Its score has settled. */
  rollback(batch: Batch): void {
    batch.trace?.end(false)
    if (batch.frame) this.scorer.undo(batch.frame)
    this.store.rollback(batch.undo)
    for (const { task, dirtied, sequence, positionBefore, streamTimeBefore, turnsBefore, before, labelsFrom, upstreamBefore } of batch.parts) {
      task.labels?.rewind(labelsFrom)
      if (upstreamBefore) task.upstream!.set(upstreamBefore)
      if (before) task.silentPart = before
      for (let i = 0; i < dirtied; i++) task.dirty.pop()
      task.nextSequence = sequence
      task.position = positionBefore
      task.streamTimeMs = streamTimeBefore
      task.turnPosition = turnsBefore
      task.tail.pop()
    }
    this.checkpointer.rollback(batch)
    while (batch.created.length > 0) {
      const slot = batch.created.pop()
      this.tasks[batch.createdIn.pop()]!.index.remove(slot)
      this.store.release(slot)
    }
    this.#releaseFrame(batch)
  }

  /** A restored batch has been folded and scored: it only changed state. */
  finishRestored(batch: Batch): void {
    this.#releaseFrame(batch)
  }

  /** A control record: the entity that its key names is forgotten from here on, in a replay too. */
  #forget(batch: Batch, task: Task, part: TaskPart, row: number): void {
    const { records, sequences } = batch
    batch.disposition[row] = Disposition.control
    const bytes = records.arena.bytes
    const at = records.keyAt[row]!
    const length = records.keyBytes[row]!
    const slot = length > 0 ? task.index.find(bytes, at, length, hashKey(bytes, at, length)) : -1
    const sequence = sequences ? sequences[row]! : part.sequence
    if (slot < 0 || (sequences && sequence <= this.store.asOf(slot))) return
    this.turns?.turnDue(batch, task, part, slot, row, sequence)
    this.store.forget(slot, sequences ? null : batch.undo)
    task.markChanged(part, slot, sequence, sequences !== null)
  }

  #releaseFrame(batch: Batch): void {
    if (batch.frame) this.scorer.releaseFrame(batch.frame)
    batch.frame = null
  }

  #link(batch: Batch, part: TaskPart, row: number): void {
    batch.link(part, row)
    part.records++
    part.to = batch.records.offset[row]! + 1
  }

  #deadLetter(batch: Batch, part: TaskPart, row: number, cause: DeadLetterCause): void {
    batch.disposition[row] = Disposition.deadLetter
    batch.causes.set(row, cause)
    part.deadLetters++
    if (batch.events.fault[row] === Fault.unknownSchema) part.unknownSchemaIds.add(schemaIdAt(batch.records, row))
  }
}
