import { decodeLineage, type LineageRecord } from '../codec/lineage-codec.js'
import type { RegistryClient } from '../codec/registry-client.js'
import { schemaIdOf } from '../codec/registry-prefix.js'
import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { RangeReader } from '../consumer/range-reader.js'
import { hashKey } from '../entity/key-index.js'
import type { Batch } from './batch.js'
import type { TopologyNames } from './names.js'
import { readSlotRecord } from './slot-record.js'
import type { Stage } from './stage.js'
import type { Task } from './task.js'

export interface RestoreLimits {
  /** How long the end of the lineage topic and the group's committed offset may differ before it is an error. */
  readonly agreeMsMax: number
  readonly agreeRetryMs: number
  readonly progressIntervalMs: number
}

export const restoreLimits: RestoreLimits = { agreeMsMax: 30_000, agreeRetryMs: 200, progressIntervalMs: 2000 }

export interface TaskRestorerOptions {
  readonly reader: Pick<RangeReader, 'readRange' | 'lastRecords'>
  readonly names: TopologyNames
  readonly registry: Pick<RegistryClient, 'schemaById'>
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: RestoreLimits
  /** Whose transactional id this process has, and how another's is found dead and freed; absent without a broker. */
  readonly predecessors?: Predecessors
}

/** Dead owners of partitions that come to this process: their open transactions hold back what can be read. */
export interface Predecessors {
  readonly ownTransactionalId: string
  /** Whether a live member of the group writes under this transactional id. */
  isAlive(transactionalId: string): Promise<boolean>
  /** Ends the open transaction of a dead one, at once instead of at its time-out. */
  free(transactionalId: string): Promise<void>
}

/** What the log says about a task: its last batch, and the batches that are not wholly on the changelog. */
interface Journal {
  readonly last: LineageRecord
  /** From the oldest dirty sequence to the last, oldest first. */
  readonly tail: readonly LineageRecord[]
}

export interface RestoreResult {
  /** Input records that were folded again. */
  readonly records: number
  /** Entities that came from the changelog. */
  readonly entities: number
}

/**
 * Rebuilds the state of a task from the log (docs/architecture.md, "Restore"): the last lineage record, then the
 * newest changelog record of each entity, then the input ranges of the batches since the oldest dirty sequence, folded
 * again with outputs suppressed and skipping, for each entity, the batches that its record reflects.
 */
export class TaskRestorer {
  readonly #options: TaskRestorerOptions
  #batches: [Batch, Batch] | undefined

  constructor(options: TaskRestorerOptions) {
    this.#options = options
  }

  /**
   * Leaves the task where its last committed batch left it. `committed` is the group's stable committed offset, null
   * if there is none. Errors: RESTORE_IMPOSSIBLE, LAYOUT_CHANGED. When `cancelled` turns true the state is of no use.
   */
  async restore(stage: Stage, task: Task, committed: number | null, cancelled: () => boolean): Promise<RestoreResult> {
    const journal = await this.#agreedJournal(task, committed)
    if (!journal) return { records: 0, entities: 0 }
    const { last } = journal
    if (last.digests.layout !== stage.topology.digests.layout) {
      throw new HarrierError('LAYOUT_CHANGED', `task ${task.name}: windows, features or limits of the state differ from those of its log (layout ${last.digests.layout.slice(0, 12)}, now ${stage.topology.digests.layout.slice(0, 12)})`)
    }
    const entities = await this.#readChangelog(stage, task, last, cancelled)
    const records = await this.#fold(stage, task, journal, cancelled)
    if (!cancelled() && task.streamTimeMs !== last.stream_time_after) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: folding its log again ended at stream time ${task.streamTimeMs}, its lineage says ${last.stream_time_after}`, { remedy: missingInputRemedy })
    }
    task.nextSequence = last.sequence + 1
    task.position = last.inputs[0]!.to
    return { records, entities }
  }

  /** Ends the open transaction of the task's last owner, if that has left the group. Before the committed offset is asked for. */
  async freePredecessor(task: Task): Promise<void> {
    const { predecessors, logger } = this.#options
    if (!predecessors) return
    try {
      await this.#freeDead(task, predecessors)
    } catch (error) {
      // Best effort: an open transaction ends at its time-out, and the committed offset is waited for.
      logger.log('warn', 'a predecessor could not be looked after', { task: task.name, cause: messageOf(error) })
    }
  }

  async #freeDead(task: Task, predecessors: Predecessors): Promise<void> {
    const { logger } = this.#options
    const [last] = await this.#lineage(task, 1)
    const id = last?.transactional_id
    if (id === undefined || id === predecessors.ownTransactionalId || (await predecessors.isAlive(id))) return
    await predecessors.free(id)
    logger.log('info', 'the transactional id of a dead predecessor was freed', { task: task.name, transactionalId: id })
  }

  /** The journal, once its end and the committed offset agree: a commit makes both visible, but not at one instant. */
  async #agreedJournal(task: Task, committed: number | null): Promise<Journal | undefined> {
    const { clock, names } = this.#options
    const limits = this.#options.limits ?? restoreLimits
    const deadlineMs = clock.monotonicMs() + limits.agreeMsMax
    for (;;) {
      const [last] = await this.#lineage(task, 1)
      const end = last?.inputs[0]!.to ?? null
      if (end === committed) return last && this.#journal(task, last)
      if (clock.monotonicMs() > deadlineMs) {
        throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: group ${names.group} has committed offset ${committed ?? 'none'}, but ${names.lineage} ends at ${end ?? 'none'}`, {
          remedy: 'somebody reset the offsets or deleted lineage records: reset both, or run under another name or namespace',
        })
      }
      await clock.sleep(limits.agreeRetryMs)
    }
  }

  async #journal(task: Task, last: LineageRecord): Promise<Journal> {
    const count = last.sequence + 1 - last.oldest_dirty
    const tail = count === 0 ? [] : await this.#lineage(task, count)
    let expected = last.oldest_dirty
    for (const [index, record] of tail.entries()) {
      const gap = index > 0 && record.inputs[0]!.from !== tail[index - 1]!.inputs[0]!.to
      if (record.sequence !== expected++ || gap) {
        throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: its lineage has batch ${record.sequence} from offset ${record.inputs[0]!.from} where batch ${expected - 1} should follow`, { remedy: lineageRemedy })
      }
    }
    if (tail.length !== count) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: ${count} lineage records since batch ${last.oldest_dirty} are needed, ${tail.length} are there`, { remedy: lineageRemedy })
    }
    return { last, tail }
  }

  /** The last lineage records of a task, oldest first. */
  async #lineage(task: Task, count: number): Promise<LineageRecord[]> {
    const { reader, names, registry } = this.#options
    const key = Buffer.from(task.name)
    const columns = await reader.lastRecords(names.lineage, task.partition, { count, accept: (records, row) => records.value(row) !== null && key.equals(records.key(row) ?? Buffer.alloc(0)) })
    const records: LineageRecord[] = []
    for (let row = 0; row < columns.count; row++) {
      const value = columns.value(row)!
      const id = schemaIdOf(value)
      records.push(decodeLineage(value, id === undefined ? undefined : await registry.schemaById(id)))
    }
    return records
  }

  /** Later records of an entity replace earlier ones. Returns how many entities there are. */
  async #readChangelog(stage: Stage, task: Task, last: LineageRecord, cancelled: () => boolean): Promise<number> {
    const { reader, names } = this.#options
    const { store } = stage
    const { slots } = store
    const progress = this.#progress(task, 'changelog')
    const stopper = new AbortController()
    const state = { store, memory: stage.scorer.memory }
    const take = (columns: RecordColumns): void => {
      if (cancelled()) return stopper.abort()
      for (let row = 0; row < columns.count; row++) {
        const value = columns.value(row)
        const keyBytes = columns.keyBytes[row]!
        if (!value || keyBytes <= 0) continue
        const { bytes } = columns.arena
        const keyAt = columns.keyAt[row]!
        const hash = hashKey(bytes, keyAt, keyBytes)
        let slot = task.index.find(bytes, keyAt, keyBytes, hash)
        if (slot < 0) {
          slot = slots.allocate()
          slots.setKey(slot, bytes, keyAt, keyBytes, hash)
          store.setOwner(slot, task.partition)
          task.index.add(slot)
        }
        const { asOf } = readSlotRecord(value, state, slot, `${names.state}/${task.partition} offset ${columns.offset[row]}`)
        if (asOf > last.sequence) {
          throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: a changelog record reflects batch ${asOf}, but the lineage ends with batch ${last.sequence}`, { remedy: lineageRemedy })
        }
      }
    }
    // Settled: the markers of one transaction reach its partitions one by one, so the lineage may be visible before this.
    await reader.readRange({ topic: names.state, partition: task.partition, from: 'earliest', to: 'settled-end' }, take, {
      signal: stopper.signal,
      onProgress: ({ position, to, records }) => progress(records, position, to, task.index.size),
    })
    return task.index.size
  }

  async #fold(stage: Stage, task: Task, { tail, last }: Journal, cancelled: () => boolean): Promise<number> {
    const { reader, names } = this.#options
    const first = tail[0]
    task.streamTimeMs = first ? first.stream_time_before : last.stream_time_after
    if (!first) return 0
    const references = stage.scorer.models.map((model) => model.reference)
    const skips = tail.map(({ models }) => models.filter((model) => model.failure !== null).map((model) => references.indexOf(model.model)).filter((index) => index >= 0))
    const progress = this.#progress(task, 'input')
    const from = first.inputs[0]!.from
    const to = last.inputs[0]!.to
    // Two batches take turns: one is folded while the other is scored.
    let [batch, other] = (this.#batches ??= [stage.makeBatch({ restoring: true }), stage.makeBatch({ restoring: true })])
    let otherScored: Promise<void> = Promise.resolve()
    let at = 0
    let folded = 0
    let scored = 0
    const flush = async (): Promise<void> => {
      if (batch.records.count === 0) return
      const loading = stage.decoder.prepare(batch.records)
      if (loading) await loading
      stage.fold(batch)
      folded += batch.records.count
      scored += batch.parts[0]!.scored
      const skip = skips[at]!
      const done = stage.score(batch, { stateOnly: true, skip }).then(() => failedAnew(task, batch, skip))
      done.catch(() => undefined)
      await otherScored
      stage.finishRestored(other)
      other.reset()
      otherScored = done
      ;[batch, other] = [other, batch]
    }
    const take = async (columns: RecordColumns): Promise<void> => {
      for (let row = 0; row < columns.count && !cancelled(); row++) {
        const offset = columns.offset[row]!
        let next = at
        while (offset >= tail[next]!.inputs[0]!.to) next++
        // Batches that were folded under the same conditions are folded as one.
        const sameSkip = skips[next]!.length === 0 && skips[at]!.length === 0
        if ((next !== at && !sameSkip) || batch.records.count === batch.records.recordsMax || batch.records.arena.used > batch.records.arena.bytesMax / 4) await flush()
        at = next
        batch.sequences![batch.records.copyRow(columns, row)] = tail[at]!.sequence
      }
    }
    batch.reset()
    other.reset()
    const stopper = new AbortController()
    try {
      await reader.readRange(
        { topic: names.input, partition: task.partition, from, to },
        (columns) => {
          if (cancelled()) return stopper.abort()
          return take(columns)
        },
        { signal: stopper.signal, onProgress: ({ position, records }) => progress(records, position - from, to - from, task.index.size) },
      )
      if (!cancelled()) await flush()
    } finally {
      await otherScored
      stage.finishRestored(other)
    }
    if (cancelled()) return folded
    const expected = tail.reduce((sum, record) => sum + record.counts.scored, 0)
    if (scored !== expected) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: folding its log again gave ${scored} scored events, its lineage says ${expected}`, { remedy: missingInputRemedy })
    }
    return folded
  }

  /** Tells now and then how far a restore has come. */
  #progress(task: Task, what: string): (records: number, done: number, of: number, entities: number) => void {
    const { clock, logger } = this.#options
    const { progressIntervalMs } = this.#options.limits ?? restoreLimits
    const startedMs = clock.monotonicMs()
    let reportAtMs = startedMs + progressIntervalMs
    return (records, done, of, entities) => {
      const nowMs = clock.monotonicMs()
      if (nowMs < reportAtMs || done === 0) return
      reportAtMs = nowMs + progressIntervalMs
      const secondsLeft = Math.round(((nowMs - startedMs) / done) * (of - done)) / 1000
      logger.log('info', `restoring from the ${what}`, { task: task.name, records, entities, secondsLeft })
    }
  }
}

/** A model that fails while state is restored would leave another state than the one that was live. */
function failedAnew(task: Task, batch: Batch, skip: readonly number[]): void {
  const failure = batch.frame?.failures.find(({ model }) => !skip.includes(model))
  if (failure) throw new HarrierError('MODEL_FAILED', `task ${task.name}: while its state was restored a model failed that had not failed before: ${failure.message}`, { remedy: 'start again; if it stays, look at the model' })
}

const lineageRemedy = 'the lineage topic must keep all its records: set its retention.ms to -1; or start a new state generation'
const missingInputRemedy = 'records of the input are missing (retention, compaction or deleted records), or their schemas are: restore them, or start a new state generation'
