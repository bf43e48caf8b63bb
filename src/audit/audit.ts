import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf, type ErrorCode } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { DevicePolicy } from '../inference/device.js'
import type { PrivacyKeys } from '../privacy/privacy-keys.js'
import { isForgetRecord } from '../topology/control-record.js'
import type { Topology } from '../topology/load-topology.js'
import { topologyNames, type TopologyNames } from '../topology/names.js'
import { clearEvents } from './clear-entities.js'
import { otherCopy, verdictOfCopy } from './early-copies.js'
import { findLineage, type LineagePlace } from './log-search.js'
import type { ModelFiles } from './model-files.js'
import { stageOfTask } from './provenance.js'
import type { RecordLog } from './record-log.js'
import type { ScoredEvent } from './scored-event.js'
import { findSnapshots, type Snapshot } from './state-snapshots.js'
import { TaskReplay, type ReplayedScore } from './task-replay.js'
import { Unavailable } from './unavailable.js'
import { verdictOf, type Verdict } from './verdict.js'

export interface AuditOptions {
  readonly log: RecordLog
  readonly topology: Topology
  /** The topology with this digest, where an archive has it. */
  readonly topologyOf: (digest: string) => Promise<Topology | undefined>
  readonly namespace: string | undefined
  readonly models: ModelFiles
  readonly device: DevicePolicy
  /** Prove tokens, and find the entities of days that turned. */
  readonly privacyKeys?: PrivacyKeys | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly signal: AbortSignal
  readonly onProgress: (text: string) => void
}

/** What an audit found out about one scored event. */
export interface Audited {
  readonly event: ScoredEvent
  readonly verdict: Verdict
  /** The score as it was computed again, where it was. */
  readonly replayed: ReplayedScore | undefined
  /** From where state was rebuilt, in words. */
  readonly basis: string | undefined
  /** The batch that it names has no such event. */
  readonly isAbsent?: true
}

/**
 * Computes scores again and compares them to the bit. Events of one task are computed in one pass. Whatever is missing makes
 * a score unavailable, with the reason; nothing is guessed.
 */
export async function auditEvents(events: readonly ScoredEvent[], options: AuditOptions): Promise<Audited[]> {
  const audited = await auditEach(events, options)
  for (const [index, each] of audited.entries()) if (each.isAbsent) audited[index] = await auditCopy(each, options)
  return audited
}

async function auditEach(events: readonly ScoredEvent[], options: AuditOptions): Promise<Audited[]> {
  const byTask = new Map<string, ScoredEvent[]>()
  for (const event of events) byTask.set(event.task, [...(byTask.get(event.task) ?? []), event])
  const audited = new Map<ScoredEvent, Audited>()
  for (const [task, own] of byTask) {
    for (const each of await auditTask(task, own, options)) audited.set(each.event, each)
  }
  return events.map((event) => audited.get(event)!)
}

/** The batch that it names does not hold it: it was tampered with, or is a copy of one that another batch holds. */
async function auditCopy(audited: Audited, options: AuditOptions): Promise<Audited> {
  const { event } = audited
  const { log, topology, namespace, signal } = options
  const counts = await otherCopy(log, topologyNames(stageOfTask(topology, event.task), namespace).scored, event, signal)
  if (!counts) return audited
  const [other] = await auditEach([counts], options)
  return { ...other!, event, verdict: verdictOfCopy(event, counts, other!.verdict), basis: other!.basis && `${other!.basis}; a copy of offset ${counts.offset}, which counts` }
}

/** Events as they are on the topic: where their entity is a token, they are computed again under what stands behind it. */
async function auditTask(task: string, events: readonly ScoredEvent[], options: AuditOptions): Promise<Audited[]> {
  const { log, topology, namespace, privacyKeys, signal } = options
  const view = stageOfTask(topology, task)
  const clear = await clearEvents(events, { log, view, names: topologyNames(view, namespace), keys: privacyKeys, signal })
  const open = [...clear.values()].flatMap((found) => ('event' in found ? [found.event] : []))
  const audited = new Map((open.length > 0 ? await auditClear(task, open, options) : []).map((each) => [each.event, each]))
  return events.map((event) => {
    const found = clear.get(event)!
    if ('event' in found) return { ...withoutEntity(audited.get(found.event)!, found.event.entity, event.entity), event }
    const verdict: Verdict = 'differs' in found ? { kind: 'differs', what: [found.differs] } : { kind: 'unavailable', why: found.unavailable }
    return { event, verdict, replayed: undefined, basis: undefined }
  })
}

/** What differs names the event, and with it the entity of a day that turned: there, too, stands the token. */
function withoutEntity(audited: Audited, entity: string, token: string): Audited {
  const { verdict } = audited
  return verdict.kind === 'differs' ? { ...audited, verdict: { kind: 'differs', what: verdict.what.map((text) => text.replaceAll(entity, token)) } } : audited
}

async function auditClear(task: string, events: readonly ScoredEvent[], options: AuditOptions): Promise<Audited[]> {
  const { log, topology, topologyOf, namespace, onProgress, signal } = options
  let view = stageOfTask(topology, task)
  const names = topologyNames(view, namespace)
  const { partition } = events[0]!
  const settled = new Map<ScoredEvent, Audited>()
  const settle = (event: ScoredEvent, verdict: Verdict): void => void settled.set(event, { event, verdict, replayed: undefined, basis: undefined })
  const unavailable = (event: ScoredEvent, why: string): void => settle(event, { kind: 'unavailable', why })
  const open = (): ScoredEvent[] => events.filter((event) => !settled.has(event))
  const first = events.reduce((a, b) => (b.sequence < a.sequence ? b : a))
  const last = events.reduce((a, b) => (b.sequence > a.sequence ? b : a))
  try {
    const lastPlace = await placeOf(log, names, partition, task, last.sequence)
    const then = view.digests.topology === lastPlace.record.digests.topology ? undefined : await topologyOf(lastPlace.record.digests.topology)
    if (then) view = stageOfTask(then, task)
    for (const problem of mismatches(lastPlace, view, names, task, partition)) throw new Unavailable(problem)
    onProgress('looking for erasures')
    const erased = await erasedEntities(log, names, partition, events, lastPlace, signal)
    for (const event of events) if (erased.has(event.entity)) settle(event, { kind: 'erased' })
    if (open().length === 0) return events.map((event) => settled.get(event)!)
    const { start, snapshots, basis, without } = await startOf(log, names, task, partition, first.sequence, open(), options)
    for (const event of open()) if (without.has(event.entity)) unavailable(event, `${names.input}/${partition} does not reach back to the first batch of ${task}, and no snapshot of the entity's state from before the event is kept`)
    const targets = new Map(open().map((event) => [event.eventId, event]))
    const replay = new TaskReplay({
      ...options, view, partition,
      entities: new Set(open().map(({ entity }) => entity)),
      targets,
      detailed: events.length === 1,
      onScored: (replayed) => settled.set(replayed.event, { event: replayed.event, verdict: verdictOf(replayed), replayed, basis }),
      onProgress: (done, of) => onProgress(`${task}: ${done.toLocaleString('en')} of ${of.toLocaleString('en')} batches folded again`),
    }, (await log.partitions(names.input)) ?? partition + 1)
    if (targets.size > 0) await replay.run(start, lastPlace, snapshots)
    for (const event of open()) {
      const verdict: Verdict = { kind: 'differs', what: [`batch ${event.sequence} of ${task} has no event ${event.eventId} that is scored`] }
      settled.set(event, { event, verdict, replayed: undefined, basis: undefined, isAbsent: true })
    }
  } catch (error) {
    if (!isUnavailable(error)) throw error
    for (const event of open()) unavailable(event, messageOf(error))
  }
  return events.map((event) => settled.get(event)!)
}

/** What the log cannot give: not a fault of ours, nor a sign of tampering. */
const unavailableCodes: readonly ErrorCode[] = ['EVIDENCE_UNAVAILABLE', 'RESTORE_IMPOSSIBLE', 'LAYOUT_CHANGED', 'MODEL_INVALID']

function isUnavailable(error: unknown): boolean {
  return error instanceof HarrierError && unavailableCodes.includes(error.code)
}

async function placeOf(log: RecordLog, names: TopologyNames, partition: number, task: string, sequence: number): Promise<LineagePlace> {
  const place = await findLineage(log, names.lineage, partition, task, sequence)
  if (place) return place
  throw new Unavailable(`the lineage record ${task}#${sequence} is not kept on ${names.lineage}/${partition}`)
}

/** The topology at hand must fold as the one of that time did. */
function mismatches({ record }: LineagePlace, view: Topology, names: TopologyNames, task: string, partition: number): string[] {
  if (topologyNames(view, undefined).task(partition) !== task && names.task(partition) !== task) return [`${task} is of another state generation than ${view.file}: give the topology of that time`]
  if (record.digests.layout !== view.digests.layout) return [`windows or features of ${view.file} are not those of that time (layout ${record.digests.layout.slice(0, 12)}, now ${view.digests.layout.slice(0, 12)}): give the topology of that time`]
  return []
}

/** Entities with an erasure after the last of the events: state and scores of them are not computed any more. */
async function erasedEntities(log: RecordLog, names: TopologyNames, partition: number, events: readonly ScoredEvent[], { record }: LineagePlace, signal: AbortSignal): Promise<Set<string>> {
  const entities = new Set(events.map(({ entity }) => entity))
  const erased = new Set<string>()
  const bounds = await log.bounds(names.input, partition)
  if (!bounds) return erased
  const from = Math.max(bounds.from, record.inputs[0]!.from)
  if (from >= bounds.to) return erased
  const look = log.read({ topic: names.input, partition, from, to: bounds.to }, (columns) => {
    for (let row = 0; row < columns.count; row++) {
      if (columns.valueBytes[row]! >= 0 || !isForgetRecord(columns, row)) continue
      const entity = Buffer.from(columns.key(row) ?? []).toString()
      if (entities.has(entity)) erased.add(entity)
    }
  }, signal)
  // What is not kept after the event says nothing about the event itself.
  await look.catch((error: unknown) => {
    if (!(error instanceof Unavailable)) throw error
  })
  return erased
}

interface Start {
  readonly start: LineagePlace
  readonly snapshots: readonly Snapshot[]
  readonly basis: string
  /** Entities whose state cannot be rebuilt from there. */
  readonly without: ReadonlySet<string>
}

/**
 * Where to begin: for one event with the newest snapshot of its entity before it, which is near; for many with the first batch of
 * the task, and with snapshots where the input does not reach back so far.
 */
async function startOf(log: RecordLog, names: TopologyNames, task: string, partition: number, firstSequence: number, events: readonly ScoredEvent[], { onProgress, signal }: AuditOptions): Promise<Start> {
  const whole = async (): Promise<Start | undefined> => {
    const start = await findLineage(log, names.lineage, partition, task, 0)
    if (!start || !(await reaches(log, start))) return undefined
    return { start, snapshots: [], basis: `the first batch of ${task}, offset ${start.record.inputs[0]!.from} of ${names.input}/${partition}`, without: new Set() }
  }
  if (events.length > 1) {
    const start = await whole()
    if (start) return start
  }
  onProgress('looking for snapshots of state')
  const before = new Map<string, number>()
  for (const { entity, sequence } of events) before.set(entity, Math.min(sequence, before.get(entity) ?? Infinity))
  const snapshots = await findSnapshots(log, names.state, partition, before, signal)
  if (snapshots.size > 0) {
    const oldest = Math.min(...[...snapshots.values()].map(({ asOf }) => asOf))
    const start = await findLineage(log, names.lineage, partition, task, Math.min(oldest + 1, firstSequence))
    if (start && (await reaches(log, start))) {
      const newest = Math.max(...[...snapshots.values()].map(({ asOf }) => asOf))
      const basis = snapshots.size === 1 ? `a snapshot of the entity's state as of batch ${newest}` : `${snapshots.size} snapshots of states, from batch ${oldest} on`
      return { start, snapshots: [...snapshots.values()], basis, without: new Set([...before.keys()].filter((entity) => !snapshots.has(entity))) }
    }
  }
  const start = events.length > 1 ? undefined : await whole()
  if (start) return start
  const bounds = await log.bounds(names.input, partition)
  const lineage = (await findLineage(log, names.lineage, partition, task, 0)) ? 'from its beginning' : 'not from its beginning'
  throw new Unavailable(`state cannot be rebuilt: ${names.input}/${partition} is kept from offset ${bounds?.from ?? 'nowhere'}, ${names.lineage} ${lineage}, and no usable snapshot of the state from before the event is kept`)
}

/** Whether the inputs are kept from a batch on. */
async function reaches(log: RecordLog, { record }: LineagePlace): Promise<boolean> {
  for (const { topic, partition, from, to } of record.inputs) {
    const bounds = await log.bounds(topic, partition)
    if (!bounds || (bounds.from > Math.max(0, from) && !(from < 0 && to <= 0))) return false
  }
  return true
}
