import { fellBack } from '../inference/device.js'
import type { ScorerModel } from '../inference/scorer.js'
import { LatencyHistogram } from '../base/latency-histogram.js'
import type { Clock } from '../base/clock.js'
import type { Batch } from './batch.js'
import type { Breach } from './guardrails.js'
import type { ModelTurns, RefusedRelease } from './model-turns.js'
import type { Stage } from './stage.js'
import type { Task, TaskPart } from './task.js'
import type { Standby } from './standby.js'

/** Counters since the engine's start; what `harrier run` reports and the live view shows. */
export class EngineCounters {
  records = 0
  scored = 0
  /** Of those: days that turned. */
  turned = 0
  alerts = 0
  deadLetters = 0
  late = 0
  fallbacks = 0
  /** Alerts with reasons. */
  explained = 0
  /** Labels that came into effect. */
  labels = 0
  labelsRepeated = 0
  /** Of those in effect: labels that contradicted an earlier one. */
  labelsConflicting = 0
  /** Labels of no event that is known: never seen, expired, or thinned out. */
  labelsUnknown = 0
  batches = 0
  aborts = 0
  restores = 0
  restoredRecords = 0
  /** From a record's timestamp to the moment when its score could be read: the commit, or before it with `delivery: atLeastOnce`. */
  readonly delay = new LatencyHistogram()
  /** Duration of transactions, begin to commit. */
  readonly commit = new LatencyHistogram()
  readonly #past = { delay: new LatencyHistogram(), commit: new LatencyHistogram() }
  readonly #batchRecords = new LatencyHistogram()
  readonly #marks = new BatchMarks()

  /** A batch has committed. */
  countBatch(batch: Batch, clock: Pick<Clock, 'nowMs' | 'monotonicMs'>): void {
    const nowMs = Number.isNaN(batch.publishedAtMs) ? clock.nowMs() : batch.publishedAtMs
    for (let row = 0; row < batch.polled; row++) this.delay.add(nowMs - batch.records.timestamp[row]!)
    this.#batchRecords.add(batch.polled)
    for (const part of batch.parts) {
      this.records += part.records
      this.scored += part.scored + part.turned
      this.turned += part.turned
      this.alerts += part.alerts
      this.deadLetters += part.deadLetters
      this.late += part.late
      this.fallbacks += part.fallbacks
      this.labels += part.labels.applied
      this.labelsRepeated += part.labels.repeated
      this.labelsConflicting += part.labels.conflicting
      this.labelsUnknown += part.labels.unknown
      this.#marks.committed(part, clock.monotonicMs())
    }
    this.explained += batch.outcome.explanations.size
    this.batches++
  }

  /** Begins the quantiles of `delay` and `commit` anew. */
  resetDelays(): void {
    for (const each of ['delay', 'commit'] as const) {
      this.#past[each].merge(this[each])
      this[each].reset()
    }
  }

  /** Since the start, whatever was reset. */
  histograms(): { readonly delay: LatencyHistogram; readonly commit: LatencyHistogram; readonly batchRecords: LatencyHistogram } {
    const whole = (each: 'delay' | 'commit'): LatencyHistogram => {
      const sum = new LatencyHistogram()
      sum.merge(this.#past[each])
      sum.merge(this[each])
      return sum
    }
    return { delay: whole('delay'), commit: whole('commit'), batchRecords: this.#batchRecords }
  }

  /** How long the oldest change of a task has waited for the changelog; 0 when there is none. */
  checkpointAgeMs(task: Task, nowMs: number): number {
    return task.dirty.length === 0 ? 0 : this.#marks.ageMs(task.partition, task.oldestDirty(task.nextSequence), nowMs)
  }
}

/** When batches committed, one a second and partition at most. */
class BatchMarks {
  readonly #byPartition = new Map<number, { sequence: number; atMs: number }[]>()

  committed({ task, sequence, oldestDirty }: TaskPart, nowMs: number): void {
    const marks = this.#byPartition.get(task.partition) ?? []
    // the newest of those before the oldest change stays: it tells since when, to a second
    while (marks.length > 1 && marks[1]!.sequence <= oldestDirty) marks.shift()
    if (marks.length < batchMarksMax && nowMs - (marks.at(-1)?.atMs ?? -Infinity) >= 1000) marks.push({ sequence, atMs: nowMs })
    this.#byPartition.set(task.partition, marks)
  }

  ageMs(partition: number, sequence: number, nowMs: number): number {
    const marks = this.#byPartition.get(partition) ?? []
    const mark = marks.findLast((each) => each.sequence <= sequence) ?? marks[0]
    return mark ? nowMs - mark.atMs : 0
  }
}

const batchMarksMax = 3600

/** `running`: partitions are assigned and restored. */
export type EngineState = 'joining' | 'restoring' | 'running' | 'stopping' | 'failed'

export interface EngineStats {
  readonly state: string
  readonly counters: Omit<EngineCounters, 'delay' | 'commit' | 'countBatch' | 'resetDelays' | 'histograms' | 'checkpointAgeMs'>
  /** Quantiles since the last call, ms. */
  readonly delayMs: { readonly p50: number; readonly p99: number; readonly p999: number; readonly count: number }
  /** The same delays as they were counted, to be merged over time: see `LatencyHistogram.fromJSON`. */
  readonly delayHistogram: readonly (readonly [number, number])[]
  readonly commitMs: { readonly p50: number; readonly p99: number }
  readonly lag: number
  /** Changelog written since the start, and entities whose last change is not on it yet. */
  readonly checkpoint: { readonly records: number; readonly bytes: number; readonly dirty: number }
  readonly entities: number
  /** Warm copies of what other processes own. */
  readonly standby: { readonly partitions: number; readonly entities: number }
  readonly stateBytes: number
  /** Memory: see `ScorerModel.openedBytes`. */
  readonly models: readonly ({ readonly model: string; readonly role: string; readonly share: number; readonly device: string; readonly deviceNote: string | null } & Pick<ScorerModel, 'fileBytes' | 'openedBytes'>)[]
  /** Revision of the release by which the models are in force, 0: those that the topology names; a later one that is refused here; and the last guardrail that was broken here. */
  readonly release: { readonly inForce: number; readonly refused: RefusedRelease | null; readonly breach: Breach | null }
  /** As committed: a batch that may still be aborted does not count. `tailRecords`: input records that a restore would fold again. */
  readonly tasks: readonly { readonly task: string; readonly sequence: number; readonly position: number; readonly streamTimeMs: number; readonly tailRecords: number }[]
}

/** Takes the counted delays: quantiles are since the call before. */
export function engineStats(
  { state, lag, counters: all, stage, standby, modelTurns, folded }:
  { state: string; lag: number; counters: EngineCounters; stage: Stage; standby?: Pick<Standby, 'partitions' | 'entities'> | undefined; modelTurns?: Pick<ModelTurns, 'refused' | 'guardrails'> | undefined; folded: Iterable<Batch> },
): EngineStats {
  const { delay, commit, ...counters } = all
  const { checkpointer, store, scorer } = stage
  const { partitions = 0, entities = 0 } = standby ?? {}
  const stats: EngineStats = {
    state,
    counters: { ...counters },
    checkpoint: { records: checkpointer.records, bytes: checkpointer.bytes, dirty: stage.tasks.reduce((sum, task) => sum + (task?.dirty.length ?? 0), 0) },
    delayMs: { p50: delay.quantile(0.5), p99: delay.quantile(0.99), p999: delay.quantile(0.999), count: delay.count },
    delayHistogram: delay.toJSON(),
    commitMs: { p50: commit.quantile(0.5), p99: commit.quantile(0.99) },
    lag,
    entities: stage.tasks.reduce((sum, task) => sum + (task?.index.size ?? 0), 0),
    standby: { partitions, entities },
    stateBytes: store.bytes + scorer.memory.bytes,
    models: scorer.models.map(({ reference, role, share, device, deviceNote, fileBytes, openedBytes }) => ({ model: reference, role, share, device, deviceNote, fileBytes, openedBytes })),
    release: { inForce: scorer.inForce.release, refused: modelTurns?.refused ?? null, breach: modelTurns?.guardrails?.state.last ?? null },
    tasks: stage.tasks.flatMap((task) => (task ? [{ task: task.name, ...committedOf(task, folded), streamTimeMs: task.streamTimeMs, tailRecords: task.tailRecords }] : [])),
  }
  all.resetDelays()
  return stats
}

/** A task stands where its oldest folded batch began, until that has committed. */
function committedOf(task: Task, folded: Iterable<Batch>): { sequence: number; position: number } {
  for (const { parts } of folded) {
    const part = parts.find((each) => each.task === task)
    if (part) return { sequence: part.sequence - 1, position: part.from }
  }
  return { sequence: task.nextSequence - 1, position: task.position }
}

/** What one stage of a topology does. `delayMs`: from the timestamp of the record in the input topic to the commit of this stage. */
export interface StageStats extends Pick<EngineStats, 'state' | 'lag' | 'entities' | 'stateBytes' | 'delayMs'> {
  readonly stage: string
  readonly records: number
  readonly scored: number
  readonly labels: number
}

/** Models that `device: auto` runs on the CPU, since no GPU could run them; `deviceNote` says why. */
export function deviceFallbacks({ models }: Pick<EngineStats, 'models'>): number {
  return models.filter(fellBack).length
}
