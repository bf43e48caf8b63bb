import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { silentLogger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import { Fault } from '../codec/decode-fault.js'
import { EventColumns } from '../codec/event-columns.js'
import type { FieldSpec } from '../codec/field-spec.js'
import { GenericDecoder } from '../codec/generic-decoder.js'
import { RegistryClient } from '../codec/registry-client.js'
import { createSourceDecoder } from '../codec/source-decoder.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { RangeReader } from '../consumer/range-reader.js'
import type { Topology } from '../topology/load-topology.js'
import { topologyNames } from '../topology/names.js'
import { eventIdField, isFraudField, knownAtField } from '../topology/topology-schema.js'
import { CardPrecision } from './card-precision.js'
import { comparePaired, recommend, type PairedFigures, type Recommendation } from './paired-comparison.js'

const dayMs = 86_400_000
/** Labels that came at most so long after their event, in days; the last: all of them. */
const delaysDays = [1, 7, 30, Infinity]

export interface CompareOptions extends ClusterConnection {
  readonly topology: Topology
  readonly namespace?: string | undefined
  /** name@version of each: the one in force, and the candidate. */
  readonly models: readonly [string, string]
  readonly labelsTopic: string
  /** The newest scored events that are read, over all partitions. */
  readonly eventsMax: number
  /** An event without a label counts as genuine when it is so much older than the newest label; undefined: it is left out. */
  readonly matureMs?: number | undefined
  readonly alertsADay: number
  /** k of card precision. */
  readonly top: number
  readonly resamples: number
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly onProgress: (text: string) => void
}

/** The same as a task for a process of its own. Who connects by a file names it: secrets are not passed on. */
export interface CompareTask extends Pick<CompareOptions, 'namespace' | 'models' | 'labelsTopic' | 'eventsMax' | 'matureMs' | 'alertsADay' | 'top' | 'resamples'> {
  /** Name or file. */
  readonly topology: string
  readonly stage: string
  readonly connection: { readonly file: string } | Pick<ClusterConnection, 'brokers' | 'registryUrl' | 'connectMsMax'>
}

/** What `harrier models compare` does when nothing else is said. */
export const compareDefaults = { eventsMax: 500_000, alertsADay: 50, top: 100, resamples: 200 } as const

/** Where the labels of a topology are: its own topic, else `labels`. */
export function labelsTopicOf({ chain }: Topology, namespace: string | undefined, named?: string): string {
  const first = chain[0]!
  const prefix = namespace === undefined ? '' : `${namespace}.`
  if (named !== undefined) return `${prefix}${named}`
  return first.labels ? topologyNames(first, namespace).labels! : `${prefix}labels`
}

export interface DelayFigures {
  /** Null: all labels. */
  readonly withinDays: number | null
  readonly frauds: number
  readonly averagePrecision: PairedFigures['averagePrecision']
}

export interface ModelComparison {
  readonly models: readonly [string, string]
  /** Read from the topic; of those: scored by both; of those: with a label, or old enough to count as genuine. */
  readonly read: number
  readonly both: number
  readonly labelled: number
  readonly frauds: number
  readonly days: number
  readonly figures: PairedFigures
  /** Card precision@k of each. */
  readonly cardPrecision: readonly [number, number]
  readonly byDelay: readonly DelayFigures[]
  readonly recommendation: Recommendation
}

/** What was read of the scored topic. */
class ScoredPairs {
  readonly index = new Map<string, number>()
  readonly entities = new Map<string, number>()
  readonly a: number[] = []
  readonly b: number[] = []
  readonly entity: number[] = []
  readonly time: number[] = []
  read = 0
}

interface Label {
  fraud: boolean
  knownAt: number
}

/**
 * Compares two models on the events that both have scored in the stream, by the labels that have come so far. Bounded: the newest
 * `eventsMax` scored events, and the labels of those. Errors: those of the cluster; TOPIC_MISSING; USAGE where nothing can be compared.
 */
export async function compareLive(options: CompareOptions): Promise<ModelComparison> {
  const { topology, models, alertsADay, top, resamples, matureMs, clock, brokers, security, registryUrl, registrySecurity } = options
  const names = topologyNames(topology, options.namespace)
  const client = { brokers, security, clock, ...connectLimits(options) }
  const partitions = await withAdmin(client, (admin) => admin.partitionCounts([names.scored, options.labelsTopic]))
  for (const topic of [names.scored, options.labelsTopic]) {
    if (!partitions.has(topic)) throw new HarrierError('TOPIC_MISSING', `topic ${topic} is not on the broker`, { remedy: 'check --namespace, and --labels-topic for topologies that declare no labels' })
  }
  const registry = new RegistryClient(registryUrl, { clock, security: registrySecurity })
  const reader = new RangeReader({ ...client, groupId: names.group, logger: silentLogger })
  await reader.start()
  try {
    const pairs = await readScored(options, reader, new GenericDecoder(registry), names.scored, partitions.get(names.scored)!)
    if (pairs.a.length === 0) {
      const read = pairs.read.toLocaleString('en')
      throw new HarrierError('USAGE', `of ${read} scored events none has scores of both ${models.join(' and ')}`, { remedy: 'let one run beside the other: `harrier models shadow` or `canary`; `harrier tail scored` shows whose scores there are' })
    }
    const labels = await readLabels(options, reader, registry, pairs, partitions.get(options.labelsTopic)!)
    let newest = -Infinity
    for (const { knownAt } of labels.values()) newest = Math.max(newest, knownAt)
    const isKnown = (index: number): boolean => labels.has(index) || (matureMs !== undefined && pairs.time[index]! + matureMs <= newest)
    const kept = pairs.a.map((_, index) => index).filter(isKnown)
    const isFraud = (index: number): boolean => labels.get(index)?.fraud === true
    const frauds = kept.filter(isFraud).length
    const paired = (rows: readonly number[]): Parameters<typeof comparePaired>[0] => ({
      scores: [Float32Array.from(rows, (row) => pairs.a[row]!), Float32Array.from(rows, (row) => pairs.b[row]!)],
      fraud: Uint8Array.from(rows, (row) => (isFraud(row) ? 1 : 0)),
      entity: Int32Array.from(rows, (row) => pairs.entity[row]!),
      entities: pairs.entities.size,
      days,
    })
    const times = kept.map((row) => pairs.time[row]!)
    const days = Math.max(1, (times.reduce((a, b) => Math.max(a, b), -Infinity) - times.reduce((a, b) => Math.min(a, b), Infinity)) / dayMs)
    options.onProgress(`${kept.length.toLocaleString('en')} events with a label, ${resamples} resamples`)
    const how = { alertsADay, resamples, seed: 1 }
    const figures = comparePaired(paired(kept), how)
    const byDelay = delaysDays.map((within): DelayFigures => {
      const rows = kept.filter((row) => !isFraud(row) || labels.get(row)!.knownAt - pairs.time[row]! <= within * dayMs)
      return { withinDays: within === Infinity ? null : within, frauds: rows.filter(isFraud).length, averagePrecision: comparePaired(paired(rows), { ...how, resamples: Math.min(resamples, 100) }).averagePrecision }
    })
    const cardPrecision = ([pairs.a, pairs.b] as const).map((scores) => cardPrecisionOf(kept, scores, pairs, isFraud, top)) as [number, number]
    return { models, read: pairs.read, both: pairs.a.length, labelled: kept.length, frauds, days, figures, cardPrecision, byDelay, recommendation: recommend(figures, frauds, models) }
  } finally {
    await reader.close()
  }
}

interface ScoredValue {
  readonly event_id: string
  readonly entity: string
  readonly event_time: unknown
  readonly scores: readonly { readonly model: string; readonly score: number }[]
}

async function readScored({ models, eventsMax, signal, onProgress }: CompareOptions, reader: RangeReader, decoder: GenericDecoder, topic: string, partitions: number): Promise<ScoredPairs> {
  const pairs = new ScoredPairs()
  const take = async (columns: RecordColumns): Promise<void> => {
    for (let row = 0; row < columns.count; row++) {
      const { event_id: id, entity, event_time: time, scores } = (await decoder.decode(columns.value(row), signal)).value as ScoredValue
      pairs.read++
      const a = scores.find(({ model }) => model === models[0])?.score
      const b = scores.find(({ model }) => model === models[1])?.score
      if (a === undefined || b === undefined) continue
      let number = pairs.entities.get(entity)
      if (number === undefined) pairs.entities.set(entity, (number = pairs.entities.size))
      pairs.index.set(id, pairs.a.length)
      pairs.a.push(a)
      pairs.b.push(b)
      pairs.entity.push(number)
      pairs.time.push(Number(new Date(time as number)))
    }
    onProgress(`${pairs.read.toLocaleString('en')} scored events read`)
  }
  for (let partition = 0; partition < partitions; partition++) {
    const { low, stableEnd } = await reader.watermarks(topic, partition)
    await reader.readRange({ topic, partition, from: Math.max(low, stableEnd - Math.ceil(eventsMax / partitions)), to: 'stable-end' }, take, { signal })
  }
  signal.throwIfAborted()
  return pairs
}

/** Of each event the label that became known last. */
async function readLabels({ topology, labelsTopic, signal }: CompareOptions, reader: RangeReader, registry: RegistryClient, pairs: ScoredPairs, partitions: number): Promise<Map<number, Label>> {
  const { fields, readerSchema, format } = labelFields(topology)
  const decoder = createSourceDecoder({ format, fields, readerSchema, registry, recordBytesMax: topology.spec.limits.recordBytesMax })
  const column = (name: string): number => fields.findIndex((field) => field.name === name)
  const [id, isFraud, knownAt] = [column(eventIdField), column(isFraudField), column(knownAtField)]
  const labels = new Map<number, Label>()
  let events: EventColumns | undefined
  const take = async (columns: RecordColumns): Promise<void> => {
    if (!events || events.rowsMax < columns.count) events = new EventColumns(fields, columns.recordsMax)
    const loading = decoder.prepare(columns, 0, signal)
    if (loading) await loading
    decoder.decode(columns, events)
    for (let row = 0; row < columns.count; row++) {
      if (events.fault[row] !== Fault.none) continue
      const index = pairs.index.get(events.text(id!, row, columns.arena)!)
      if (index === undefined) continue
      const known = events.numbers[knownAt!]![row]!
      if (known >= (labels.get(index)?.knownAt ?? -Infinity)) labels.set(index, { fraud: events.numbers[isFraud!]![row] === 1, knownAt: known })
    }
  }
  for (let partition = 0; partition < partitions; partition++) await reader.readRange({ topic: labelsTopic, partition, from: 'earliest', to: 'stable-end' }, take, { signal })
  signal.throwIfAborted()
  return labels
}

/** As the topology declares its labels; where it declares none: the event's id where it stands in the event, `is_fraud` and `known_at`. */
function labelFields({ chain }: Topology): { fields: readonly FieldSpec[]; readerSchema: object | undefined; format: Topology['spec']['source']['format'] } {
  const { labels, fields, spec } = chain[0]!
  if (labels) return { fields: labels.fields, readerSchema: labels.readerSchema, format: labels.spec.format }
  const id = fields.find(({ name }) => name === eventIdField)!
  return { fields: [id, { name: isFraudField, path: isFraudField, type: 'boolean' }, { name: knownAtField, path: knownAtField, type: 'timestamp-millis' }], readerSchema: undefined, format: spec.source.format }
}

function cardPrecisionOf(rows: readonly number[], scores: readonly number[], { entity, time }: ScoredPairs, isFraud: (row: number) => boolean, top: number): number {
  const days = new Map<string, { day: number; card: string; score: number; isFraud: boolean }>()
  for (const row of rows) {
    const day = Math.floor(time[row]! / dayMs)
    const key = `${day} ${entity[row]}`
    const known = days.get(key)
    if (!known) days.set(key, { day, card: String(entity[row]), score: scores[row]!, isFraud: isFraud(row) })
    else {
      known.score = Math.max(known.score, scores[row]!)
      known.isFraud ||= isFraud(row)
    }
  }
  const precision = new CardPrecision(top)
  for (const each of [...days.values()].sort((x, y) => x.day - y.day || y.score - x.score)) precision.add(each)
  return precision.value()
}
