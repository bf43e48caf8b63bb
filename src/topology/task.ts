import { KeyIndex } from '../entity/key-index.js'
import { SlotQueue } from '../entity/growable.js'
import type { EntityStore } from '../entity/entity-store.js'

/**
 * One stage on one partition: the unit of state, order, lineage and restore. Its scalars are what lineage records
 * before and after each batch; its entities live in the stage's store, under an index of its own.
 */
export class Task {
  readonly partition: number
  /** topology/stage/partition */
  readonly name: string
  readonly index: KeyIndex
  /** Slots whose change is not on the changelog, oldest first. */
  readonly dirty = new SlotQueue()
  /** Sequence of the next batch. */
  nextSequence = 0
  /** Next input offset to fold; -1 until the first record of a partition without history. */
  position = -1
  /** Highest event time seen, ms since 1970; 0 before the first. */
  streamTimeMs = 0

  constructor(name: string, partition: number, store: EntityStore) {
    this.name = name
    this.partition = partition
    this.index = new KeyIndex(store.slots)
  }
}

/** What one batch did to one task: the material of its lineage record, and of an undo. */
export interface TaskPart {
  readonly task: Task
  readonly sequence: number
  /** Offsets [from, to) of the input. */
  readonly from: number
  to: number
  readonly positionBefore: number
  readonly streamTimeBefore: number
  streamTimeAfter: number
  records: number
  scored: number
  alerts: number
  deadLetters: number
  late: number
  fallbacks: number
  /** First and last row of the part; `Batch.nextRow` links them. */
  firstRow: number
  lastRow: number
  dirtied: number
  /** Sequence of the oldest change that is on no changelog when this batch has committed. */
  oldestDirty: number
}
