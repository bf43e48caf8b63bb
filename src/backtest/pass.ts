import { HarrierError } from '../base/errors.js'
import { RegistryClient, type SchemaLookup } from '../codec/registry-client.js'
import { connectLimits } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import type { RangeReader } from '../consumer/range-reader.js'
import type { ScorerModel } from '../inference/scorer.js'
import type { TableColumn } from '../replay/column-appender.js'
import { TableSource } from '../replay/table-source.js'
import { isTable } from '../topology/export-features.js'
import type { Topology } from '../topology/load-topology.js'
import { openScorer } from '../topology/open-scorer.js'
import { Stage } from '../topology/stage.js'
import { StageChain, type TaggedBatch } from '../topology/stage-chain.js'
import { ofTable, labelsOfTable } from '../topology/table-records.js'
import { eventTimeField } from '../topology/topology-schema.js'
import type { BacktestOptions, LossSpec, PartitionRange } from './backtest-options.js'
import { openReader, readTable, readTopic } from './event-sources.js'
import { TopicLabels, type RecordedBatch } from './label-topic.js'
import { RowCollector, type CollectedCounts } from './row-collector.js'
import type { ScoreTable } from './score-table.js'

/** Records of a batch: as many as a run of a model takes well. What comes out does not depend on it. */
export const backtestBatchRecords = 8192

export interface PassOptions extends BacktestOptions {
  /** Name of the table for the scored events, and its columns before those of the models. */
  readonly tableName: string
  readonly columns0: readonly TableColumn[]
  /** Null: only decisions and scores are wanted. */
  readonly ownLoss: LossSpec | null
  /** Decided a second time with another policy. */
  readonly otherPolicy: Topology | undefined
  readonly title: string
  /** By partition, where the labels of a recorded run took effect. */
  readonly recorded: ReadonlyMap<number, readonly RecordedBatch[]>
}

export interface PassResult extends CollectedCounts {
  readonly models: readonly ScorerModel[]
  readonly deviceClass: string
  readonly read: number
  readonly seconds: number
  readonly partitions: number
}

/** Folds and scores all events of the source once, and writes those of the measured range into a table. */
export async function runPass(table: ScoreTable, options: PassOptions): Promise<PassResult> {
  const { topology, from, labelDelayMs, columns, epochMs, signal, clock } = options
  const views = topology.chain.slice(topology.place).map(withLargeBatches)
  const isFile = isTable(from)
  const registry = options.connections && new RegistryClient(options.connections.registryUrl, { clock, logger: options.logger, security: options.connections.registrySecurity })
  const { fields, stage: spec } = views[0]!
  const tableSource = isFile ? await TableSource.open({ file: from, fields, keyField: spec.key, eventTimeField, epochMs, columns }) : undefined
  const ranges = isFile ? [] : await rangesOf(options)
  const partitions = isFile ? 1 : Math.max(...ranges.map(({ partition }) => partition)) + 1
  const stages: Stage[] = []
  let labelReader: RangeReader | undefined
  try {
    for (const view of views) stages.push(await openStage(view, stages.length === 0, partitions, isFile, registry, options))
    const first = stages[0]!
    const last = stages.at(-1)!
    if (isFile) first.addTask(0)
    for (const stage of stages.slice(1)) for (let partition = 0; partition < partitions; partition++) stage.addTask(partition)
    const scoreColumns = last.scorer.models.map((_, index) => ({ name: `s${index}`, type: 'float' as const }))
    const appender = await table.create(options.tableName, [...options.columns0, ...scoreColumns, ...(options.otherPolicy ? [{ name: 'what_if', type: 'byte' as const }] : [])])
    const measured = { sinceMs: options.sinceMs ?? -Infinity, untilMs: options.untilMs ?? Infinity }
    const collector = new RowCollector(last, { appender, ...measured, loss: options.ownLoss, whatIf: options.otherPolicy })
    let labels: ((batch: TaggedBatch) => void | Promise<void>) | undefined
    if (isFile) labels = labelsOfTable(first, labelDelayMs)
    else if (first.topology.labels && options.labelsFrom !== undefined) {
      labelReader = await openReader(options)
      const topicLabels = new TopicLabels(first, labelReader, options.labelsFrom, options.recorded, signal)
      labels = (batch) => topicLabels.beforeFold(batch)
    }
    const chain = new StageChain({
      stages,
      partitions,
      beforeFold: labels,
      // Reasons of alerts are not wanted, and cost more than the scores.
      scoring: (batch) => ({ stateOnly: !collector.isMeasured(batch), explain: undefined }),
      onRefused: (batch) => collector.refuse(batch),
      onScored: (batch) => collector.take(batch),
    })
    const total = tableSource ? tableSource.rows : ranges.reduce((sum, range) => sum + range.to - range.from, 0)
    const startedMs = clock.monotonicMs()
    const progress = progressOf(options, total, startedMs)
    if (tableSource) await readTable(tableSource, first, chain, options, progress.onRead)
    else await readTopic(ranges, partitions, first, chain, options, progress.onRead)
    appender.close()
    const { models, deviceClass } = last.scorer
    return { ...collector.counts, models, deviceClass, read: progress.read, seconds: (clock.monotonicMs() - startedMs) / 1000, partitions }
  } finally {
    tableSource?.close()
    await labelReader?.close()
    for (const { scorer } of stages) await scorer.close()
  }
}

async function openStage(view: Topology, isFirst: boolean, partitions: number, isFile: boolean, registry: RegistryClient | undefined, { models, device, workers, clock, logger }: PassOptions): Promise<Stage> {
  const scorer = await openScorer({ topology: view, models, device, workers, clock, logger })
  const before = view.chain[view.place - 1]?.forward
  // Between stages there is one schema, and no registry in the way.
  const lookup: SchemaLookup | undefined = isFirst ? registry : before && { schemaById: () => Promise.resolve(before.schema), isUnknownId: () => false }
  return new Stage(isFirst && isFile ? ofTable(view) : view, scorer, lookup, partitions)
}

function withLargeBatches(view: Topology): Topology {
  const limits = { ...view.spec.limits, batchRecordsMax: Math.max(backtestBatchRecords, view.spec.limits.batchRecordsMax) }
  return { ...view, spec: { ...view.spec, limits } }
}

/** What is read of a topic: as it was asked for, or all that has been committed by now. */
async function rangesOf(options: PassOptions): Promise<PartitionRange[]> {
  const { from: topic, connections, clock, offsets } = options
  const reader = await openReader(options)
  try {
    const { brokers, security, connectMsMax } = connections!
    const count = await withAdmin({ brokers, security, clock, ...connectLimits({ connectMsMax }) }, async (admin) => (await admin.partitionCounts([topic])).get(topic))
    if (count === undefined) throw new HarrierError('TOPIC_MISSING', `there is no topic ${topic}`, { remedy: 'give a .csv or .parquet file, or the name of a topic of the broker' })
    const ranges: PartitionRange[] = []
    for (let partition = 0; partition < count; partition++) {
      const { low, stableEnd } = await reader.watermarks(topic, partition)
      const wanted = offsets.filter((each) => each.partition === partition)
      if (offsets.length === 0) ranges.push({ partition, from: low, to: stableEnd })
      for (const { from, to } of wanted) {
        if (from < low) throw new HarrierError('USAGE', `${topic}/${partition} should be read from offset ${from}, but its log starts at ${low}`, { remedy: `give --offsets ${partition}:${low}-${Math.min(to, stableEnd)}` })
        ranges.push({ partition, from, to: Math.min(to, stableEnd) })
      }
    }
    const unknown = offsets.find(({ partition }) => partition >= count)
    if (unknown) throw new HarrierError('USAGE', `--offsets names partition ${unknown.partition}; ${topic} has ${count}`, { remedy: `partitions are 0 to ${count - 1}` })
    return ranges
  } finally {
    await reader.close()
  }
}

function progressOf({ title, onProgress, clock }: PassOptions, total: number, startedMs: number): { onRead: (rows: number) => void; readonly read: number } {
  let read = 0
  return {
    onRead: (rows) => {
      read += rows
      const seconds = (clock.monotonicMs() - startedMs) / 1000
      const left = Math.ceil((seconds / Math.max(1, read)) * Math.max(0, total - read))
      onProgress(`${title}${read.toLocaleString('en')} of ${total.toLocaleString('en')} records, ${Math.round(read / Math.max(seconds, 0.001)).toLocaleString('en')}/s, ${left} s left`, 'tick')
    },
    get read() {
      return read
    },
  }
}
