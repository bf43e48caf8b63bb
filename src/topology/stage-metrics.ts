import type { Clock } from '../base/clock.js'
import type { LatencyHistogram } from '../base/latency-histogram.js'
import type { PartitionProgress } from '../consumer/group-consumer.js'
import type { ModelMetrics, ScorerMetrics, ScorerModel } from '../inference/scorer.js'
import type { EngineCounters, EngineState, EngineStats } from './engine-stats.js'
import type { GuardrailState } from './guardrails.js'
import type { ModelTurns } from './model-turns.js'
import type { TopologyNames } from './names.js'
import type { Stage } from './stage.js'
import type { Standby } from './standby.js'

/** What one stage has done since the start, and what it holds: for metrics. */
export interface StageMetrics {
  readonly topology: string
  readonly stage: string
  readonly state: EngineState
  readonly counters: EngineStats['counters']
  /** ms; records of a batch. */
  readonly histograms: { readonly delay: LatencyHistogram; readonly commit: LatencyHistogram; readonly batchRecords: LatencyHistogram }
  readonly input: string
  /** Batches that may be folded before the one that commits has ended. */
  readonly batchesAheadAllowed: number
  readonly partitions: readonly {
    readonly partition: number
    readonly lag: number
    readonly entities: number
    readonly dirty: number
    /** How long the oldest change has waited for the changelog. */
    readonly checkpointAgeMs: number
    /** Input records that a restore would fold again. */
    readonly tailRecords: number
  }[]
  readonly stateBytes: number
  readonly standby: { readonly partitions: number; readonly entities: number }
  readonly checkpoint: { readonly records: number; readonly bytes: number }
  readonly models: readonly (ScorerModel & ModelMetrics)[]
  readonly scorer: Omit<ScorerMetrics, 'models'>
  readonly deviceClass: string
  /** By which release the models are in force, and a later one that is refused; `guardrails`: undefined where there are none. */
  readonly release: { readonly inForce: number; readonly refused: boolean; readonly guardrails: GuardrailState | undefined }
}

interface StageView {
  readonly state: EngineState
  readonly progress: readonly PartitionProgress[]
  readonly batchesAheadAllowed: number
  readonly counters: EngineCounters
  readonly stage: Stage
  readonly standby?: Pick<Standby, 'partitions' | 'entities'> | undefined
  readonly modelTurns?: Pick<ModelTurns, 'refused' | 'guardrails'> | undefined
  readonly names: TopologyNames
  readonly clock: Clock
}

export function stageMetrics({ state, progress, batchesAheadAllowed, counters: all, stage, standby, modelTurns, names, clock }: StageView): StageMetrics {
  const { delay: _delay, commit: _commit, ...counters } = all
  const { models, ...scorer } = stage.scorer.metrics()
  const nowMs = clock.monotonicMs()
  return {
    topology: stage.topology.name,
    stage: stage.topology.stageName,
    state,
    counters,
    histograms: all.histograms(),
    input: names.input,
    batchesAheadAllowed,
    partitions: progress.map(({ partition, lag }) => {
      const task = stage.tasks[partition]
      return {
        partition, lag, entities: task?.index.size ?? 0, dirty: task?.dirty.length ?? 0, tailRecords: task?.tailRecords ?? 0,
        checkpointAgeMs: task ? all.checkpointAgeMs(task, nowMs) : 0,
      }
    }),
    stateBytes: stage.store.bytes + stage.scorer.memory.bytes,
    standby: { partitions: standby?.partitions ?? 0, entities: standby?.entities ?? 0 },
    checkpoint: { records: stage.checkpointer.records, bytes: stage.checkpointer.bytes },
    models: stage.scorer.models.map((model, index) => ({ ...model, ...models[index]! })),
    scorer,
    deviceClass: stage.scorer.deviceClass,
    release: { inForce: stage.scorer.inForce.release, refused: modelTurns?.refused !== undefined, guardrails: modelTurns?.guardrails?.state },
  }
}
