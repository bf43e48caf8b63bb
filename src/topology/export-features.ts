import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { RangeReader } from '../consumer/range-reader.js'
import { createScorer } from '../inference/create-scorer.js'
import type { Scorer } from '../inference/scorer.js'
import { ParquetTable, type TableColumn } from '../replay/parquet-table.js'
import { TableSource, labelColumns } from '../replay/table-source.js'
import { Disposition, type Batch } from './batch.js'
import { Forwarding } from './forwarding.js'
import { takeLabels } from './label-reader.js'
import { labelsOfRows } from './label-rows.js'
import type { Topology } from './load-topology.js'
import { openScorer } from './open-scorer.js'
import { Stage } from './stage.js'
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
 * One feature row for each event of a table or topic, by the same code that scores the stream: `Stage.fold`.
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
      const source = view.place > 0 ? view : asJson(view)
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

/** The first stage as it reads a table's rows, which come as JSON. */
function asJson(view: Topology): Topology {
  const { spec, labels } = view
  return {
    ...view,
    readerSchema: undefined,
    spec: { ...spec, source: { ...spec.source, format: 'json' } },
    labels: labels && { ...labels, readerSchema: undefined, spec: { ...labels.spec, format: 'json' } },
  }
}

/** A scorer without models, unless a later stage that is asked for reads the score. */
function scorerFor(view: Topology, { topology, models, clock, logger }: ExportOptions): Promise<Scorer> {
  const score = `${view.stageName}.score`
  const isRead = topology.chain.slice(view.place + 1, topology.place + 1).some(({ stage }) => stage.features.some((feature) => 'field' in feature && feature.field === score))
  if (isRead) return openScorer({ topology: view, models, workers: 0, clock, logger })
  return createScorer({
    features: view.stage.features.map(({ name }) => name),
    window: 0,
    models: [],
    device: 'cpu',
    workers: 0,
    clock,
    limits: { rowsMax: view.spec.limits.batchRecordsMax, framesMax: 1 },
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

/** What a table says about its rows, by record row of a batch. */
interface RowLabels {
  isFraud: (boolean | null)[]
  scenario: (number | null)[]
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

  write(batch: Batch, labels?: RowLabels): void {
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
    this.#result = { ...this.#result, rows: this.#result.rows + count, late: this.#result.late + batch.late.subarray(0, records.count).reduce((sum, late) => sum + late, 0) }
    this.refuse(batch)
  }
}

/** One task of each stage: what they pass on goes straight to the next, in the order of the table. */
async function foldTable(stages: readonly Stage[], table: TableSource, writer: RowWriter, { labelDelayMs, onProgress }: ExportOptions): Promise<void> {
  const links = stages.map((stage) => new Link(stage))
  let done = 0
  for await (const chunk of table.chunks()) {
    const { records } = links[0]!.batch
    for (let from = 0; from < chunk.documents.length; from += records.recordsMax) {
      const to = Math.min(chunk.documents.length, from + records.recordsMax)
      const labels = { isFraud: chunk.isFraud.slice(from, to), scenario: chunk.scenario.slice(from, to) }
      links[0]!.batch.reset()
      for (let i = from; i < to; i++) records.append(0, 0, done++, 0, Buffer.from(chunk.keys[i]!), Buffer.from(chunk.documents[i]!))
      await foldThrough(links, 0, labels, writer, labelDelayMs)
    }
    onProgress(done, table.rows)
  }
}

/** A stage on its one task, with the batch that goes through it. */
class Link {
  readonly stage: Stage
  readonly batch: Batch
  readonly forwarding: Forwarding | null
  offset = 0
  labelOffset = 0

  constructor(stage: Stage) {
    this.stage = stage
    stage.addTask(0)
    this.batch = stage.makeBatch({ restoring: true })
    this.batch.labelsTo!.fill(Infinity)
    this.forwarding = stage.topology.forward ? new Forwarding(stage.topology, 0, 1) : null
  }
}

async function foldThrough(links: readonly Link[], place: number, labels: RowLabels, writer: RowWriter, labelDelayMs: number): Promise<void> {
  const link = links[place]!
  const { stage, batch } = link
  const loading = stage.decoder.prepare(batch.records)
  if (loading) await loading
  stage.decode(batch)
  const queue = stage.tasks[0]!.labels
  if (queue) {
    const known = labelsOfRows(batch, stage.topology, { isFraud: labels.isFraud, delayMs: labelDelayMs, offset: link.labelOffset })
    if (known) queue.add(known)
    link.labelOffset += known?.records.count ?? 0
  }
  stage.fold(batch)
  if (stage.scorer.models.length > 0) await stage.score(batch)
  if (place === links.length - 1) writer.write(batch, labels)
  else await passOn(links, place, labels, writer, labelDelayMs)
  queue?.drop(queue.position)
  stage.finishRestored(batch)
}

/** What a folded batch passes to the next stage, and on from there. */
async function passOn(links: readonly Link[], place: number, labels: RowLabels, writer: RowWriter, labelDelayMs: number): Promise<void> {
  const { batch, forwarding } = links[place]!
  const next = links[place + 1]!
  const { outputs } = batch
  const ofRecord: RowLabels = { isFraud: [], scenario: [] }
  writer.refuse(batch)
  outputs.makeRoom(batch.records.count + batch.labels.length)
  for (let row = 0; row < batch.records.count; row++) {
    for (let i = 0; i < batch.labelCount[row]!; i++) forwarding!.label(batch, 0, batch.labels[batch.labelStart[row]! + i]!)
    if (batch.disposition[row] === Disposition.label) forwarding!.forwardedLabel(batch, 0, row)
    while (ofRecord.isFraud.length < outputs.count) push(ofRecord, null, null)
    if (batch.frameRow[row]! < 0) continue
    forwarding!.event(batch, 0, row)
    push(ofRecord, labels.isFraud[row]!, labels.scenario[row]!)
  }
  const { recordsMax } = next.batch.records
  for (let from = 0; from < outputs.count; from += recordsMax) {
    const to = Math.min(outputs.count, from + recordsMax)
    next.batch.reset()
    for (let row = from; row < to; row++) next.batch.records.offset[next.batch.records.copyRow(outputs, row)] = next.offset++
    await foldThrough(links, place + 1, { isFraud: ofRecord.isFraud.slice(from, to), scenario: ofRecord.scenario.slice(from, to) }, writer, labelDelayMs)
  }
}

function push({ isFraud, scenario }: RowLabels, fraud: boolean | null, number: number | null): void {
  isFraud.push(fraud)
  scenario.push(number)
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
          writer.write(batch)
          stage.finishRestored(batch)
          done += columns.count
        }, { onProgress: ({ position, to }) => onProgress(done, done + to - position) })
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
