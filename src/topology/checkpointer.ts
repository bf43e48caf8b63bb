import type { EntityStore } from '../entity/entity-store.js'
import { hashKey } from '../entity/key-index.js'
import { checkpointRowsMax, type Batch, type DeletedEntity } from './batch.js'
import type { Stage } from './stage.js'
import type { Task } from './task.js'
import { Sink } from './names.js'
import { appendDeletion, appendSlotRecord } from './slot-record.js'

/** Slots looked at for expiry in one turn. */
const sweptPerTurn = 256
/**
 * Turns that wait for the scorer come so often in an interval, if there is something that was passed over: entities that are in flight all
 * the time are written then. Each empties the pipeline: ten in an interval took 7 % of the throughput.
 */
const restsPerInterval = 2
/** A task has a turn so often in an interval, or sooner when what it has to write would fill this share of a transaction. */
const turnsPerInterval = 20
const turnBytesShare = 1 / 4
/** A task writes at least at this pace while anything of it is dirty, so that the last few do not wait for ever. */
const slotsPerIntervalMin = 8
/** Deleted entities whose null is still to follow; past it their small deletion records simply stay. */
const deletedMax = 100_000

/**
 * The fuzzy checkpoint: each transaction carries the changelog records of some slots that have been dirty longest, so
 * that none stays dirty longer than `checkpointIntervalMs`, unless `checkpointBytesMax` a transaction forbids it; half as long again where
 * it is in flight all the time. A hot entity is written once an interval, not once an event. No pause, no second producer.
 *
 * A turn comes before its batch is folded and passes over slots that a frame in flight may change, so a slot's words and
 * its sequence memory are of one moment: `asOf` is the sequence of the batch before. What is passed over stays at the
 * head of the queue, for the next turn that waits for the scorer. A task without records in the batch takes part when it
 * has had no turn for an interval: a partition that falls silent leaves nothing dirty.
 */
export class Checkpointer {
  readonly #stage: Stage
  readonly #intervalMs: number
  readonly #bytesMax: number
  #lastRestMs = -Infinity
  #lastTurnMs = -Infinity
  #sweepAt = 1
  /** Deletions that have committed or are about to, oldest first. */
  readonly #deleted: DeletedEntity[] = []
  /** Changelog that has committed. */
  records = 0
  bytes = 0

  constructor(stage: Stage) {
    const { checkpointIntervalMs, checkpointBytesMax } = stage.topology.spec.limits
    this.#stage = stage
    this.#intervalMs = checkpointIntervalMs
    this.#bytesMax = checkpointBytesMax
  }

  /** Whether a turn should wait for the scorer. */
  isDue(nowMs: number): boolean {
    return nowMs - this.#lastRestMs >= this.#intervalMs / restsPerInterval && this.#stage.tasks.some((task) => task !== undefined && task.passedOver > 0)
  }

  /** Whether a task has had no turn for an interval and has something to write, or has days to turn: worth a batch without records. */
  isOverdue(nowMs: number): boolean {
    return this.#stage.tasks.some((task) => task !== undefined && this.#waitsFor(task, nowMs))
  }

  /** Appends changelog records to the outputs of a batch that has been polled and not folded. */
  turn(batch: Batch, nowMs: number): void {
    const { isAtRest } = this.#stage
    Object.assign(batch.turn, { lastTurnMs: this.#lastTurnMs, lastRestMs: this.#lastRestMs, sweptTo: this.#sweepAt })
    if (isAtRest) this.#lastRestMs = nowMs
    const waiting = this.#prepareParts(batch, nowMs)
    const tasks = this.#tasksInTurn(batch, nowMs, waiting.length)
    const startBytes = batch.outputs.arena.used
    for (const [index, task] of tasks.entries()) {
      const elapsedMs = this.#elapsedMs(task, nowMs)
      const turn = { task, lastTurnMs: task.lastTurnMs, hurried: task.hurries, passed: 0, passedBefore: task.passedOver }
      batch.turns.push(turn)
      const pace = this.#pace(task)
      const wanted = Math.floor(elapsedMs * pace)
      // The part of a slot that was not written counts on.
      task.lastTurnMs = nowMs - (elapsedMs - wanted / pace)
      task.hurries = false
      turn.passed = this.#writeOldest(batch, task, Math.max(wanted, isAtRest ? task.passedOver : 0), startBytes + this.#bytesMax * ((index + 1) / tasks.length))
      task.passedOver = turn.passed
    }
    this.#sweep(batch)
    this.#bury(batch)
    // Only now: what was written reflects the batches before this one.
    for (const task of waiting) batch.partFor(task, task.position)
    batch.turn.bytes = batch.outputs.arena.used - startBytes
  }

  /**
   * A partition of the changelog is one more request to the broker in the transaction: few tasks have their turn in each, those first that
   * have waited longest, and so many that each comes round in time. `waiting`: take part in the batch for their turn alone. Where the scorer
   * is at rest all those have a turn that have passed something over.
   */
  #tasksInTurn({ partitions }: Batch, nowMs: number, waiting: number): Task[] {
    const roundMs = this.#intervalMs / turnsPerInterval
    const bytesOfSlot = this.records === 0 ? 0 : this.bytes / this.records
    const { isAtRest } = this.#stage
    const isMet = ({ passedOver }: Task): boolean => isAtRest && passedOver > 0
    const owned = [...partitions].flatMap((partition) => this.#stage.tasks[partition] ?? [])
    const due = owned.filter((task) => {
      const elapsedMs = this.#elapsedMs(task, nowMs)
      return isMet(task) || elapsedMs >= roundMs || elapsedMs * this.#pace(task) * bytesOfSlot >= this.#bytesMax * turnBytesShare
    })
    const count = Math.max(1, waiting, owned.filter(isMet).length, Math.ceil((owned.length * (nowMs - this.#lastTurnMs)) / roundMs))
    this.#lastTurnMs = nowMs
    return due.sort((a, b) => Number(isMet(b)) - Number(isMet(a)) || Number(b.hurries) - Number(a.hurries) || a.lastTurnMs - b.lastTurnMs).slice(0, count)
  }

  #elapsedMs({ hurries, lastTurnMs }: Task, nowMs: number): number {
    return hurries ? this.#intervalMs : Math.min(this.#intervalMs, nowMs - lastTurnMs)
  }

  /** Slots a ms, so that all that are dirty now are written within an interval. */
  #pace({ dirty }: Task): number {
    return Math.max(dirty.length, slotsPerIntervalMin) / this.#intervalMs
  }

  /** Writes slots that no frame in flight may change. Returns how many were passed over; they are the head of the queue. */
  #writeOldest(batch: Batch, task: Task, wanted: number, bytesMax: number): number {
    const { store } = this.#stage
    const unscored = this.#stage.unscored(task)
    const passed: number[] = []
    for (let written = 0; written < wanted && task.dirty.length > 0 && batch.outputs.arena.used < bytesMax && hasRoom(batch); ) {
      const slot = task.dirty.shift()
      if (store.asOf(slot) >= unscored) passed.push(slot)
      else {
        this.#write(batch, task, slot)
        written++
      }
    }
    for (let i = passed.length - 1; i >= 0; i--) task.dirty.unshift(passed[i]!)
    return passed.length
  }

  /** The batch was rolled back: its slots are dirty again, as long as they were. Comes after the fold's own undo. */
  rollback(batch: Batch): void {
    const { checkpointed, checkpointedSince } = batch
    const { store, tasks } = this.#stage
    const passed = new Map(batch.turns.map(({ task, passed: count }) => [task, Array.from({ length: count }, () => task.dirty.shift())]))
    while (checkpointed.length > 0) {
      const slot = checkpointed.pop()
      const since = checkpointedSince.pop()!
      const task = tasks[store.owner(slot)]
      store.markDirty(slot, since)
      if (!task) continue
      // Those that were passed over go back to their places by age: the head of the queue is the oldest.
      const older = passed.get(task) ?? []
      while (older.length > 0 && store.dirtySince(older.at(-1)!) > since) task.dirty.unshift(older.pop()!)
      task.dirty.unshift(slot)
    }
    for (const [task, older] of passed) while (older.length > 0) task.dirty.unshift(older.pop()!)
    for (const { task, lastTurnMs, hurried, passedBefore } of batch.turns) {
      task.lastTurnMs = lastTurnMs
      task.passedOver = passedBefore
      task.hurries ||= hurried
    }
    this.#lastTurnMs = batch.turn.lastTurnMs
    this.#lastRestMs = batch.turn.lastRestMs
    this.#sweepAt = batch.turn.sweptTo
    batch.swept.clear()
    batch.sweptIn.clear()
    this.#deleted.unshift(...batch.tombstoned)
    for (const deleted of batch.deleted) this.#deleted.splice(this.#deleted.lastIndexOf(deleted), 1)
    batch.tombstoned.length = 0
    batch.deleted.length = 0
  }

  /**
   * The batch has committed: entities that expired are gone, unless this batch or one ahead of it has touched them. Their
   * being clean and expired now would not say that: the batches ahead may have revived them, written them and gone past
   * their time to live again, and still be rolled back.
   */
  commit(batch: Batch): void {
    const { store, tasks } = this.#stage
    this.records += batch.turn.records
    this.bytes += batch.turn.bytes
    for (let i = 0; i < batch.swept.length; i++) {
      const slot = batch.swept.at(i)
      const task = tasks[batch.sweptIn.at(i)]
      const part = batch.parts.find((each) => each.task === task)
      if (!task || !part || store.owner(slot) !== task.partition || store.asOf(slot) >= part.sequence) continue
      task.index.remove(slot)
      store.release(slot)
    }
  }

  #write(batch: Batch, task: Task, slot: number): void {
    const { store } = this.#stage
    batch.checkpointed.push(slot)
    batch.checkpointedSince.push(store.dirtySince(slot))
    store.markClean(slot)
    const row = this.#begin(batch, task, slot)
    batch.outputs.arena.align()
    const at = batch.outputs.arena.used
    if (store.isEmpty(slot)) return this.#delete(batch, task, slot, row)
    const size = appendSlotRecord(batch.outputs.arena, { store, memory: this.#stage.scorer.memory }, slot, task.nextSequence - 1, this.#stage.turns?.isBlank(slot))
    batch.outputs.setValue(row, at, size)
  }

  #delete(batch: Batch, task: Task, slot: number, row: number): void {
    const at = batch.outputs.arena.used
    const asOf = task.nextSequence - 1
    batch.outputs.setValue(row, at, appendDeletion(batch.outputs.arena, asOf))
    if (this.#deleted.length >= deletedMax) return
    const deleted = { key: Uint8Array.from(this.#stage.store.slots.keyOf(slot)), partition: task.partition, asOf }
    this.#deleted.push(deleted)
    batch.deleted.push(deleted)
  }

  /** A null may follow a deletion once every batch that a restore would fold comes after it. */
  #bury(batch: Batch): void {
    const { tasks } = this.#stage
    const kept: DeletedEntity[] = []
    if (this.#deleted.length === 0 || this.#deleted.length === batch.deleted.length) return
    for (const deleted of this.#deleted) {
      const task = tasks[deleted.partition]
      if (!task) continue
      if (deleted.asOf >= task.oldestDirty(task.nextSequence) - 1 || !batch.partitions.has(deleted.partition) || !hasRoom(batch)) {
        kept.push(deleted)
        continue
      }
      batch.tombstoned.push(deleted)
      const hash = hashKey(deleted.key, 0, deleted.key.length)
      // An entity that has come back has a newer record, or will have one: a null now would hide that.
      if (task.index.find(deleted.key, 0, deleted.key.length, hash) >= 0) continue
      const row = batch.outputs.begin(Sink.state, deleted.partition, 0, timestampOf(batch, task))
      batch.outputs.setKey(row, batch.outputs.arena.append(deleted.key), deleted.key.length)
      batch.turn.records++
    }
    this.#deleted.splice(0, this.#deleted.length, ...kept)
  }

  /** Entities that have expired in event time, and whose last state is on the changelog, leave a deletion there. */
  #sweep(batch: Batch): void {
    const { store, tasks } = this.#stage
    const made = store.slots.made
    for (let i = 0; i < Math.min(sweptPerTurn, made - 1) && hasRoom(batch); i++) {
      this.#sweepAt = this.#sweepAt + 1 >= made ? 1 : this.#sweepAt + 1
      const slot = this.#sweepAt
      const task = tasks[store.owner(slot)]
      if (!task || !batch.partitions.has(task.partition) || store.dirtySince(slot) !== Infinity) continue
      if (!store.isFresh(slot, task.streamTimeMs) || !isOf(task, store, slot) || this.#stage.turns?.isDone(slot) === false) continue
      batch.swept.push(slot)
      batch.sweptIn.push(task.partition)
      this.#delete(batch, task, slot, this.#begin(batch, task, slot))
    }
  }

  #begin(batch: Batch, task: Task, slot: number): number {
    const key = this.#stage.store.slots.keyOf(slot)
    const row = batch.outputs.begin(Sink.state, task.partition, 0, timestampOf(batch, task))
    batch.outputs.setKey(row, batch.outputs.arena.append(key), key.length)
    batch.turn.records++
    return row
  }

  /**
   * Notes the partitions that will have a lineage record in the batch, which the checkpoint can stand on: those with
   * records, and those that wait for a turn. Returns the tasks of the latter.
   */
  #prepareParts({ records, partitions }: Batch, nowMs: number): Task[] {
    partitions.clear()
    for (let row = 0; row < records.count; row++) partitions.add(records.partition[row]!)
    const waiting = this.#stage.tasks.flatMap((task) => (task && !partitions.has(task.partition) && this.#waitsFor(task, nowMs) ? task : []))
    for (const { partition } of waiting) partitions.add(partition)
    return waiting
  }

  #waitsFor(task: Task, nowMs: number): boolean {
    if (!task.isReady) return false
    return (task.dirty.length > 0 && (task.hurries || nowMs - task.lastTurnMs >= this.#intervalMs)) || this.#stage.turns?.owes(task) === true
  }
}

/** Outputs carry the time of their input; a batch without records that of the newest event. */
function timestampOf({ records }: Batch, task: Task): number {
  return records.count > 0 ? records.timestamp[0]! : task.streamTimeMs
}

/** False for a slot that an earlier task of the partition has abandoned. */
function isOf({ index }: Task, { slots }: EntityStore, slot: number): boolean {
  const key = slots.keyOf(slot)
  return index.find(key, 0, key.length, slots.hashOf(slot)) === slot
}

function hasRoom(batch: Batch): boolean {
  return batch.checkpointed.length + batch.swept.length + batch.tombstoned.length < checkpointRowsMax
}
