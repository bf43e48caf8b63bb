import { Fault } from '../codec/decode-fault.js'
import type { EventColumns } from '../codec/event-columns.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { EntityStore } from '../entity/entity-store.js'
import { hashId } from '../entity/id-hash.js'
import { hashKey } from '../entity/key-index.js'
import type { Batch } from './batch.js'
import type { DayTurns } from './day-turns.js'
import type { Task, TaskPart } from './task.js'

/** Columns of labels, by number; -1: they do not give it. */
export interface LabelColumns {
  readonly id: number
  readonly isFraud: number
  readonly key: number
}

/** Takes labels into entities: the part of a fold that is about what earlier events turned out to be. */
export class LabelFold {
  readonly #store: EntityStore
  readonly #columns: LabelColumns
  readonly #turns: DayTurns | null

  constructor(store: EntityStore, columns: LabelColumns, turns: DayTurns | null) {
    this.#store = store
    this.#columns = columns
    this.#turns = turns
  }

  /** Labels that are known by the stream time of this row's event come into effect before it. */
  foldDue(batch: Batch, task: Task, part: TaskPart, row: number, sequence: number): void {
    const queue = task.labels!
    const to = batch.labelsTo ? batch.labelsTo[row]! : Infinity
    batch.labelStart[row] = batch.labels.length
    while (queue.dueMs <= task.streamTimeMs && queue.headOffset < to) {
      const { headChunk: chunk, headRow } = queue
      if (chunk.labels.fault[headRow] === Fault.none) this.#fold(batch, task, part, sequence, chunk.records, chunk.labels, headRow, row)
      else part.deadLetters++
      batch.labels.push({ chunk, row: headRow, streamTimeMs: task.streamTimeMs })
      queue.shift()
    }
    batch.labelCount[row] = batch.labels.length - batch.labelStart[row]!
    part.labelsTo = queue.position
  }

  /** A label from the stage before, which has waited for its time already. */
  foldForwarded(batch: Batch, task: Task, part: TaskPart, row: number, sequence: number): void {
    this.#fold(batch, task, part, sequence, batch.records, batch.events, row, row)
  }

  /** `row`: of the label; `at`: of the batch. */
  #fold(batch: Batch, task: Task, part: TaskPart, sequence: number, records: RecordColumns, labels: EventColumns, row: number, at: number): void {
    const { id, isFraud, key } = this.#columns
    const { bytes } = records.arena
    const store = this.#store
    // No feature of this stage looks at labels: they only pass through.
    if (!store.log.hasLabels) return
    const keyAt = labels.textAt[key]![row]!
    const keyBytes = labels.textBytes[key]![row]!
    const slot = keyBytes > 0 ? task.index.find(bytes, keyAt, keyBytes, hashKey(bytes, keyAt, keyBytes)) : -1
    if (batch.sequences && slot > 0 && sequence <= store.asOf(slot)) return
    if (slot > 0) this.#turns?.turnDue(batch, task, part, slot, at, sequence)
    const counts = part.labels
    if (slot <= 0 || store.isFresh(slot, task.streamTimeMs)) {
      counts.unknown++
      return
    }
    const idHash = hashId(bytes, labels.textAt[id]![row]!, labels.textBytes[id]![row]!)
    const outcome = store.label(slot, idHash, labels.numbers[isFraud]![row] === 1, batch.sequences ? null : batch.undo)
    if (outcome === 'unknown') counts.unknown++
    else if (outcome === 'repeated') counts.repeated++
    else {
      if (outcome === 'conflict') counts.conflicting++
      counts.applied++
      task.markChanged(part, slot, sequence, batch.sequences !== null)
    }
  }
}
