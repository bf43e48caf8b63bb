import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { RegistryClient } from '../codec/registry-client.js'
import type { ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { RangeReader } from '../consumer/range-reader.js'
import { createScorer } from '../inference/create-scorer.js'
import { ParquetTable, type TableColumn } from '../replay/parquet-table.js'
import { TableSource, labelColumns } from '../replay/table-source.js'
import type { Batch } from './batch.js'
import type { Topology } from './load-topology.js'
import { Stage } from './stage.js'
import { eventIdField, eventTimeField } from './topology-schema.js'

export interface ExportOptions {
  readonly topology: Topology
  /** A .csv or .parquet file, or the name of a topic. */
  readonly from: string
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
 * One feature row for each event of a table or topic, by the same code that scores the stream: `Stage.fold`.
 * Columns: event_id, entity, event_time (ms since 1970), one float32 for each feature, and labels where the table has them.
 */
export async function exportFeatures(options: ExportOptions): Promise<ExportResult> {
  const { topology, clock, logger } = options
  const { stage: spec, fields } = topology
  const scorer = await createScorer({
    features: spec.features.map((feature) => feature.name),
    window: 0,
    models: [],
    device: 'cpu',
    workers: 0,
    clock,
    limits: { rowsMax: topology.spec.limits.batchRecordsMax, framesMax: 1 },
  })
  const table = isTable(options.from)
    ? await TableSource.open({ file: options.from, fields, keyField: spec.key, eventTimeField, epochMs: options.epochMs, columns: options.columns })
    : undefined
  const labelled = table?.labelled ?? false
  const registry = options.connections && !table ? new RegistryClient(options.connections.registryUrl, { clock, logger, security: options.connections.registrySecurity }) : undefined
  const source: Topology = table ? { ...topology, spec: { ...topology.spec, source: { ...topology.spec.source, format: 'json' } } } : topology
  const stage = new Stage(source, scorer, registry)
  const writer = new RowWriter(stage, labelled, await ParquetTable.open(options.out, columnsFor(topology, labelled)))
  try {
    if (table) await foldTable(stage, table, writer, options)
    else await foldTopic(stage, writer, options)
    await writer.close()
  } catch (error) {
    await writer.discard()
    throw error
  } finally {
    table?.close()
    await scorer.close()
  }
  return writer.result
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
  result: ExportResult = { rows: 0, refused: 0, late: 0, firstRefusal: undefined }
  readonly #stage: Stage
  readonly #labelled: boolean
  readonly #table: ParquetTable

  constructor(stage: Stage, labelled: boolean, table: ParquetTable) {
    this.#stage = stage
    this.#labelled = labelled
    this.#table = table
  }

  /** `labels[row]` belongs to record row `row` of the batch. */
  write(batch: Batch, labels?: { isFraud: readonly (boolean | null)[]; scenario: readonly (number | null)[] }): void {
    const { frame, events, records } = batch
    const count = frame!.count
    const features = this.#stage.topology.stage.features.length
    const idColumn = events.index(eventIdField)
    const keyColumn = events.index(this.#stage.topology.stage.key)
    const rows = Array.from({ length: count }, (_, at) => batch.recordRow[at]!)
    const columns: ArrayLike<number | string | boolean | null>[] = [
      rows.map((row) => events.text(idColumn, row, records.arena)),
      rows.map((row) => events.text(keyColumn, row, records.arena)),
      frame!.eventTime.subarray(0, count),
    ]
    for (let f = 0; f < features; f++) columns.push(Float32Array.from({ length: count }, (_, at) => frame!.rows[at * features + f]!))
    if (this.#labelled) columns.push(rows.map((row) => labels!.isFraud[row]!), rows.map((row) => labels!.scenario[row]!))
    this.#table.write(columns, count)
    const refused = records.count - count
    this.result = {
      rows: this.result.rows + count,
      refused: this.result.refused + refused,
      late: this.result.late + batch.parts.reduce((sum, part) => sum + part.late, 0),
      firstRefusal: this.result.firstRefusal ?? [...batch.causes.values()][0]?.message,
    }
  }

  close(): Promise<void> {
    return this.#table.close()
  }

  discard(): Promise<void> {
    return this.#table.discard()
  }
}

async function foldTable(stage: Stage, table: TableSource, writer: RowWriter, { onProgress }: ExportOptions): Promise<void> {
  stage.addTask(0)
  const batch = stage.makeBatch({ restoring: true })
  let offset = 0
  for await (const chunk of table.chunks()) {
    for (let from = 0; from < chunk.documents.length; from += batch.records.recordsMax) {
      const to = Math.min(chunk.documents.length, from + batch.records.recordsMax)
      batch.reset()
      for (let i = from; i < to; i++) batch.records.append(0, 0, offset++, 0, Buffer.from(chunk.keys[i]!), Buffer.from(chunk.documents[i]!))
      stage.fold(batch)
      writer.write(batch, { isFraud: chunk.isFraud.slice(from, to), scenario: chunk.scenario.slice(from, to) })
      stage.finishRestored(batch)
    }
    onProgress(offset, table.rows)
  }
}

async function foldTopic(stage: Stage, writer: RowWriter, { from, connections, clock, logger, onProgress }: ExportOptions): Promise<void> {
  if (!connections) throw new HarrierError('USAGE', `"${from}" is a topic, and no brokers are known`, { remedy: 'give --connection, or --brokers and --registry, or a .csv or .parquet file' })
  const reader = new RangeReader({ brokers: connections.brokers, security: connections.security, clock, logger })
  await reader.start()
  const batch = stage.makeBatch({ restoring: true })
  try {
    const partitions = await partitionsOf(from, connections, clock)
    let done = 0
    for (let partition = 0; partition < partitions; partition++) {
      stage.addTask(partition)
      await reader.readRange({ topic: from, partition, from: 'earliest', to: 'stable-end' }, async (columns) => {
        batch.reset()
        for (let row = 0; row < columns.count; row++) batch.records.copyRow(columns, row)
        const loading = stage.decoder.prepare(batch.records)
        if (loading) await loading
        stage.fold(batch)
        writer.write(batch)
        stage.finishRestored(batch)
        done += columns.count
      }, { onProgress: ({ position, to }) => onProgress(done, done + to - position) })
      stage.dropTask(partition)
    }
  } finally {
    await reader.close()
  }
}

function partitionsOf(topic: string, { brokers, security }: ClusterConnection, clock: Clock): Promise<number> {
  return withAdmin({ brokers, security, clock }, async (admin) => {
    const partitions = (await admin.partitionCounts([topic])).get(topic)
    if (partitions === undefined) throw new HarrierError('TOPIC_MISSING', `there is no topic ${topic}`, { remedy: 'give a .csv or .parquet file, or the name of a topic of the broker' })
    return partitions
  })
}
