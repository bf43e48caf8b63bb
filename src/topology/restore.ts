import type { LineageRecord } from '../codec/lineage-codec.js'
import type { RegistryClient } from '../codec/registry-client.js'
import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { RangeReader } from '../consumer/range-reader.js'
import type { TokenKeyName } from '../privacy/tokeniser.js'
import type { Batch } from './batch.js'
import { Changelog } from './changelog.js'
import { areAlike, foldedRange, noIds, type FoldedRange } from './folded-range.js'
import { takeLabels } from './label-reader.js'
import type { TopologyNames } from './names.js'
import { checkTokensJoin } from './output-privacy.js'
import type { Stage } from './stage.js'
import { labelsFromOf, labelsToOf, lastOfOtherGenerations, lineageOf } from './task-lineage.js'
import { emptyPart, type Task, type TaskPart } from './task.js'

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
  /** Fulfilled when the models of a release are in force here, or cannot be; absent where none is followed. */
  readonly reached?: ((release: number, signal: AbortSignal) => Promise<void>) | undefined
  /** Keys of tokens in the outputs that will follow; absent: none will, or nobody need join them. */
  readonly tokens?: readonly TokenKeyName[] | undefined
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

/** Where a task's log ends. */
interface End {
  readonly last: LineageRecord
  /** Next offset to score. It lies past the log's end where another state generation has scored on. */
  readonly position: number
  /** Labels before this offset had come into effect then; -1: none. */
  readonly labelsTo: number
  /** How far days had been turned then; see `Task.turnPosition`. */
  readonly turnsTo: number
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
  readonly #changelog: Changelog
  #batches: [Batch, Batch] | undefined

  constructor(options: TaskRestorerOptions) {
    this.#options = options
    this.#changelog = new Changelog(options)
  }

  /**
   * Leaves the task where its last committed batch left it. `committed` is the group's stable committed offset, null
   * if there is none. The task may hold part of its changelog already (a standby's). Errors: RESTORE_IMPOSSIBLE,
   * LAYOUT_CHANGED, whatever `signal` was fired with: then the state is of no use.
   */
  async restore(stage: Stage, task: Task, committed: number | null, signal: AbortSignal): Promise<RestoreResult> {
    return this.#restoreTo(stage, task, await this.#agreedEnd(task, committed, signal), signal)
  }

  /** As `restore`, to where the task's own log ends, whatever the group has committed: a rebuild goes on from there. */
  async restoreOwnLog(stage: Stage, task: Task, signal: AbortSignal): Promise<RestoreResult> {
    const [last] = await this.#lineage(task, { count: 1, signal })
    return this.#restoreTo(stage, task, last && endOf(last), signal)
  }

  /** Without an end there is no log yet, and the task is as it should be. */
  async #restoreTo(stage: Stage, task: Task, end: End | undefined, signal: AbortSignal): Promise<RestoreResult> {
    const result = end ? await this.#replay(stage, task, end, signal) : { records: 0, entities: 0 }
    signal.throwIfAborted()
    task.isReady = true
    return result
  }

  async #replay(stage: Stage, task: Task, { last, position, labelsTo, turnsTo }: End, signal: AbortSignal): Promise<RestoreResult> {
    if (last.digests.layout !== stage.topology.digests.layout) {
      throw new HarrierError('LAYOUT_CHANGED', `task ${task.name}: windows, features or limits of the state differ from those of its log (layout ${last.digests.layout.slice(0, 12)}, now ${stage.topology.digests.layout.slice(0, 12)})`, {
        remedy: `set generation: ${stage.topology.stage.generation + 1} in stages.${stage.topology.stageName}, fold its state with \`harrier rebuild\` while the engine runs, then restart with the new topology`,
      })
    }
    checkTokensJoin(task.name, last.tokens, this.#options.tokens)
    // An owner that was quicker may have scored by a release that is still being opened here: nobody goes back before it.
    await this.#options.reached?.(last.release, signal)
    const journal = await this.#journal(task, last, signal)
    const entities = await this.#readChangelog(stage, task, last, signal)
    let records = await this.#fold(stage, task, journal, signal)
    if (task.streamTimeMs !== last.stream_time_after) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: folding its log again ended at stream time ${task.streamTimeMs}, its lineage says ${last.stream_time_after}`, { remedy: missingInputRemedy })
    }
    if (task.turnPosition !== last.turns_after) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: folding its log again turned days up to ${task.turnPosition}, its lineage says ${last.turns_after}`, { remedy: missingInputRemedy })
    }
    if (task.labels && task.labels.position !== labelsToOf(last)) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: folding its log again took labels up to offset ${task.labels.position}, its lineage says ${labelsToOf(last)}`, { remedy: missingInputRemedy })
    }
    task.nextSequence = last.sequence + 1
    task.position = last.inputs[0]!.to
    for (const { sequence, inputs } of journal.tail) task.tail.push(sequence, inputs[0]!.from)
    if (position > task.position) records += await this.#foldSilently(stage, task, { position, labelsTo, turnsTo }, signal)
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
    const [last] = await this.#lineage(task, { count: 1, settled: false })
    const id = last?.transactional_id
    if (id === undefined || id === predecessors.ownTransactionalId || (await predecessors.isAlive(id))) return
    await predecessors.free(id)
    logger.log('info', 'the transactional id of a dead predecessor was freed', { task: task.name, transactionalId: id })
  }

  /** The end of the task's log, once it agrees with the committed offset: a commit makes both visible, but not at one instant. */
  async #agreedEnd(task: Task, committed: number | null, signal: AbortSignal): Promise<End | undefined> {
    const { clock, names } = this.#options
    const limits = this.#options.limits ?? restoreLimits
    const deadlineMs = clock.monotonicMs() + limits.agreeMsMax
    for (;;) {
      const [last] = await this.#lineage(task, { count: 1, signal })
      signal.throwIfAborted()
      const to = last?.inputs[0]!.to ?? null
      if (to === committed) return last && endOf(last)
      const other = await lastOfOtherGenerations(this.#options, task, signal)
      if (other && committed !== null && other.inputs[0]!.to === committed && (to === null || to < committed)) {
        if (last) return { last, position: committed, labelsTo: labelsToOf(other), turnsTo: other.turns_after < 0 ? Infinity : other.turns_after }
        throw new HarrierError('LAYOUT_CHANGED', `task ${task.name}: this state generation has no state yet; ${other.task} has scored up to offset ${committed}`, {
          remedy: 'fold its state with `harrier rebuild` while the engine of the other generation runs, then restart with this topology',
        })
      }
      if (clock.monotonicMs() > deadlineMs) {
        throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: group ${names.group} has committed offset ${committed ?? 'none'}, but ${names.lineage} ends at ${to ?? 'none'}`, {
          remedy: 'somebody reset the offsets or deleted lineage records: reset both, or run under another name or namespace. If the cluster died in a commit: docs/operations.md, "A transaction hangs"',
        })
      }
      await clock.sleep(limits.agreeRetryMs, signal)
    }
  }

  async #journal(task: Task, last: LineageRecord, signal: AbortSignal): Promise<Journal> {
    const count = last.sequence + 1 - last.oldest_dirty
    const tail = count === 0 ? [] : await this.#lineage(task, { count, signal })
    signal.throwIfAborted()
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
  #lineage(task: Task, { count, settled = true, signal }: { count: number; settled?: boolean; signal?: AbortSignal }): Promise<LineageRecord[]> {
    return lineageOf(this.#options, task, { count, settled, signal })
  }

  /** Returns how many entities there are. */
  async #readChangelog(stage: Stage, task: Task, last: LineageRecord, signal: AbortSignal): Promise<number> {
    const progress = this.#progress(task, 'changelog')
    await this.#changelog.read(stage, task, 'settled-end', { signal, onProgress: ({ position, to, records }) => progress(records, position, to, task.index.size) })
    signal.throwIfAborted()
    if (task.changelog.newestAsOf > last.sequence) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: a changelog record reflects batch ${task.changelog.newestAsOf}, but the lineage ends with batch ${last.sequence}`, { remedy: lineageRemedy })
    }
    return task.index.size
  }

  /**
   * Another generation has scored events that this one's state does not know: they are folded as one batch without outputs.
   * Its lineage record goes with the next batch that commits; until then a restore does the same again.
   */
  async #foldSilently(stage: Stage, task: Task, { position: to, labelsTo, turnsTo }: Omit<End, 'last'>, signal: AbortSignal): Promise<number> {
    const part = emptyPart(task, { sequence: task.nextSequence, from: task.position, to })
    part.models = stage.scorer.inForce
    await this.#readLabels(stage, task, task.labels?.position ?? -1, labelsTo, signal)
    await this.#foldRange(stage, task, [{ sequence: part.sequence, from: part.from, to, labelsTo, turnsTo, skip: [], unknownIds: noIds, aheadMaxMs: stage.topology.spec.source.aheadMax }], signal, (folded) => addCounts(part, folded))
    // Those that have not come into effect are read again.
    task.labels?.reset(task.labels.position)
    part.labelsTo = task.labels?.position ?? -1
    part.streamTimeAfter = task.streamTimeMs
    part.turnsAfter = task.turnPosition
    part.oldestDirty = task.oldestDirty(part.sequence + 1)
    task.nextSequence = part.sequence + 1
    task.position = to
    task.tail.push(part.sequence, part.from)
    task.silentPart = part
    this.#options.logger.log('info', 'state of this generation caught up with what another has scored', { task: task.name, records: part.records, from: part.from, to })
    return part.records
  }

  async #fold(stage: Stage, task: Task, { tail, last }: Journal, signal: AbortSignal): Promise<number> {
    const first = tail[0]
    task.streamTimeMs = first ? first.stream_time_before : last.stream_time_after
    task.turnPosition = first ? first.turns_before : last.turns_after
    const upstream = first ? first.upstream_stream_times_before : last.upstream_stream_times_after
    if (upstream.length > 0) task.upstream?.set(upstream)
    await this.#readLabels(stage, task, labelsFromOf(first ?? last), labelsToOf(last), signal)
    if (!first) {
      task.labels?.reset(labelsToOf(last))
      return 0
    }
    const inForce = stage.scorer.models
    const ranges = tail.map((record) => foldedRange(record, inForce))
    let scored = 0
    const folded = await this.#foldRange(stage, task, ranges, signal, (part) => (scored += part.scored + part.unscored))
    // Not the days that turned: those that a changelog record reflects are not turned again.
    const expected = tail.reduce((sum, { counts }) => sum + counts.scored - counts.turned + counts.unscored, 0)
    if (scored !== expected) {
      throw new HarrierError('RESTORE_IMPOSSIBLE', `task ${task.name}: folding its log again gave ${scored} scored events, its lineage says ${expected}`, { remedy: missingInputRemedy })
    }
    return folded
  }

  /** Labels [from, to) into the task's queue; -1 stands for the beginning of the topic, or for none. */
  async #readLabels(stage: Stage, task: Task, from: number, to: number, signal: AbortSignal): Promise<void> {
    if (!task.labels) return
    task.labels.reset(from)
    if (to <= Math.max(0, from)) return
    const { reader, names } = this.#options
    await reader.readRange({ topic: names.labels!, partition: task.partition, from: from < 0 ? 'earliest' : from, to }, (columns) => takeLabels(stage, task.labels!, columns, signal), { signal })
    signal.throwIfAborted()
  }

  /** Folds ranges of the input that follow each other, without outputs. Returns the records. */
  async #foldRange(stage: Stage, task: Task, ranges: readonly FoldedRange[], signal: AbortSignal, onFolded: (part: TaskPart) => void): Promise<number> {
    const { reader, names } = this.#options
    const progress = this.#progress(task, 'input')
    const from = ranges[0]!.from
    const to = ranges.at(-1)!.to
    // Two batches take turns: one is folded while the other is scored.
    let [batch, other] = (this.#batches ??= [stage.makeBatch({ restoring: true }), stage.makeBatch({ restoring: true })])
    let otherScored: Promise<void> = Promise.resolve()
    let at = 0
    let folded = 0
    const flush = async (sweeps = false): Promise<void> => {
      if (batch.records.count === 0 && !sweeps) return
      const { skip, unknownIds, aheadMaxMs, turnsTo, sequence } = ranges[at]!
      const loading = stage.decoder.prepare(batch.records, 0, signal, unknownIds)
      if (loading) await loading
      batch.unknownIds = unknownIds
      batch.aheadMaxMs = aheadMaxMs
      // The sweep of a range comes after its events, as it did then, with the sequence that it had.
      batch.sweepTo = sweeps ? turnsTo : -1
      if (sweeps) {
        task.nextSequence = sequence
        batch.partFor(task, task.position)
      }
      stage.fold(batch)
      folded += batch.polled
      onFolded(batch.parts[0]!)
      // The two change places before it is scored.
      const folding = batch
      const done = stage.score(folding, { stateOnly: true, skip }).then(() => failedAnew(task, folding, skip))
      done.catch(() => undefined)
      await otherScored
      stage.finishRestored(other)
      other.reset()
      otherScored = done
      ;[batch, other] = [other, batch]
    }
    /** The events of a range are in. Days that turned behind them follow; ranges that were folded under the same conditions are folded as one. */
    const endRange = async (): Promise<void> => {
      const { turnsTo } = ranges[at]!
      const sweeps = turnsTo > task.turnPosition
      const next = ranges[at + 1]
      if (sweeps || !next || !areAlike(next, ranges[at]!)) await flush()
      while (sweeps && task.turnPosition < turnsTo && stage.turns?.owes(task) === true && !signal.aborted) await flush(true)
    }
    const take = async (columns: RecordColumns): Promise<void> => {
      for (let row = 0; row < columns.count && !signal.aborted; row++) {
        const offset = columns.offset[row]!
        for (; offset >= ranges[at]!.to; at++) await endRange()
        if (batch.records.count === batch.recordsMax || batch.records.arena.used > batch.records.arena.bytesMax / 4) await flush()
        const taken = batch.records.copyRow(columns, row)
        batch.sequences![taken] = ranges[at]!.sequence
        batch.labelsTo![taken] = ranges[at]!.labelsTo
      }
    }
    batch.reset()
    other.reset()
    try {
      await reader.readRange({ topic: names.input, partition: task.partition, from, to }, take, {
        signal,
        onProgress: ({ position, records }) => progress(records, position - from, to - from, task.index.size),
      })
      for (; at < ranges.length && !signal.aborted; at++) await endRange()
    } finally {
      await otherScored
      stage.finishRestored(other)
    }
    signal.throwIfAborted()
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

function addCounts(part: TaskPart, folded: TaskPart): void {
  for (const count of ['records', 'scored', 'turned', 'unscored', 'deadLetters', 'late'] as const) part[count] += folded[count]
  for (const id of folded.unknownSchemaIds) part.unknownSchemaIds.add(id)
}

/** A model that fails while state is restored would leave another state than the one that was live. */
function failedAnew(task: Task, batch: Batch, skip: readonly number[]): void {
  const failure = batch.frame?.failures.find(({ model }) => !skip.includes(model))
  if (failure) throw new HarrierError('MODEL_FAILED', `task ${task.name}: while its state was restored a model failed that had not failed before: ${failure.message}`, { remedy: 'start again; if it stays, look at the model' })
}

function endOf(last: LineageRecord): End {
  return { last, position: last.inputs[0]!.to, labelsTo: labelsToOf(last), turnsTo: last.turns_after }
}

const lineageRemedy = 'the lineage topic must keep all its records: set its retention.ms to -1; or start a new state generation'
const missingInputRemedy = 'records of the input are missing (retention, compaction or deleted records), or their schemas are: restore them, or start a new state generation'
