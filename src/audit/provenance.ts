import { HarrierError } from '../base/errors.js'
import { RecordColumns } from '../base/record-columns.js'
import { EventColumns } from '../codec/event-columns.js'
import type { LineageRecord } from '../codec/lineage-codec.js'
import { forwardFields } from '../codec/forward-encoder.js'
import { createSourceDecoder } from '../codec/source-decoder.js'
import { dayMs, dayText, turnsDays } from '../topology/day-calendar.js'
import type { Topology } from '../topology/load-topology.js'
import { topologyNames, type TopologyNames } from '../topology/names.js'
import { eventIdField } from '../topology/topology-schema.js'
import type { Release } from '../registry/release.js'
import { releaseIn } from './log-releases.js'
import { findLineage } from './log-search.js'
import type { ModelFiles } from './model-files.js'
import type { RecordLog } from './record-log.js'
import type { ScoredEvent } from './scored-event.js'

/** Where a score comes from, as far as it is kept. */
export interface Provenance {
  readonly event: ScoredEvent
  readonly lineage: LineageRecord
  readonly lineageOffset: number
  /** The record of the event itself; undefined where it is not kept any more. `day`: a day that turned has none. */
  readonly input: { readonly topic: string; readonly partition: number; readonly offset: number } | 'day' | undefined
  readonly models: readonly ModelInForce[]
  /** Who put them in force, when and why; null: nobody, the topology names them. Undefined: the ledger is not kept, or not for us to read. */
  readonly release: Release | null | undefined
  /** Whether the topology at hand has the digests of that time. */
  readonly topology: { readonly file: string; readonly sameFeatures: boolean; readonly samePolicy: boolean; readonly sameLayout: boolean }
}

export interface ModelInForce {
  readonly role: string
  readonly model: string
  readonly sha256: string
  readonly device: string
  readonly failure: string | null
  /** The file with this sha256 here; undefined: it is nowhere where it was looked for. */
  readonly file: string | undefined
}

/** The stage whose task made a scored event. Errors: USAGE when the topology at hand has no such stage. */
export function stageOfTask(topology: Topology, task: string): Topology {
  const view = topology.chain.find((each) => task.startsWith(`${each.name}/${each.stageName}/`) || task.startsWith(`${each.name}/${each.stageName}.`))
  if (!view) throw new HarrierError('USAGE', `the event was scored by task ${task}, which is none of ${topology.name}`, { remedy: 'give the --topology that scored it' })
  return view
}

/** From a scored event to everything that made it. Errors: NOT_FOUND where the lineage does not reach back so far. */
export async function provenanceOf(log: RecordLog, event: ScoredEvent, topology: Topology, namespace: string | undefined, models: ModelFiles): Promise<Provenance> {
  const view = stageOfTask(topology, event.task)
  const names = topologyNames(view, namespace)
  const found = await findLineage(log, names.lineage, event.partition, event.task, event.sequence)
  if (!found) {
    throw new HarrierError('NOT_FOUND', `the lineage record ${event.task}#${event.sequence} of event ${event.eventId} is not on ${names.lineage}/${event.partition}`, {
      remedy: 'it may be in an archive (--archive); the lineage topic should keep its records: retention.ms -1',
    })
  }
  const { record: lineage, offset: lineageOffset } = found
  return {
    event,
    lineage,
    lineageOffset,
    input: isDay(event, view) ? 'day' : await inputOf(log, event, lineage, view, names),
    models: await Promise.all(lineage.models.map(async (model) => ({ ...model, file: (await models.find(model))?.file }))),
    release: lineage.release === 0 ? null : await releaseIn(log, names.releaseTopics.releases, { topology: view.name, stage: view.stageName }, lineage.release),
    topology: {
      file: view.file,
      sameFeatures: view.digests.features === lineage.digests.features,
      samePolicy: view.digests.policy === lineage.digests.policy,
      sameLayout: view.digests.layout === lineage.digests.layout,
    },
  }
}

/** Whether it is the score of a day: those are named by entity and date. */
function isDay({ eventId, entity, eventTimeMs }: ScoredEvent, { stage }: Topology): boolean {
  return turnsDays(stage) && eventId === `${entity}@${Buffer.from(dayText(Math.floor(eventTimeMs / dayMs))).toString()}`
}

/** The record of the batch that has the event's id. */
async function inputOf(log: RecordLog, { eventId }: ScoredEvent, { inputs }: LineageRecord, view: Topology, names: TopologyNames): Promise<Provenance['input']> {
  const { partition, from, to } = inputs[0]!
  const { input: topic } = names
  const bounds = await log.bounds(topic, partition)
  if (!bounds || bounds.from > from || from === to) return undefined
  const { fields, readerSchema, spec } = view
  const decoder = createSourceDecoder({ format: spec.source.format, fields, readerSchema, registry: log, recordBytesMax: spec.limits.recordBytesMax })
  const id = fields.findIndex(({ name }) => name === eventIdField)
  const kind = fields.findIndex(({ name }) => name === forwardFields.kind)
  let found: { topic: string; partition: number; offset: number } | undefined
  await log.read({ topic, partition, from, to }, async (columns) => {
    const records = new RecordColumns(columns.count)
    for (let row = 0; row < columns.count; row++) records.copyRow(columns, row)
    const events = new EventColumns(fields, columns.count)
    const loading = decoder.prepare(records)
    if (loading) await loading
    decoder.decode(records, events)
    for (let row = 0; row < records.count; row++) {
      const isEvent = events.fault[row] === 0 && (kind < 0 || events.numbers[kind]![row] === 0)
      if (isEvent && events.text(id, row, records.arena) === eventId) found = { topic, partition, offset: records.offset[row]! }
    }
  })
  return found
}
