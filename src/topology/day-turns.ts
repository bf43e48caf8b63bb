import { assert } from '../base/assert.js'
import type { EventColumns } from '../codec/event-columns.js'
import type { EntityStore } from '../entity/entity-store.js'
import { hashKey } from '../entity/key-index.js'
import type { FeatureProgram } from '../features/feature-program.js'
import { NO_UPDATE, RESET } from '../inference/frame.js'
import { Disposition, type Batch } from './batch.js'
import { dayMs, dayText, endedDays, endOfDay, sweepSegments } from './day-calendar.js'
import type { Topology } from './load-topology.js'
import type { Task, TaskPart } from './task.js'
import { eventIdField, eventTimeField } from './topology-schema.js'

/** Days of an entity that turn now. */
interface Turn {
  /** Days before this one, counted from 1970. */
  readonly ended: number
  /** Of their records, ms. */
  readonly timestamp: number
  readonly sequence: number
  /** They come before the row at which this happens, the last of its part. */
  readonly before: boolean
}

/**
 * Days turn: a stage with `score: { when: dayTurn }` keeps one row for each entity and day and scores the entity at the end of
 * the day (docs/architecture.md, "Day turns").
 *
 * A day is *due* once stream time has reached its end and the grace behind it: an event of that day would be late, so nothing can
 * change it. What an entity's days are is then a function of the log: a due day is turned before the next event, label or erasure of
 * the entity is folded, or when the sweep reaches the entity, whichever comes first, and comes out the same.
 *
 * Invariants: (1) a due day is turned before anything of its entity changes; (2) days of an entity turn in order, once; (3) a day
 * within `ring` days of whose end the entity had no event gives no row, and the row after it begins anew; (4) the sweep's position
 * is the task's scalar `turnPosition`: day × segments + segment, all before it have been swept; it is recorded before and after each
 * batch, and a restore sweeps exactly from the one to the other.
 *
 * The day mark of a slot is 2 × (days since 1970 that are done with), + 1 when the last of them left a row.
 */
export class DayTurns {
  readonly #store: EntityStore
  readonly #program: FeatureProgram
  readonly #features: number
  readonly #graceMs: number
  readonly #ringMs: number
  readonly #perBatchMax: number
  readonly #idColumn: number
  readonly #keyColumn: number
  readonly #timeColumn: number
  /** Which events are scored besides, at once. */
  readonly #atOnce: { readonly column: number; readonly from: number; readonly below: number } | null
  readonly #segment: number[] = []

  constructor({ stage, spec, fields }: Topology, store: EntityStore, program: FeatureProgram) {
    const column = (name: string): number => fields.findIndex((field) => field.name === name)
    const { events } = stage.score!
    this.#store = store
    this.#program = program
    this.#features = stage.features.length
    this.#graceMs = stage.grace
    this.#ringMs = stage.ring * dayMs
    this.#perBatchMax = spec.limits.turnedPerBatchMax
    this.#idColumn = column(eventIdField)
    this.#keyColumn = column(stage.key)
    this.#timeColumn = column(eventTimeField)
    this.#atOnce = events ? { column: column(events.field), from: events.from ?? -Infinity, below: events.below ?? Infinity } : null
  }

  /** Whether an event is scored at once. */
  scores(events: EventColumns, row: number): boolean {
    if (!this.#atOnce) return false
    const { column, from, below } = this.#atOnce
    const value = events.numbers[column]![row]!
    return value >= from && value < below
  }

  /** Stream time has moved: the first time of a task says with which day its sweep begins. */
  advance(task: Task): void {
    if (task.turnPosition < 0) task.turnPosition = endedDays(task.streamTimeMs, this.#graceMs) * sweepSegments
  }

  /** The entity has started anew: none of its days so far is due. */
  begin(task: Task, slot: number): void {
    this.#store.setDayMark(slot, 2 * endedDays(task.streamTimeMs, this.#graceMs), null)
  }

  /** Flags of a row that is scored beside the days: the days before it as they stand, or none. */
  flagsBeside(slot: number): number {
    return slot > 0 && !this.isBlank(slot) ? NO_UPDATE : NO_UPDATE | RESET
  }

  /** Whether the next row begins anew: what lies in the slot's sequence memory is nothing of this entity's, or of no use any more. */
  isBlank(slot: number): boolean {
    return this.#store.dayMark(slot) % 2 === 0
  }

  /** Something of the entity is about to change, at this row: its due days come first. */
  turnDue(batch: Batch, task: Task, part: TaskPart, slot: number, row: number, sequence: number): void {
    this.#turn(batch, part, slot, { ended: endedDays(task.streamTimeMs, this.#graceMs), timestamp: batch.records.timestamp[row]!, sequence, before: true })
  }

  /** Whether days are due that the sweep has not come to. */
  owes(task: Task): boolean {
    return task.turnPosition >= 0 && task.turnPosition < endedDays(task.streamTimeMs, this.#graceMs) * sweepSegments
  }

  /** Whether nothing of an entity that has expired is due any more: it can be freed, and nobody sees when. */
  isDone(slot: number): boolean {
    return this.#store.isEmpty(slot) || Math.floor(this.#store.dayMark(slot) / 2) * dayMs > this.#store.newestMs(slot) + this.#ringMs
  }

  /** Goes on with the sweep of a task at the end of its part of a batch: at most to `batch.sweepTo`, and by a limited number of entities and segments. */
  sweep(batch: Batch, part: TaskPart): void {
    const { task } = part
    if (task.turnPosition < 0) return
    const to = Math.min(batch.sweepTo, endedDays(task.streamTimeMs, this.#graceMs) * sweepSegments, task.turnPosition + sweepSegments)
    const timestamp = part.lastRow < 0 ? task.streamTimeMs : batch.records.timestamp[part.lastRow]!
    const perTaskMax = Math.ceil(this.#perBatchMax / batch.parts.length)
    const { sequences } = batch
    const segment = this.#segment
    for (let taken = 0; task.turnPosition < to && taken < perTaskMax; task.turnPosition++) {
      segment.length = 0
      task.index.collect(task.turnPosition % sweepSegments, sweepSegments, segment)
      // A segment is swept whole: where it would not fit any more it waits for the next batch.
      if (batch.frameRows + segment.length > batch.frame!.shape.rowsMax && batch.frameRows > 0) return
      taken += segment.length
      const ended = Math.floor(task.turnPosition / sweepSegments) + 1
      for (const slot of segment) {
        if (sequences && part.sequence <= this.#store.asOf(slot)) continue
        this.#turn(batch, part, slot, { ended, timestamp, sequence: part.sequence, before: false })
      }
    }
  }

  #turn(batch: Batch, part: TaskPart, slot: number, turn: Turn): void {
    const { ended, sequence } = turn
    const store = this.#store
    const before = store.dayMark(slot)
    let day = Math.floor(before / 2)
    if (day >= ended || store.isEmpty(slot)) return
    let mark = before
    while (day < ended) {
      const endMs = endOfDay(day)
      if (store.youngestUntil(slot, endMs) > endMs - this.#ringMs) {
        this.#append(batch, part, slot, day, mark % 2 === 0, turn)
        mark = 2 * ++day + 1
        continue
      }
      if (mark % 2 === 1) mark = 2 * (day + 1)
      day = Math.max(day + 1, Math.floor(Math.min(store.oldestAfter(slot, endMs), ended * dayMs) / dayMs))
    }
    // A day without a row leaves nothing behind: entities that are silent for long are not written again and again.
    if (mark === before) return
    store.setDayMark(slot, mark, batch.sequences ? null : batch.undo)
    part.task.markChanged(part, slot, sequence, batch.sequences !== null)
  }

  /** A row of the frame, and a row of the batch that stands for the event `<entity>@<day>`. */
  #append(batch: Batch, part: TaskPart, slot: number, day: number, anew: boolean, { timestamp, before }: Turn): void {
    const { records, events } = batch
    const frame = batch.frame!
    const timeMs = endOfDay(day)
    const at = batch.frameRows++
    assert(at < frame.shape.rowsMax, 'a frame has room for the days that are due')
    this.#store.lookAt(slot, timeMs)
    this.#store.log.moment[0] = timeMs
    this.#program.writeRow(frame.rows, at * this.#features)
    const key = this.#store.slots.keyOf(slot)
    frame.put(at, slot, anew ? RESET : 0, hashKey(key, 0, key.length), timeMs)
    const row = records.begin(0, part.task.partition, -1, timestamp)
    const idAt = records.arena.append(key)
    records.arena.append(separator)
    records.arena.append(dayText(day))
    records.setKey(row, idAt, key.length)
    events.setNull(row)
    events.textAt[this.#idColumn]![row] = events.textAt[this.#keyColumn]![row] = idAt
    events.textBytes[this.#keyColumn]![row] = key.length
    events.textBytes[this.#idColumn]![row] = records.arena.used - idAt
    events.numbers[this.#timeColumn]![row] = timeMs
    if (before) batch.linkBefore(part, row)
    else batch.link(part, row)
    batch.recordRow[at] = row
    batch.frameRow[row] = at
    batch.disposition[row] = Disposition.scored
    batch.late[row] = 0
    batch.streamTimeMs[row] = part.task.streamTimeMs
    part.turned++
  }
}

const separator = Buffer.from('@')
