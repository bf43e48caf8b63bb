import { decodeLineage, type LineageRecord } from '../codec/lineage-codec.js'
import type { RegistryClient } from '../codec/registry-client.js'
import { schemaIdOf } from '../codec/registry-prefix.js'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { RangeReader } from '../consumer/range-reader.js'
import type { Batch } from './batch.js'
import type { TopologyNames } from './names.js'
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
  readonly reader: Pick<RangeReader, 'readRange'>
  readonly names: TopologyNames
  readonly registry: Pick<RegistryClient, 'schemaById'>
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: RestoreLimits
}

/** Batches that may be folded together: their models failed alike. */
interface Segment {
  readonly sequence: number
  readonly from: number
  to: number
  /** Models that gave no scores, by index in the scorer. */
  readonly skip: readonly number[]
}

interface Journal {
  readonly segments: Segment[]
  last: LineageRecord | undefined
  scored: number
}

/**
 * Rebuilds the state of a task from the log: the lineage topic is the journal of what was folded, and the input is
 * folded again over the same ranges, with outputs suppressed.
 */
export class TaskRestorer {
  readonly #options: TaskRestorerOptions
  #batch: Batch | undefined

  constructor(options: TaskRestorerOptions) {
    this.#options = options
  }

  /**
   * Leaves the task where its last committed batch left it. `committed` is the group's stable committed offset, null
   * if there is none. Errors: RESTORE_IMPOSSIBLE, LAYOUT_CHANGED. When `cancelled` turns true the state is of no use.
   */
  async restore(stage: Stage, task: Task, committed: number | null, cancelled: () => boolean): Promise<{ records: number }> {
    const journal = await this.#agreedJournal(task, committed, stage)
    const { last } = journal
    if (!last) return { records: 0 }
    if (last.digests.layout !== stage.topology.digests.layout) {
      throw new HarrierError('LAYOUT_CHANGED', `task ${task.name}: windows, features or limits of the state differ from those of its log (layout ${last.digests.layout.slice(0, 12)}, now ${stage.topology.digests.layout.slice(0, 12)})`)
    }
    const scored = await this.#fold(stage, task, journal, cancelled)
    if (cancelled()) return { records: scored }
    if (scored !== journal.scored || task.streamTimeMs !== last.stream_time_after) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: folding its log again gave ${scored} scored events up to stream time ${task.streamTimeMs}, its lineage says ${journal.scored} up to ${last.stream_time_after}`, {
        remedy: 'records of the input are missing (retention, compaction or deleted records), or their schemas are: restore them, or start a new state generation',
      })
    }
    task.nextSequence = last.sequence + 1
    task.position = last.inputs[0]!.to
    return { records: scored }
  }

  /** The journal, once its end and the committed offset agree: a commit makes both visible, but not at one instant. */
  async #agreedJournal(task: Task, committed: number | null, stage: Stage): Promise<Journal> {
    const { clock, names } = this.#options
    const limits = this.#options.limits ?? restoreLimits
    const deadlineMs = clock.monotonicMs() + limits.agreeMsMax
    for (;;) {
      const journal = await this.#readJournal(task, stage)
      const end = journal.last?.inputs[0]!.to ?? null
      if (end === committed) return journal
      if (clock.monotonicMs() > deadlineMs) {
        throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: group ${names.group} has committed offset ${committed ?? 'none'}, but ${names.lineage} ends at ${end ?? 'none'}`, {
          remedy: 'somebody reset the offsets or deleted lineage records: reset both, or run under another name or namespace',
        })
      }
      await clock.sleep(limits.agreeRetryMs)
    }
  }

  async #readJournal(task: Task, stage: Stage): Promise<Journal> {
    const { reader, names, registry } = this.#options
    const journal: Journal = { segments: [], last: undefined, scored: 0 }
    const references = stage.scorer.models.map((model) => model.reference)
    await reader.readRange({ topic: names.lineage, partition: task.partition, from: 'earliest', to: 'stable-end' }, async (columns) => {
      for (let row = 0; row < columns.count; row++) {
        const value = columns.value(row)
        if (!value || Buffer.from(columns.key(row) ?? []).toString() !== task.name) continue
        const id = schemaIdOf(value)
        const record = decodeLineage(value, id === undefined ? undefined : await registry.schemaById(id))
        addToJournal(journal, record, references)
      }
    })
    return journal
  }

  async #fold(stage: Stage, task: Task, { segments, last }: Journal, cancelled: () => boolean): Promise<number> {
    const { reader, names, clock, logger } = this.#options
    const limits = this.#options.limits ?? restoreLimits
    const batch = (this.#batch ??= stage.makeBatch())
    const from = segments[0]!.from
    const to = last!.inputs[0]!.to
    let segment = 0
    let scored = 0
    let reportAtMs = clock.monotonicMs() + limits.progressIntervalMs
    const startedMs = clock.monotonicMs()

    const flush = async (): Promise<void> => {
      if (batch.records.count === 0) return
      const loading = stage.decoder.prepare(batch.records)
      if (loading) await loading
      task.nextSequence = segments[segment]!.sequence
      stage.fold(batch, { undo: false })
      await stage.scorer.score(batch.frame!, { stateOnly: true, skip: segments[segment]!.skip })
      scored += batch.frame!.count
      stage.finishRestored(batch)
      batch.reset()
    }
    const take = async (columns: RecordColumns): Promise<void> => {
      for (let row = 0; row < columns.count && !cancelled(); row++) {
        const inNext = columns.offset[row]! >= segments[segment]!.to
        if (inNext || batch.records.count === batch.records.recordsMax) await flush()
        while (columns.offset[row]! >= segments[segment]!.to) segment++
        batch.records.copyRow(columns, row)
      }
      const nowMs = clock.monotonicMs()
      if (nowMs < reportAtMs || columns.count === 0) return
      reportAtMs = nowMs + limits.progressIntervalMs
      const done = columns.offset[columns.count - 1]! + 1 - from
      const secondsLeft = Math.round(((nowMs - startedMs) / done) * (to - from - done)) / 1000
      logger.log('info', 'restoring', { task: task.name, records: done, of: to - from, entities: task.index.size, secondsLeft })
    }
    batch.reset()
    const stopper = new AbortController()
    await reader.readRange({ topic: names.input, partition: task.partition, from, to }, async (columns) => {
      if (cancelled()) return stopper.abort()
      await take(columns)
    }, { signal: stopper.signal })
    if (!cancelled()) await flush()
    return scored
  }
}

/** Appends a record to the journal; one segment for neighbours that were folded under the same conditions. */
function addToJournal(journal: Journal, record: LineageRecord, references: readonly string[]): void {
  const range = record.inputs[0]!
  const before = journal.last
  if (before && (record.sequence !== before.sequence + 1 || range.from !== before.inputs[0]!.to)) {
    throw new HarrierError('RESTORE_IMPOSSIBLE', `${record.task}: after batch ${before.sequence} up to offset ${before.inputs[0]!.to} the lineage has batch ${record.sequence} from ${range.from}`)
  }
  if (!before && record.sequence !== 0) {
    throw new HarrierError('RESTORE_IMPOSSIBLE', `${record.task}: its lineage begins with batch ${record.sequence}; the batches before it are gone`, {
      remedy: 'the lineage topic must keep all its records: set its retention.ms to -1',
    })
  }
  const skip = record.models.filter((model) => model.failure !== null).map((model) => references.indexOf(model.model)).filter((index) => index >= 0)
  const newest = journal.segments.at(-1)
  if (newest && newest.skip.length === 0 && skip.length === 0) newest.to = range.to
  else journal.segments.push({ sequence: record.sequence, from: range.from, to: range.to, skip })
  journal.last = record
  journal.scored += record.counts.scored
}
