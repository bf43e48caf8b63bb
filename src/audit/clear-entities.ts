import { RecordColumns } from '../base/record-columns.js'
import { EventColumns } from '../codec/event-columns.js'
import { Fault } from '../codec/decode-fault.js'
import { ForwardKind, forwardFields } from '../codec/forward-encoder.js'
import { createSourceDecoder } from '../codec/source-decoder.js'
import type { PrivacyKeys } from '../privacy/privacy-keys.js'
import { dayIdParts, isToken, tokenVersion } from '../privacy/token-text.js'
import { tokenOf } from '../privacy/tokeniser.js'
import type { Topology } from '../topology/load-topology.js'
import type { TopologyNames } from '../topology/names.js'
import { eventIdField } from '../topology/topology-schema.js'
import { findLineage } from './log-search.js'
import type { RecordLog } from './record-log.js'
import type { ScoredEvent } from './scored-event.js'
import { Unavailable } from './unavailable.js'

export interface ClearOptions {
  readonly log: RecordLog
  readonly view: Topology
  readonly names: TopologyNames
  readonly keys: PrivacyKeys | undefined
  readonly signal: AbortSignal
}

/** An event whose entity is a token, as the records of the input name it; or why that cannot be said, or does not fit. */
export type ClearEvent = { readonly event: ScoredEvent } | { readonly unavailable: string } | { readonly differs: string }

/**
 * Scored events of one task with the entity that stands behind their token: state, erasures and the fold go by it. The record of the
 * event names it, so no key is needed; where keys are at hand, the token is proven. A day that turned has no record: its entity is
 * looked for among those of the changelog, and that needs a key.
 */
export async function clearEvents(events: readonly ScoredEvent[], options: ClearOptions): Promise<Map<ScoredEvent, ClearEvent>> {
  const clear = new Map<ScoredEvent, ClearEvent>()
  const days: ScoredEvent[] = []
  const ofRecords: ScoredEvent[] = []
  for (const event of events) {
    if (options.view.personal?.entity !== true || !isToken(event.entity)) clear.set(event, { event })
    else (dayIdParts(event.eventId)?.entity === event.entity ? days : ofRecords).push(event)
  }
  if (ofRecords.length > 0) await fromRecords(ofRecords, clear, options)
  if (days.length > 0) await fromChangelog(days, clear, options)
  return clear
}

/** Ids under which an event may stand on the topic: of a day that turned also with the tokens of its entity. */
export function idsOnTopic(eventId: string, { chain }: Topology, keys: PrivacyKeys | undefined): string[] {
  const { personal, stage } = chain.at(-1)!
  const parts = dayIdParts(eventId)
  if (!personal?.entity || !parts || !keys || isToken(parts.entity)) return [eventId]
  return [eventId, ...keys.tokens.map((key) => `${tokenOf(key, personal.domains.get(stage.key)!, parts.entity)}${parts.date}`)]
}

async function fromRecords(events: readonly ScoredEvent[], clear: Map<ScoredEvent, ClearEvent>, { log, view, names, keys, signal }: ClearOptions): Promise<void> {
  const { partition, task } = events[0]!
  const sequences = events.map(({ sequence }) => sequence)
  const first = await findLineage(log, names.lineage, partition, task, Math.min(...sequences))
  const last = await findLineage(log, names.lineage, partition, task, Math.max(...sequences))
  const notKept: ClearEvent = { unavailable: `the record of the event, which names its entity, is not kept on ${names.input}/${partition}` }
  for (const event of events) clear.set(event, notKept)
  if (!first || !last) return
  const wanted = new Map(events.map((event) => [event.eventId, event]))
  const { fields, readerSchema, spec, stage, personal } = view
  const decoder = createSourceDecoder({ format: spec.source.format, fields, readerSchema, registry: log, recordBytesMax: spec.limits.recordBytesMax })
  const kind = fields.findIndex(({ name }) => name === forwardFields.kind)
  const read = log.read({ topic: names.input, partition, from: first.record.inputs[0]!.from, to: last.record.inputs[0]!.to }, async (columns) => {
    const records = new RecordColumns(columns.count)
    for (let row = 0; row < columns.count; row++) records.copyRow(columns, row)
    const decoded = new EventColumns(fields, columns.count)
    await decoder.prepare(records)
    decoder.decode(records, decoded)
    const id = decoded.index(eventIdField)
    const key = decoded.index(stage.key)
    for (let row = 0; row < records.count; row++) {
      if (decoded.fault[row] !== Fault.none || (kind >= 0 && decoded.numbers[kind]![row] !== ForwardKind.event)) continue
      const event = wanted.get(decoded.text(id, row, records.arena) ?? '')
      if (!event) continue
      const entity = decoded.text(key, row, records.arena)!
      const own = keys?.tokens.find(({ version }) => version === tokenVersion(event.entity))
      const isProven = !own || tokenOf(own, personal!.domains.get(stage.key)!, entity) === event.entity
      clear.set(event, isProven ? { event: { ...event, entity } } : { differs: `the token of the entity is not the one that key ${own!.version} (${own!.id}) gives` })
    }
  }, signal)
  await read.catch((error: unknown) => {
    if (!(error instanceof Unavailable)) throw error
  })
}

async function fromChangelog(events: readonly ScoredEvent[], clear: Map<ScoredEvent, ClearEvent>, { log, view, names, keys, signal }: ClearOptions): Promise<void> {
  const { partition } = events[0]!
  const needed = new Set(events.map(({ entity }) => tokenVersion(entity)!))
  const found = new Map<string, string>()
  const own = keys?.tokens.filter(({ version }) => needed.has(version)) ?? []
  const domain = view.personal!.domains.get(view.stage.key)!
  const wanted = new Set(events.map(({ entity }) => entity))
  const bounds = own.length > 0 ? await log.bounds(names.state, partition) : undefined
  if (bounds && bounds.to > bounds.from) {
    const looked = new Set<string>()
    await log.read({ topic: names.state, partition, ...bounds }, (columns) => {
      for (let row = 0; row < columns.count; row++) {
        const entity = Buffer.from(columns.key(row) ?? []).toString()
        if (looked.has(entity)) continue
        looked.add(entity)
        for (const key of own) {
          const token = tokenOf(key, domain, entity)
          if (wanted.has(token)) found.set(token, entity)
        }
      }
    }, signal)
  }
  for (const event of events) {
    const entity = found.get(event.entity)
    const why = own.length === 0 ? `the entity of a day that turned is a token under key ${tokenVersion(event.entity)}: give --privacy-keys with that key` : `no entity of ${names.state}/${partition} has this token`
    clear.set(event, entity === undefined ? { unavailable: why } : { event: { ...event, entity, eventId: `${entity}${dayIdParts(event.eventId)!.date}` } })
  }
}
