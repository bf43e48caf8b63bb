import type { Clock } from '../base/clock.js'
import { assert } from '../base/assert.js'
import type { RecordColumns } from '../base/record-columns.js'
import { HarrierError } from '../base/errors.js'
import type { RangeReader } from '../consumer/range-reader.js'
import type { TransactionalProducer } from '../producer/transactional-producer.js'
import type { Batch } from './batch.js'
import type { TopologyNames } from './names.js'
import type { Outputs } from './outputs.js'
import type { TaskRestorer } from './restore.js'
import { labelsToOf, lastOfOtherGenerations, type LineageSource } from './task-lineage.js'
import { takeLabels } from './label-reader.js'
import type { Stage } from './stage.js'
import type { Task } from './task.js'

export interface RebuildProgress {
  readonly partition: number
  /** Records folded of those that were there when the partition was begun. */
  readonly done: number
  readonly of: number
  readonly entities: number
}

export interface RebuildOptions {
  readonly stage: Stage
  readonly outputs: Outputs
  readonly names: TopologyNames
  readonly producer: TransactionalProducer
  readonly restorer: TaskRestorer
  readonly reader: RangeReader
  readonly lineage: LineageSource
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly onProgress: (progress: RebuildProgress) => void
}

export interface RebuiltPartition {
  readonly partition: number
  /** Input offsets that were folded: [from, to). */
  readonly from: number
  readonly to: number
  readonly records: number
  readonly entities: number
}

/** Labels that are read in one go. */
const labelsAtOnce = 10_000

/**
 * Folds the state of a new generation from the input, beside the engine that scores with the old one: changelog and
 * lineage records, and nothing else. It never goes beyond what that engine has scored, so it can run at any time and as
 * often as one likes, each time from where it ended; the engine that starts with the new topology folds what is left.
 */
export class Rebuild {
  readonly #options: RebuildOptions
  readonly #batch: Batch
  /** Labels before this offset have come into effect in the other generation; -1: none. */
  #labelsTo = -1

  constructor(options: RebuildOptions) {
    this.#options = options
    this.#batch = options.stage.makeBatch()
  }

  /** One partition after the other: memory holds the entities of one. Null for a partition of which nothing was scored yet. */
  async partition(partition: number): Promise<RebuiltPartition | null> {
    const { stage, restorer, lineage, reader, names, signal } = this.#options
    const task = stage.addTask(partition)
    try {
      const other = await lastOfOtherGenerations(lineage, task, signal)
      const restored = await restorer.restoreOwnLog(stage, task, signal)
      if (!other) return null
      if (task.position < 0) task.position = (await reader.watermarks(names.input, partition)).low
      const from = task.position
      const to = other.inputs[0]!.to
      this.#labelsTo = labelsToOf(other)
      // Days that the other has not turned are for the engine to score.
      this.#batch.sweepTo = other.turns_after
      const records = await this.#fold(task, from, to)
      await this.#writeAll(task)
      return { partition, from, to: Math.max(from, to), records: records + restored.records, entities: task.index.size }
    } finally {
      stage.dropTask(partition)
    }
  }

  async #fold(task: Task, from: number, to: number): Promise<number> {
    if (from >= to) return 0
    const { reader, names, signal, onProgress } = this.#options
    const batch = this.#batch
    let records = 0
    batch.reset()
    const take = async (columns: RecordColumns): Promise<void> => {
      for (let row = 0; row < columns.count && !signal.aborted; row++) {
        if (batch.records.count === batch.recordsMax || batch.records.arena.used > batch.records.arena.bytesMax / 4) await this.#commit(task)
        batch.records.copyRow(columns, row)
        records++
      }
    }
    await reader.readRange({ topic: names.input, partition: task.partition, from, to }, take, {
      signal,
      onProgress: ({ position }) => onProgress({ partition: task.partition, done: position - from, of: to - from, entities: task.index.size }),
    })
    signal.throwIfAborted()
    if (batch.records.count > 0) await this.#commit(task)
    // Where the last offsets of the range hold no record (markers, compaction), the task stands behind them all the same.
    assert(task.position <= to, 'a rebuild ends where the other generation has scored to')
    return records
  }

  /** Everything dirty goes on the changelog, so that a take-over has nothing to fold twice. */
  async #writeAll(task: Task): Promise<void> {
    while (task.dirty.length > 0) {
      this.#options.signal.throwIfAborted()
      task.hurries = true
      this.#batch.reset()
      await this.#commit(task)
    }
  }

  /** A transaction of changelog and lineage records: the batch cycle without scores. */
  async #commit(task: Task): Promise<void> {
    const { stage, outputs, producer, names, clock, signal } = this.#options
    const batch = this.#batch
    const loading = stage.decoder.prepare(batch.records, 0, signal)
    if (loading) await loading
    await this.#readLabels(task)
    stage.checkpointer.turn(batch, clock.monotonicMs())
    stage.fold(batch)
    await stage.score(batch, { stateOnly: true })
    const failure = batch.frame?.failures[0]
    if (failure) throw new HarrierError('MODEL_FAILED', `a model failed while state was rebuilt: ${failure.message}`, { remedy: 'look at the model; then rebuild again: it goes on from here' })
    outputs.encodeSilently(batch)
    await producer.begin()
    await producer.send(batch.outputs, names.sinks)
    await producer.commit()
    stage.commit(batch)
    batch.reset()
  }

  /** Labels that are known by the end of the batch, of those that are in effect in the other generation. */
  async #readLabels(task: Task): Promise<void> {
    const { stage, reader, names, signal } = this.#options
    const queue = task.labels
    if (!queue) return
    stage.decode(this.#batch)
    const newestMs = stage.newestTimes(this.#batch).get(task)
    while (newestMs !== undefined && queue.newestMs <= newestMs) {
      const low = queue.readTo < 0 ? (await reader.watermarks(names.labels!, task.partition)).low : queue.readTo
      if (low >= this.#labelsTo) return
      const to = Math.min(low + labelsAtOnce, this.#labelsTo)
      await reader.readRange({ topic: names.labels!, partition: task.partition, from: low, to }, (columns) => takeLabels(stage, queue, columns, signal), { signal })
      signal.throwIfAborted()
      // Where the range ended with no label, the way goes on behind it.
      queue.readTo = to
    }
  }
}
