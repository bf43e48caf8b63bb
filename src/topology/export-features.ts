import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { RangeReader } from '../consumer/range-reader.js'
import { createScorer } from '../inference/create-scorer.js'
import type { Scorer } from '../inference/scorer.js'
import type { ColumnValues, TableColumn } from '../replay/column-appender.js'
import { ParquetTable } from '../replay/parquet-table.js'
import { TableSource, labelColumns } from '../replay/table-source.js'
import type { Batch } from './batch.js'
import { frameRowsMax } from './day-calendar.js'
import { takeLabels } from './label-reader.js'
import type { Topology } from './load-topology.js'
import { openScorer } from './open-scorer.js'
import { isFraudOf, scenarioOf } from './row-tag.js'
import { Stage } from './stage.js'
import { StageChain, framesNeeded, type Tags } from './stage-chain.js'
import { ofTable, labelsOfTable, TableRecords } from './table-records.js'
import { eventIdField, eventTimeField } from './topology-schema.js'

export interface ExportOptions {
  /** The stage whose rows are wanted. A table goes through the stages before it; a topic is that stage's own input. */
  readonly topology: Topology
  /** A .csv or .parquet file, or the name of a topic. */
  readonly from: string
  /** Labels of a topic's events; without it they have none. */
  readonly labelsFrom?: string | undefined
  /** How long after its event a label of a table becomes known, ms. */
  readonly labelDelayMs: number
  readonly models?: string | undefined
  readonly out: string
  readonly columns: Readonly<Record<string, string>>
  readonly epochMs: number
  /** Where a topic is read. */
  readonly connections?: ClusterConnection | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly onProgress: (done: number, of: number) => void
}

export interface ExportResult {
  readonly rows: number
  readonly refused: number
  readonly late: number
  /** Cause of the first record that gave no row. */
  readonly firstRefusal: string | undefined
}

export function isTable(from: string): boolean {
  return /\.(csv|parquet)$/i.test(from)
}

/**
 * One feature row for each event of a table or topic (where days turn: for each turned day, and each event scored at once), by the same code that scores the stream: `Stage.fold`.
 * Columns: event_id, entity, event_time (ms since 1970), one float32 for each feature, and labels where the table has them.
 */
export async function exportFeatures(options: ExportOptions): Promise<ExportResult> {
  return isTable(options.from) ? exportTable(options) : exportTopic(options)
}

async function exportTable(options: ExportOptions): Promise<ExportResult> {
  const { topology, from: file, epochMs, columns } = options
  const first = topology.chain[0]!
  const { fields, stage } = first
  const table = await TableSource.open({ file, fields, keyField: stage.key, eventTimeField, epochMs, columns })
  const views = topology.chain.slice(0, topology.place + 1)
  const stages: Stage[] = []
  try {
    for (const view of views) {
      const source = view.place > 0 ? view : ofTable(view)
      const before = topology.chain[view.place - 1]?.forward
      stages.push(new Stage(source, await scorerFor(view, options), before && { schemaById: () => Promise.resolve(before.schema), isUnknownId: () => false }))
    }
    const writer = await RowWriter.open(stages.at(-1)!, table.labelled, options.out)
    return await writer.filled(() => foldTable(stages, table, writer, options))
  } finally {
    table.close()
    for (const { scorer } of stages) await scorer.close()
  }
}

/** A scorer without models, unless a later stage that is asked for reads the score. */
function scorerFor(view: Topology, { topology, models, clock, logger }: ExportOptions): Promise<Scorer> {
  const score = `${view.stageName}.score`
  const readBy = ({ stage }: Topology): boolean => stage.score?.events?.field === score || stage.features.some((feature) => 'field' in feature && feature.field === score)
  const isRead = topology.chain.slice(view.place + 1, topology.place + 1).some(readBy)
  if (isRead) return openScorer({ topology: view, models, workers: 0, clock, logger })
  return createScorer({
    features: view.stage.features.map(({ name }) => name),
    window: 0,
    models: [],
    device: 'cpu',
    workers: 0,
    clock,
    limits: { rowsMax: frameRowsMax(view.stage, view.place, view.spec.limits), framesMax: framesNeeded },
  })
}

function columnsFor(topology: Topology, labelled: boolean): TableColumn[] {
  return [
    { name: 'event_id', type: 'text' },
    { name: 'entity', type: 'text' },
    { name: 'event_time', type: 'long' },
    ...topology.stage.features.map(({ name }) => ({ name, type: 'float' as const })),
    ...(labelled ? ([{ name: labelColumns[0], type: 'boolean' }, { name: labelColumns[1], type: 'int' }] as const) : []),
  ]
}

/** Turns folded batches into rows of the table. */
class RowWriter {
  #result: ExportResult = { rows: 0, refused: 0, late: 0, firstRefusal: undefined }
  readonly #stage: Stage
  readonly #labelled: boolean
  readonly #table: ParquetTable

  static async open(stage: Stage, labelled: boolean, file: string): Promise<RowWriter> {
    return new RowWriter(stage, labelled, await ParquetTable.open(file, columnsFor(stage.topology, labelled)))
  }

  private constructor(stage: Stage, labelled: boolean, table: ParquetTable) {
    this.#stage = stage
    this.#labelled = labelled
    this.#table = table
  }

  /** Closes the table when `fill` has filled it, and leaves none when that fails. */
  async filled(fill: () => Promise<void>): Promise<ExportResult> {
    try {
      await fill()
      await this.#table.close()
    } catch (error) {
      await this.#table.discard()
      throw error
    }
    return this.#result
  }

  /** Records of any stage that gave no row. */
  refuse(batch: Batch): void {
    this.#result = { ...this.#result, refused: this.#result.refused + batch.causes.size, firstRefusal: this.#result.firstRefusal ?? [...batch.causes.values()][0]?.message }
  }

  write(batch: Batch, tags?: Tags): void {
    const { frame, events, records } = batch
    const count = frame!.count
    const features = this.#stage.topology.stage.features.length
    const idColumn = events.index(eventIdField)
    const keyColumn = events.index(this.#stage.topology.stage.key)
    const rows = Array.from({ length: count }, (_, at) => batch.recordRow[at]!)
    const columns: ColumnValues[] = [
      rows.map((row) => events.text(idColumn, row, records.arena)),
      rows.map((row) => events.text(keyColumn, row, records.arena)),
      frame!.eventTime.subarray(0, count),
    ]
    for (let f = 0; f < features; f++) columns.push(Float32Array.from({ length: count }, (_, at) => frame!.rows[at * features + f]!))
    if (this.#labelled) columns.push(rows.map((row) => isFraudOf(tags![row]!)), rows.map((row) => scenarioOf(tags![row]!)))
    this.#table.write(columns, count)
    this.#result = { ...this.#result, rows: this.#result.rows + count, late: this.#result.late + batch.late.subarray(0, records.count).reduce((sum, late) => sum + late, 0) }
  }
}

/** One task of each stage: what they pass on goes straight to the next, in the order of the table. */
async function foldTable(stages: readonly Stage[], table: TableSource, writer: RowWriter, { labelDelayMs, onProgress }: ExportOptions): Promise<void> {
  for (const stage of stages) stage.addTask(0)
  const chain = new StageChain({
    stages,
    partitions: 1,
    beforeFold: labelsOfTable(stages[0]!, labelDelayMs),
    onRefused: (batch) => writer.refuse(batch),
    onScored: ({ batch, tags }) => writer.write(batch, tags),
  })
  const taken = new TableRecords()
  let done = 0
  for await (const chunk of table.chunks()) {
    taken.take(chunk)
    await chain.push(taken.records, taken.tags)
    done += chunk.count
    onProgress(done, table.rows)
  }
  await chain.flush()
}

async function exportTopic(options: ExportOptions): Promise<ExportResult> {
  const { topology, from, labelsFrom, connections, clock, logger, onProgress } = options
  if (!connections) throw new HarrierError('USAGE', `"${from}" is a topic, and no brokers are known`, { remedy: 'give --connection, or --brokers and --registry, or a .csv or .parquet file' })
  const registry = new RegistryClient(connections.registryUrl, { clock, logger, security: connections.registrySecurity })
  const reader = new RangeReader({ brokers: connections.brokers, security: connections.security, clock, logger, ...connectLimits(connections) })
  const partitions = await partitionsOf(from, connections, clock)
  const stage = new Stage(topology, await scorerFor(topology, options), registry, partitions)
  try {
    await reader.start()
    const writer = await RowWriter.open(stage, false, options.out)
    const batch = stage.makeBatch({ restoring: true })
    batch.labelsTo!.fill(Infinity)
    batch.sweepTo = Infinity
    let done = 0
    return await writer.filled(async () => {
      for (let partition = 0; partition < partitions; partition++) {
        const { labels } = stage.addTask(partition)
        if (labels && labelsFrom !== undefined) await reader.readRange({ topic: labelsFrom, partition, from: 'earliest', to: 'stable-end' }, (columns) => takeLabels(stage, labels, columns))
        await reader.readRange({ topic: from, partition, from: 'earliest', to: 'stable-end' }, async (columns) => {
          batch.reset()
          for (let row = 0; row < columns.count; row++) batch.records.copyRow(columns, row)
          const loading = stage.decoder.prepare(batch.records)
          if (loading) await loading
          stage.fold(batch)
          writer.refuse(batch)
          writer.write(batch)
          stage.finishRestored(batch)
          done += columns.count
        }, { onProgress: ({ position, to }) => onProgress(done, done + to - position) })
        while (stage.turns?.owes(stage.tasks[partition]!) === true) {
          batch.reset()
          batch.partFor(stage.tasks[partition]!, stage.tasks[partition]!.position)
          stage.fold(batch)
          writer.write(batch)
          stage.finishRestored(batch)
        }
        stage.dropTask(partition)
      }
    })
  } finally {
    await reader.close()
    await stage.scorer.close()
  }
}

function partitionsOf(topic: string, { brokers, security, connectMsMax }: ClusterConnection, clock: Clock): Promise<number> {
  return withAdmin({ brokers, security, clock, ...connectLimits({ connectMsMax }) }, async (admin) => {
    const partitions = (await admin.partitionCounts([topic])).get(topic)
    if (partitions === undefined) throw new HarrierError('TOPIC_MISSING', `there is no topic ${topic}`, { remedy: 'give a .csv or .parquet file, or the name of a topic of the broker' })
    return partitions
  })
}
