import type { RecordColumns } from '../base/record-columns.js'
import type { RangeProgress, RangeReader } from '../consumer/range-reader.js'
import { hashKey } from '../entity/key-index.js'
import type { TopologyNames } from './names.js'
import { readSlotRecord } from './slot-record.js'
import type { Stage } from './stage.js'
import type { Task } from './task.js'

export interface ChangelogOptions {
  readonly reader: Pick<RangeReader, 'readRange'>
  readonly names: TopologyNames
}

export interface ChangelogReadOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: RangeProgress) => void
}

/**
 * Takes a task's changelog into its slots, from where the task's last read of it ended: the first part of a restore, and
 * all that a standby does. Later records of an entity replace earlier ones; a null frees its slot.
 */
export class Changelog {
  readonly #options: ChangelogOptions

  constructor(options: ChangelogOptions) {
    this.#options = options
  }

  /**
   * Reads to the committed end, or waits for what is being committed there (`settled-end`: the markers of one transaction
   * reach its partitions one by one). Errors: RESTORE_IMPOSSIBLE (damaged, or it does not reach back), LAYOUT_CHANGED.
   */
  async read(stage: Stage, task: Task, to: 'stable-end' | 'settled-end', options: ChangelogReadOptions = {}): Promise<void> {
    const { reader, names } = this.#options
    const { changelog } = task
    const from = changelog.position < 0 ? 'earliest' : changelog.position
    const { position } = await reader.readRange(
      { topic: names.state, partition: task.partition, from, to },
      (columns) => {
        if (options.signal?.aborted === true) return
        this.#take(stage, task, columns)
      },
      options,
    )
    if (options.signal?.aborted !== true) changelog.position = position
  }

  #take(stage: Stage, task: Task, columns: RecordColumns): void {
    const { store } = stage
    const { slots } = store
    const state = { store, memory: stage.scorer.memory }
    for (let row = 0; row < columns.count; row++) {
      const keyBytes = columns.keyBytes[row]!
      if (keyBytes <= 0) continue
      const value = columns.value(row)
      const { bytes } = columns.arena
      const keyAt = columns.keyAt[row]!
      const hash = hashKey(bytes, keyAt, keyBytes)
      let slot = task.index.find(bytes, keyAt, keyBytes, hash)
      if (!value) {
        if (slot < 0) continue
        task.index.remove(slot)
        store.release(slot)
        continue
      }
      if (slot < 0) {
        slot = store.allocate()
        slots.setKey(slot, bytes, keyAt, keyBytes, hash)
        store.setOwner(slot, task.partition)
        task.index.add(slot)
      }
      const { asOf } = readSlotRecord(value, state, slot, () => `${this.#options.names.state}/${task.partition} offset ${columns.offset[row]}`)
      if (asOf > task.changelog.newestAsOf) task.changelog.newestAsOf = asOf
    }
  }
}
