import { modelWattsPerCore, type EnergyFigure } from '../base/energy-meter.js'
import type { LatencyHistogram } from '../base/latency-histogram.js'
import type { ServedModel } from '../inference/serving/served-model.js'
import type { StageMetrics } from '../topology/stage-metrics.js'

// Every metric of Harrier's own: name, type, what it is, and where its values come from. Values are counted where things happen
// and only read here, when somebody scrapes; so a metric costs nothing on the way of an event. docs/service.md prints the table.

export type Labels = Readonly<Record<string, string>>

export interface Sample {
  readonly labels: Labels
  readonly value: number | LatencyHistogram
}

export interface MetricEntry<T> {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
  samples(of: T): readonly Sample[]
}

type Value = Sample['value']

const stageLabels = ['topology', 'stage'] as const

/** A metric with one value a stage. */
function ofStage(type: MetricEntry<StageMetrics>['type'], name: string, help: string, value: (stage: StageMetrics) => Value): MetricEntry<StageMetrics> {
  return { name, type, help, labels: stageLabels, samples: (stage) => [{ labels: { topology: stage.topology, stage: stage.stage }, value: value(stage) }] }
}

/** A metric with a value for each of several things of a stage. */
function ofStageParts<P>(
  type: MetricEntry<StageMetrics>['type'], name: string, help: string, parts: (stage: StageMetrics) => readonly P[], labels: (part: P) => Labels, value: (part: P) => Value, names: readonly string[],
): MetricEntry<StageMetrics> {
  const samples = (stage: StageMetrics): Sample[] => parts(stage).map((part) => ({ labels: { topology: stage.topology, stage: stage.stage, ...labels(part) }, value: value(part) }))
  return { name, type, help, labels: [...stageLabels, ...names], samples }
}

const states = ['joining', 'restoring', 'running', 'stopping', 'failed'] as const

type Partition = StageMetrics['partitions'][number]
const ofPartition = (type: 'gauge', name: string, help: string, value: (partition: Partition) => number): MetricEntry<StageMetrics> =>
  ofStageParts(
    type, name, help, (stage) => stage.partitions.map((partition) => ({ partition, topic: stage.input })), ({ partition, topic }) => ({ topic, partition: String(partition.partition) }),
    (part) => value(part.partition), ['topic', 'partition'],
  )

type StreamModel = StageMetrics['models'][number]
const modelLabels = ({ reference, role, device }: StreamModel): Labels => ({ model: reference.split('@')[0]!, version: reference.split('@')[1]!, role, device })
const modelLabelNames = ['model', 'version', 'role', 'device'] as const
const ofModel = (type: 'counter' | 'gauge', name: string, help: string, value: (model: StreamModel) => number): MetricEntry<StageMetrics> =>
  ofStageParts(type, name, help, ({ models }) => models, modelLabels, value, modelLabelNames)

export const streamMetrics: readonly MetricEntry<StageMetrics>[] = [
  ofStageParts(
    'gauge', 'harrier_stage_state', '1 for the state the stage is in, 0 for the others; running = partitions assigned and restored',
    ({ state }) => states.map((each) => ({ each, state })), ({ each }) => ({ state: each }), ({ each, state }) => Number(each === state), ['state'],
  ),
  ofStage('counter', 'harrier_records_total', 'Input records of batches that committed', ({ counters }) => counters.records),
  ofStage('counter', 'harrier_scored_total', 'Scored events', ({ counters }) => counters.scored),
  ofStage('counter', 'harrier_alerts_total', 'Decisions that are not APPROVE', ({ counters }) => counters.alerts),
  ofStage('counter', 'harrier_dead_letters_total', 'Records that could not be scored', ({ counters }) => counters.deadLetters),
  ofStage('counter', 'harrier_late_total', 'Events later than grace', ({ counters }) => counters.late),
  ofStage('counter', 'harrier_fallbacks_total', 'Events that the champion did not decide', ({ counters }) => counters.fallbacks),
  ofStage('counter', 'harrier_explained_total', 'Alerts with reasons', ({ counters }) => counters.explained),
  ofStage('counter', 'harrier_labels_total', 'Labels that came into effect', ({ counters }) => counters.labels),
  ofStage('counter', 'harrier_labels_conflicting_total', 'Labels that contradicted an earlier one', ({ counters }) => counters.labelsConflicting),
  ofStage('counter', 'harrier_labels_unknown_total', 'Labels of no event that is known', ({ counters }) => counters.labelsUnknown),
  ofStage('counter', 'harrier_transactions_total', 'Transactions that committed', ({ counters }) => counters.batches),
  ofStage('counter', 'harrier_transactions_aborted_total', 'Transactions that aborted; their batches were done again', ({ counters }) => counters.aborts),
  ofStage('counter', 'harrier_restores_total', 'Tasks that were restored', ({ counters }) => counters.restores),
  ofStage('counter', 'harrier_restored_records_total', 'Changelog and input records that restores have read', ({ counters }) => counters.restoredRecords),
  ofStage('histogram', 'harrier_delay_seconds', 'From the timestamp of a record to the moment when its score can be read', ({ histograms }) => histograms.delay),
  ofStage('histogram', 'harrier_commit_seconds', 'Duration of a transaction, begin to commit', ({ histograms }) => histograms.commit),
  ofStage('histogram', 'harrier_batch_records', 'Records of a batch', ({ histograms }) => histograms.batchRecords),
  ofStage('gauge', 'harrier_batches_ahead_allowed', 'Batches that may be folded before the one that commits has ended: 0 unless polls come back full', ({ batchesAheadAllowed }) => batchesAheadAllowed),
  ofPartition('gauge', 'harrier_consumer_lag_records', 'Records between position and end of a partition', ({ lag }) => lag),
  ofPartition('gauge', 'harrier_state_entities', 'Entities that a task knows', ({ entities }) => entities),
  ofPartition('gauge', 'harrier_checkpoint_dirty_entities', 'Entities whose last change is not on the changelog', ({ dirty }) => dirty),
  ofPartition('gauge', 'harrier_checkpoint_age_seconds', 'How long the oldest change has waited for the changelog, to a second', ({ checkpointAgeMs }) => checkpointAgeMs / 1000),
  ofPartition('gauge', 'harrier_restore_tail_records', 'Input records that a restore would fold again', ({ tailRecords }) => tailRecords),
  ofStage('gauge', 'harrier_state_bytes', 'Memory of the state: slots, windows, rings, hidden states', ({ stateBytes }) => stateBytes),
  ofStage('gauge', 'harrier_standby_partitions', 'Partitions of other processes of which this one keeps a warm copy', ({ standby }) => standby.partitions),
  ofStage('gauge', 'harrier_standby_entities', 'Entities in warm copies', ({ standby }) => standby.entities),
  ofStage('counter', 'harrier_checkpoint_records_total', 'Changelog records written', ({ checkpoint }) => checkpoint.records),
  ofStage('counter', 'harrier_checkpoint_bytes_total', 'Changelog bytes written', ({ checkpoint }) => checkpoint.bytes),
  ofStage('counter', 'harrier_scorer_queue_seconds_total', 'Time that batches waited for the models', ({ scorer }) => scorer.queueMs / 1000),
  ofStage('counter', 'harrier_scorer_warmed_rows_total', 'Hidden states that were warmed from the ring', ({ scorer }) => scorer.warmedRows),
  ofStage('gauge', 'harrier_scorer_workers', 'Threads that run models', ({ scorer }) => scorer.workers),
  ofStage('counter', 'harrier_scorer_worker_restarts_total', 'Worker threads that were replaced', ({ scorer }) => scorer.workerRestarts),
  ofStage('gauge', 'harrier_release_revision', 'Release by which the models score, 0: those of the topology file', ({ release }) => release.inForce),
  ofStage('gauge', 'harrier_release_refused', '1 while a newer release cannot be opened here', ({ release }) => Number(release.refused)),
  ofStage('counter', 'harrier_guardrail_judged_total', 'Blocks of events of a released model that were judged by the guardrails', ({ release }) => release.guardrails?.judged ?? 0),
  ofStageParts(
    'counter', 'harrier_guardrail_breaches_total', 'Guardrails that a released model has broken in this process',
    ({ release }) => Object.entries(release.guardrails?.breaches ?? {}), ([guardrail]) => ({ guardrail }), ([, count]) => count, ['guardrail'],
  ),
  ofModel('counter', 'harrier_model_rows_total', 'Rows that a model of the stream scored', ({ rows }) => rows),
  ofModel('counter', 'harrier_model_runs_total', 'Runs of the session; rows / runs is the batch size', ({ runs }) => runs),
  ofModel('counter', 'harrier_model_compute_seconds_total', 'Time in runs, of all workers together', ({ computeMs }) => computeMs / 1000),
  ofModel('gauge', 'harrier_model_opened_bytes', 'By how much the process grew as the first worker opened the model', ({ openedBytes }) => openedBytes),
  ofStageParts(
    'counter', 'harrier_model_failures_total', 'Batches in which a model threw, timed out or was set aside, and rows that were not finite',
    ({ models }) => models.flatMap((model) => Object.entries(model.failures).map(([reason, count]) => ({ model, reason, count }))), ({ model, reason }) => ({ ...modelLabels(model), reason }), ({ count }) => count, [...modelLabelNames, 'reason'],
  ),
]

/** What turns CPU time into energy: joules = harrier_model_compute_seconds_total * this. */
export const energyMetric: MetricEntry<EnergyFigure> = {
  name: 'harrier_energy_joules_per_core_second', type: 'gauge', labels: ['source'],
  help: `Energy of a second of a busy core: rapl = as the processor counts it for the whole machine, model = ${modelWattsPerCore} J, where it cannot be read`,
  samples: ({ joulesPerCoreSecond, source }) => [{ labels: { source }, value: joulesPerCoreSecond }],
}

const servedLabels = ({ model, opened }: ServedModel): Labels => ({ model: model.manifest.name, version: model.manifest.version, device: opened.device })
const servedLabelNames = ['model', 'version', 'device'] as const

function ofServed(type: MetricEntry<ServedModel>['type'], name: string, help: string, value: (model: ServedModel) => Value): MetricEntry<ServedModel> {
  return { name, type, help, labels: servedLabelNames, samples: (model) => [{ labels: servedLabels(model), value: value(model) }] }
}

export const serviceMetrics: readonly MetricEntry<ServedModel>[] = [
  ofServed('counter', 'harrier_infer_requests_total', 'Requests that a served model answered', ({ counters }) => counters.requests),
  ofServed('counter', 'harrier_infer_rows_total', 'Their rows', ({ counters }) => counters.rows),
  {
    name: 'harrier_infer_failures_total', type: 'counter', help: 'Requests without an answer, by why: invalid, overloaded, expired in the queue, cancelled by the client, failed with the model', labels: [...servedLabelNames, 'reason'],
    samples: (model) => Object.entries(model.counters.failures).map(([reason, value]) => ({ labels: { ...servedLabels(model), reason }, value })),
  },
  ofServed('histogram', 'harrier_infer_queue_seconds', 'From a request to the begin of its run', ({ counters }) => counters.queue),
  ofServed('histogram', 'harrier_infer_compute_seconds', 'Duration of the run that a request was in', ({ counters }) => counters.compute),
  ofServed('histogram', 'harrier_infer_batch_rows', 'Rows of a run', ({ counters }) => counters.batchRows),
  ofServed('gauge', 'harrier_infer_waiting_requests', 'Requests in the queue', ({ queued }) => queued.requests),
  ofServed('gauge', 'harrier_infer_ready', '1 when the model answers', ({ isReady }) => Number(isReady)),
]

/** Those that are counted at the socket. */
export const httpMetrics = {
  requests: { name: 'harrier_http_requests_total', type: 'counter', help: 'Answers, by route and status', labels: ['method', 'route', 'status'] },
  duration: { name: 'harrier_http_request_seconds', type: 'histogram', help: 'From the head of a request to the end of its answer', labels: ['method', 'route'] },
} as const
