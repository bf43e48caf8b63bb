import type { RunRecords, Outcome } from './run-records.js'
import type { SoakRecord } from './soak-input.js'

export interface Findings {
  /** Inputs without scored event or dead letter; alerts that should be there. */
  readonly lost: number
  /** Scored events, dead letters and alerts that are there a second time, or of no input at all. */
  readonly doubled: number
  /** Outputs that differ from the uninterrupted run's. */
  readonly changed: number
  /** Outputs that no lineage record covers; lineage that does not fit what it tells of. */
  readonly unproved: number
  /** Outputs that come before one of an earlier input of the same key. */
  readonly disorder: number
  /** The first of each, in words. */
  readonly examples: readonly string[]
}

/** What each input should become: content by `partition/offset`. */
export type Reference = ReadonlyMap<string, string>

const examplesMax = 12

/**
 * Compares what a run left with what went in, and with the uninterrupted run. `inputs[p][o]` is the record at offset o of
 * partition p. Pure: it is told everything, and trusts no counter of the engine.
 */
export function verifyRun(inputs: readonly (readonly SoakRecord[])[], run: RunRecords, reference: Reference): Findings {
  const counts = { lost: 0, doubled: 0, changed: 0, unproved: 0, disorder: 0 }
  const examples: string[] = []
  const find = (what: keyof typeof counts, text: string): void => {
    counts[what]++
    if (examples.length < examplesMax) examples.push(`${what}: ${text}`)
  }
  const { offsetOf, outcomesByPlace } = placeOutcomes(inputs, run.outcomes, find)
  for (const [place, outcomes] of outcomesByPlace) {
    if (outcomes.length === 0) find('lost', `input ${place} has no output`)
    for (let extra = 1; extra < outcomes.length; extra++) find('doubled', `input ${place} has ${outcomes.length} outputs`)
    for (const { content } of outcomes) if (content !== reference.get(place)) find('changed', `output of input ${place} differs from the uninterrupted run's`)
  }
  checkOrder(inputs, run.outcomes, offsetOf, find)
  checkAlerts(run, find)
  checkLineage(inputs, run, offsetOf, find)
  return { ...counts, examples }
}

/** The reference that an uninterrupted run gives. */
export function referenceOf(inputs: readonly (readonly SoakRecord[])[], run: RunRecords): Reference {
  const { outcomesByPlace } = placeOutcomes(inputs, run.outcomes, () => undefined)
  return new Map([...outcomesByPlace].flatMap(([place, [outcome]]) => (outcome ? [[place, outcome.content] as const] : [])))
}

type Find = (what: 'lost' | 'doubled' | 'changed' | 'unproved' | 'disorder', text: string) => void
type OffsetOf = (outcome: Outcome) => number | undefined

function placeOutcomes(inputs: readonly (readonly SoakRecord[])[], outcomes: readonly Outcome[], find: Find): { offsetOf: OffsetOf; outcomesByPlace: Map<string, Outcome[]> } {
  const offsetOfId = new Map<string, string>()
  const outcomesByPlace = new Map<string, Outcome[]>()
  for (const [partition, records] of inputs.entries()) {
    for (const [offset, { id }] of records.entries()) {
      outcomesByPlace.set(`${partition}/${offset}`, [])
      if (id !== null) offsetOfId.set(id, `${partition}/${offset}`)
    }
  }
  const placeOf = ({ partition, names }: Outcome): string | undefined => ('id' in names ? offsetOfId.get(names.id) : `${partition}/${names.inputOffset}`)
  for (const outcome of outcomes) {
    const place = placeOf(outcome)
    const there = place === undefined ? undefined : outcomesByPlace.get(place)
    if (!there || !place!.startsWith(`${outcome.partition}/`)) find('doubled', `output ${JSON.stringify(outcome.names)} in partition ${outcome.partition} is of no input there`)
    else there.push(outcome)
  }
  const offsetOf = (outcome: Outcome): number | undefined => {
    const place = placeOf(outcome)
    return place === undefined ? undefined : Number(place.slice(place.indexOf('/') + 1))
  }
  return { offsetOf, outcomesByPlace }
}

/** Within a topic; scored events and dead letters are two topics. */
function checkOrder(inputs: readonly (readonly SoakRecord[])[], outcomes: readonly Outcome[], offsetOf: OffsetOf, find: Find): void {
  const newest = new Map<string, number>()
  for (const outcome of outcomes) {
    const offset = offsetOf(outcome)
    if (offset === undefined) continue
    const key = inputs[outcome.partition]?.[offset]?.key?.toString() ?? ''
    const stream = `${'id' in outcome.names ? 'scored' : 'dead'}/${outcome.partition}/${key}`
    if (offset < (newest.get(stream) ?? -1)) find('disorder', `key ${key} of partition ${outcome.partition}: input ${offset} after ${newest.get(stream)}`)
    newest.set(stream, offset)
  }
}

function checkAlerts({ outcomes, alerts }: RunRecords, find: Find): void {
  const wanted = new Set(outcomes.flatMap(({ needsAlert, names }) => (needsAlert && 'id' in names ? [names.id] : [])))
  const seen = new Set<string>()
  for (const { id } of alerts) {
    if (seen.has(id) || !wanted.has(id)) find('doubled', `alert of event ${id}`)
    seen.add(id)
  }
  for (const id of wanted) if (!seen.has(id)) find('lost', `alert of event ${id}`)
}

/** Ranges of a partition follow each other from its first offset to its end, and each tells what it really held. */
function checkLineage(inputs: readonly (readonly SoakRecord[])[], run: RunRecords, offsetOf: OffsetOf, find: Find): void {
  const inBatch = new Map<string, { scored: number; deadLetters: number }>()
  const batchOf = inputs.map((records) => new Array<string | undefined>(records.length).fill(undefined))
  const ends = new Map<number, { sequence: number; to: number }>()
  for (const { task, sequence, inputs: ranges } of run.lineage) {
    const { partition, from, to } = ranges[0]!
    const before = ends.get(partition) ?? { sequence: -1, to: 0 }
    if (sequence !== before.sequence + 1 || from !== before.to) {
      find('unproved', `lineage of ${task}: batch ${sequence} [${from}, ${to}) follows batch ${before.sequence}, which ends at ${before.to}`)
    }
    ends.set(partition, { sequence, to })
    const name = `${task} ${sequence}`
    inBatch.set(name, { scored: 0, deadLetters: 0 })
    for (let offset = from; offset < to; offset++) if (batchOf[partition]?.[offset] === undefined) batchOf[partition]![offset] = name
  }
  for (const outcome of run.outcomes) {
    const offset = offsetOf(outcome)
    const covering = offset === undefined ? undefined : batchOf[outcome.partition]?.[offset]
    const { lineage } = outcome
    const told = lineage ? `${lineage.task} ${lineage.sequence}` : covering
    if (covering === undefined || told !== covering) find('unproved', `input ${outcome.partition}/${offset}: its output names ${told ?? 'nothing'}, the lineage that covers it is ${covering ?? 'not there'}`)
    const counts = covering === undefined ? undefined : inBatch.get(covering)
    if (counts && lineage) counts.scored++
    else if (counts) counts.deadLetters++
  }
  for (const { task, sequence, counts } of run.lineage) {
    const found = inBatch.get(`${task} ${sequence}`)!
    if (found.scored !== counts.scored || found.deadLetters !== counts.dead_letters) {
      find('unproved', `${task} batch ${sequence} tells of ${counts.scored} scored events and ${counts.dead_letters} dead letters, ${found.scored} and ${found.deadLetters} are there`)
    }
  }
  for (const [partition, records] of inputs.entries()) {
    if (records.length > 0 && (ends.get(partition)?.to ?? 0) !== records.length) find('unproved', `lineage of partition ${partition} ends at ${ends.get(partition)?.to ?? 0} of ${records.length}`)
  }
}
