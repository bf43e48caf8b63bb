import type { RecordColumns } from '../base/record-columns.js'
import { decodeLineage, type LineageRecord } from '../codec/lineage-codec.js'
import { GenericDecoder } from '../codec/generic-decoder.js'
import { RegistryClient } from '../codec/registry-client.js'
import { schemaIdOf } from '../codec/registry-prefix.js'
import { connectLimits } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import type { RangeReader } from '../consumer/range-reader.js'
import type { ScorerModel } from '../inference/scorer.js'
import { quotedName, quotedText } from '../replay/column-appender.js'
import { labelsToOf } from '../topology/task-lineage.js'
import { HarrierError } from '../base/errors.js'
import type { BacktestOptions } from './backtest-options.js'
import { openReader } from './event-sources.js'
import type { RecordedBatch } from './label-topic.js'
import type { ScoreTable } from './score-table.js'

export interface LiveModelComparison {
  readonly model: string
  /** Scores of events that both have. */
  readonly compared: number
  readonly equal: number
  readonly largestDifference: number
  /**
   * Live scores that are not compared: after a release a recurrent version began anew from the ring, and this run carries its states from
   * the first event on.
   */
  readonly begunAnew: number
  /** Whether scores of this version are on the topic at all. */
  readonly isLive: boolean
}

export interface LiveComparison {
  readonly topic: string
  readonly liveEvents: number
  /** Events of the measured range that are not on the topic. */
  readonly missing: number
  /** Decisions of both, where the same model decided. */
  readonly decisions: { readonly compared: number; readonly equal: number }
  readonly models: readonly LiveModelComparison[]
  /** True when every score that could be compared has the same bits, and there was one. */
  readonly isEqual: boolean
  /** Device classes of the batches, as the lineage has them. */
  readonly deviceClasses: readonly string[]
}

/** What the lineage says of a recorded run. Where batches of the first stage ended: by partition, in the order of offsets. */
export interface RecordedRun {
  readonly batches: ReadonlyMap<number, readonly RecordedBatch[]>
  readonly deviceClasses: readonly string[]
  /** First batch of a task in which a model was not in force, or by another epoch than in the task's first batch; by `task model`. */
  readonly brokenAt: ReadonlyMap<string, number>
}

/** What an epoch was in the first batch of a task; where a model was not in force then, it is broken from there on. */
class Continuity {
  readonly brokenAt = new Map<string, number>()
  readonly #first = new Map<string, ReadonlyMap<string, number>>()

  add({ task, sequence, models }: Pick<LineageRecord, 'task' | 'sequence' | 'models'>): void {
    const epochs = new Map(models.map(({ model, epoch }) => [model, epoch]))
    const first = this.#first.get(task) ?? epochs
    this.#first.set(task, first)
    for (const [model, epoch] of new Map([...epochs, ...first])) {
      const isWhole = first.get(model) === epoch && epochs.get(model) === epoch
      if (!isWhole && !this.brokenAt.has(`${task} ${model}`)) this.brokenAt.set(`${task} ${model}`, sequence)
    }
  }
}

/** The lineage of a recorded run: its first stage's batches, and which models of its last stage were in force without a break. */
export async function readRecordedRun(options: BacktestOptions): Promise<RecordedRun> {
  const { compareWith, topology, signal } = options
  const batches = new Map<number, RecordedBatch[]>()
  const deviceClasses = new Set<string>()
  const { reader, registry, partitions } = await openTopic(options, compareWith!.lineage)
  const stageName = `${topology.name}/${topology.stageName}`
  const lastName = `${topology.name}/${topology.chain.at(-1)!.stageName}`
  const continuity = new Continuity()
  try {
    for (let partition = 0; partition < partitions; partition++) {
      await reader.readRange({ topic: compareWith!.lineage, partition, from: 'earliest', to: 'settled-end' }, async (columns) => {
        for (let row = 0; row < columns.count; row++) {
          const value = columns.value(row)
          if (!value) continue
          const id = schemaIdOf(value)
          const record = decodeLineage(value, id === undefined ? undefined : await registry.schemaById(id))
          const { task, inputs, engine, silent } = record
          if (!silent && isOfStage(task, lastName)) continuity.add(record)
          if (silent || !isOfStage(task, stageName)) continue
          const { partition: own, to } = inputs[0]!
          const list = batches.get(own) ?? []
          batches.set(own, list)
          list.push({ to, labelsTo: labelsToOf({ inputs }) })
          deviceClasses.add(engine.device_class)
        }
      }, { signal })
      signal.throwIfAborted()
    }
  } finally {
    await reader.close()
  }
  return { batches, deviceClasses: [...deviceClasses], brokenAt: continuity.brokenAt }
}

/** Tasks are topology/stage/partition, or topology/stage.generation/partition. */
function isOfStage(task: string, stage: string): boolean {
  return task.startsWith(`${stage}/`) || task.startsWith(`${stage}.`)
}

/** Reads the scored topic into a table, and compares it with `scores.parquet` event by event and bit by bit. */
export async function compareWithLive(table: ScoreTable, file: string, models: readonly Pick<ScorerModel, 'reference' | 'kind'>[], { deviceClasses, brokenAt }: RecordedRun, options: BacktestOptions): Promise<LiveComparison> {
  const topic = options.compareWith!.scored
  const scores = await table.create('live', [
    { name: 'event_id', type: 'text' },
    { name: 'decision', type: 'text' },
    { name: 'decided_by', type: 'text' },
    ...models.flatMap((_, index) => [{ name: `l${index}`, type: 'float' as const }, { name: `anew${index}`, type: 'boolean' as const }]),
  ])
  const { reader, registry, partitions } = await openTopic(options, topic)
  const decoder = new GenericDecoder(registry)
  let liveEvents = 0
  try {
    const take = async (columns: RecordColumns): Promise<void> => {
      const rows: LiveRow[] = []
      for (let row = 0; row < columns.count; row++) {
        const { value } = await decoder.decode(columns.value(row), options.signal)
        if (isScored(value)) rows.push(value)
      }
      liveEvents += rows.length
      const scoreOf = (row: LiveRow, model: string): number | null => row.scores.find((each) => each.model === model)?.score ?? null
      const isAnew = ({ lineage: { task, sequence } }: LiveRow, model: string): boolean => sequence >= (brokenAt.get(`${task} ${model}`) ?? Infinity)
      const byModel = models.flatMap(({ reference, kind }) => [rows.map((row) => scoreOf(row, reference)), rows.map((row) => kind === 'recurrent' && isAnew(row, reference))])
      scores.write([rows.map((row) => row.event_id), rows.map((row) => row.decision), rows.map((row) => row.model), ...byModel], rows.length)
      options.onProgress(`comparing with ${topic}: ${liveEvents.toLocaleString('en')} scored events`, 'tick')
    }
    for (let partition = 0; partition < partitions; partition++) await reader.readRange({ topic, partition, from: 'earliest', to: 'stable-end' }, take, { signal: options.signal })
  } finally {
    await reader.close()
  }
  options.signal.throwIfAborted()
  scores.close()
  const joined = `read_parquet(${quotedText(file)}) s JOIN live l USING (event_id)`
  const compared: LiveModelComparison[] = []
  for (const [index, { reference: model }] of models.entries()) {
    const ours = `s.${quotedName(model)}`
    const shared = `l.l${index} IS NOT NULL AND isfinite(${ours})`
    const both = `${shared} AND NOT l.anew${index}`
    const [row] = await table.all(`SELECT count(*) FILTER (${both}) AS compared, count(*) FILTER (${both} AND l.l${index} = ${ours}) AS equal,
      coalesce(max(abs(l.l${index}::DOUBLE - ${ours}::DOUBLE)) FILTER (${both}), 0)::DOUBLE AS largest, count(*) FILTER (${shared} AND l.anew${index}) AS anew, count(l.l${index}) AS live FROM ${joined}`)
    compared.push({ model, compared: Number(row!.compared), equal: Number(row!.equal), largestDifference: Number(row!.largest), begunAnew: Number(row!.anew), isLive: Number(row!.live) > 0 })
  }
  const [missing] = await table.all(`SELECT count(*) AS missing FROM read_parquet(${quotedText(file)}) s ANTI JOIN live l USING (event_id)`)
  const [decisions] = await table.all(`SELECT count(*) FILTER (s.decided_by = l.decided_by) AS compared, count(*) FILTER (s.decided_by = l.decided_by AND s.decision = l.decision) AS equal FROM ${joined}`)
  const live = compared.filter(({ isLive }) => isLive)
  return {
    topic,
    liveEvents,
    missing: Number(missing!.missing),
    decisions: { compared: Number(decisions!.compared), equal: Number(decisions!.equal) },
    models: compared,
    isEqual: live.some((each) => each.compared > 0) && live.every((each) => each.equal === each.compared),
    deviceClasses,
  }
}

interface LiveRow {
  readonly event_id: string
  readonly decision: string
  readonly model: string
  readonly scores: readonly { readonly model: string; readonly score: number }[]
  readonly lineage: { readonly task: string; readonly sequence: number }
}

function isScored(value: unknown): value is LiveRow {
  return typeof value === 'object' && value !== null && 'event_id' in value && 'scores' in value
}

async function openTopic(options: BacktestOptions, topic: string): Promise<{ reader: RangeReader; registry: RegistryClient; partitions: number }> {
  const { connections, clock, logger } = options
  const reader = await openReader(options)
  const { brokers, security, connectMsMax, registryUrl, registrySecurity } = connections!
  const partitions = await withAdmin({ brokers, security, clock, ...connectLimits({ connectMsMax }) }, async (admin) => (await admin.partitionCounts([topic])).get(topic))
  if (partitions === undefined) {
    await reader.close()
    throw new HarrierError('TOPIC_MISSING', `there is no topic ${topic} to compare with`, { remedy: 'name it with --compare-with, or give the --namespace of the run' })
  }
  return { reader, registry: new RegistryClient(registryUrl, { clock, logger, security: registrySecurity }), partitions }
}
