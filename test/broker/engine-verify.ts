import assert from 'node:assert/strict'
import avro from 'avsc'
import { Kafka, logLevel, type Admin } from 'kafkajs'
import { systemClock } from '../../src/base/clock.js'
import { loadOwnSchema, type OwnSchema } from '../../src/codec/schema-files.js'
import type { LineageRecord } from '../../src/codec/lineage-codec.js'
import { readCommitted, type VerifiedRecord } from './kafka-verifier.js'

interface Scored {
  readonly event_id: string
  readonly decision: string
  readonly lineage: { readonly task: string; readonly sequence: number }
}

const types = new Map<OwnSchema, avro.Type>()
const coordinatorTriesMax = 50
const coordinatorPauseMs = 200

/** Decodes by the schema itself: another decoder than the engine's. */
export function decodeOwn<T>(schema: OwnSchema, { value }: Pick<VerifiedRecord, 'value'>, writers: ReadonlyMap<number, object> = new Map()): T {
  let type = types.get(schema)
  if (!type) types.set(schema, (type = avro.Type.forSchema(loadOwnSchema(schema) as avro.Schema)))
  const writer = writers.get(value!.readUInt32BE(1))
  const resolver = writer && type.createResolver(avro.Type.forSchema(writer as avro.Schema))
  return type.fromBuffer(value!.subarray(5), resolver) as T
}

export interface EngineRun {
  /** Content of each scored event without its lineage reference, by event id. */
  readonly contents: ReadonlyMap<string, string>
  readonly deadLetters: readonly (readonly VerifiedRecord[])[]
  readonly lineage: readonly (readonly LineageRecord[])[]
}

/**
 * Reads all that a run left, as a committed reader by kafkajs, and proves: each input is scored or dead-lettered exactly
 * once; the order of each partition; alerts fit decisions; lineage ranges and sequences without a gap; offsets at the end.
 * `sent` has the event ids by partition and offset; `dead` those that must be dead letters instead; `writers` schemas by
 * id of records that another release wrote; `copies`: outputs left before their transaction, and an event may be there more than once.
 */
export async function verifyEngineRun(
  brokers: string,
  namespace: string,
  sent: readonly (readonly string[])[],
  dead: ReadonlySet<string> = new Set(),
  writers: ReadonlyMap<number, object> = new Map(),
  copies = false,
): Promise<EngineRun> {
  const own = `${namespace}.card-fraud`
  const scored = await readCommitted(brokers, `${own}.scored`)
  const alerts = await readCommitted(brokers, `${own}.alerts`)
  const deadLetters = await readCommitted(brokers, `${own}.dlq`)
  const lineage = (await readCommitted(brokers, `${own}.lineage`)).map((records) => records.map((record) => decodeOwn<LineageRecord>('lineage', record, writers)))
  const contents = new Map<string, string>()
  for (const [partition, ids] of sent.entries()) {
    const all = scored[partition]!.map((record) => decodeOwn<Scored>('scored-event', record, writers))
    const events = copies ? thatCount(all, ids, lineage[partition]!) : all
    const expected = ids.filter((id) => !dead.has(id))
    assertSameList(events.map(({ event_id: id }) => id), expected, `scored events of partition ${partition}`)
    assertSameList(deadLetters[partition]!.map(originOffset), ids.flatMap((id, offset) => (dead.has(id) ? [String(offset)] : [])), `dead letters of partition ${partition}`)
    const wanted = events.filter(({ decision }) => decision !== 'APPROVE').map(({ event_id: id }) => id)
    const alerted = alerts[partition]!.map((record) => decodeOwn<Scored>('alert', record, writers).event_id)
    assertSameList(copies ? wanted.filter((id) => alerted.includes(id)) : alerted, wanted, `alerts of partition ${partition}`)
    if (copies) assert.deepEqual(alerted.filter((id) => !wanted.includes(id)), [], 'copies of alerts fit decisions')
    for (const event of events) contents.set(event.event_id, JSON.stringify({ ...event, lineage: event.lineage.task }))
    checkLineage(lineage[partition]!, events, ids.length, partition)
  }
  await checkOffsets(brokers, own, `${namespace}.transactions`, sent)
  return { contents, deadLetters, lineage }
}

/** Of the copies of each event, which are alike, the one whose batch committed; in the order of the input. */
function thatCount(all: readonly Scored[], ids: readonly string[], lineage: readonly LineageRecord[]): Scored[] {
  const byId = new Map<string, Scored[]>()
  for (const event of all) byId.set(event.event_id, [...(byId.get(event.event_id) ?? []), event])
  return ids.flatMap((id, offset) => {
    const copies = byId.get(id) ?? []
    assert.equal(new Set(copies.map((event) => JSON.stringify({ ...event, lineage: event.lineage.task }))).size, copies.length === 0 ? 0 : 1, `copies of ${id} are alike`)
    const { sequence } = lineage.find(({ inputs }) => offset < inputs[0]!.to) ?? {}
    return copies.filter((event) => event.lineage.sequence === sequence).slice(0, 1)
  })
}

function originOffset({ headers }: VerifiedRecord): string {
  return String(headers['__streams.errors.offset'])
}

function checkLineage(records: readonly LineageRecord[], events: readonly Scored[], inputs: number, partition: number): void {
  let at = 0
  let event = 0
  for (const [index, { task, sequence, inputs: ranges, counts }] of records.entries()) {
    assert.equal(task, `card-fraud/customer/${partition}`)
    assert.equal(sequence, index, `sequences of ${task} have no gap`)
    assert.equal(ranges[0]!.from, at, `ranges of ${task} have no gap`)
    assert.equal(ranges[0]!.to - ranges[0]!.from, counts.records)
    assert.equal(counts.scored + counts.dead_letters, counts.records)
    at = ranges[0]!.to
    for (let i = 0; i < counts.scored; i++) {
      assert.equal(events[event++]?.lineage.sequence, sequence, `scored events of ${task} name the batch that made them`)
    }
  }
  assert.equal(at, inputs, `lineage of partition ${partition} covers the input`)
  assert.equal(event, events.length)
}

async function checkOffsets(brokers: string, group: string, topic: string, sent: readonly (readonly string[])[]): Promise<void> {
  const admin = new Kafka({ clientId: 'verifier', brokers: brokers.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const [committed] = await fetchOffsets(admin, group, topic)
  await admin.disconnect()
  for (const [partition, ids] of sent.entries()) {
    assert.equal(Number(committed!.partitions.find((each) => each.partition === partition)?.offset), ids.length, `committed offset of partition ${partition} is the end`)
  }
}

/** A coordinator that has just moved loads the group first: kafkajs takes that for the end. */
async function fetchOffsets(admin: Admin, groupId: string, topic: string): Promise<Awaited<ReturnType<Admin['fetchOffsets']>>> {
  for (let tries = 1; ; tries++) {
    try {
      return await admin.fetchOffsets({ groupId, topics: [topic] })
    } catch (error) {
      if (!/GROUP_LOAD_IN_PROGRESS|GROUP_COORDINATOR_NOT_AVAILABLE|NOT_COORDINATOR_FOR_GROUP/.test(String((error as { type?: string }).type)) || tries === coordinatorTriesMax) throw error
      await systemClock.sleep(coordinatorPauseMs)
    }
  }
}

/** Equal lists; else the first difference, not two pages of ids. */
export function assertSameList(actual: readonly string[], expected: readonly string[], what: string): void {
  const counted = new Map<string, number>()
  for (const id of actual) counted.set(id, (counted.get(id) ?? 0) + 1)
  const doubled = [...counted].filter(([, count]) => count > 1).map(([id]) => id)
  const missing = expected.filter((id) => !counted.has(id))
  const known = new Set(expected)
  const strangers = actual.filter((id) => !known.has(id))
  const few = (ids: readonly string[]): string => `${ids.length} (${ids.slice(0, 8).join(', ')})`
  assert.ok(missing.length + doubled.length + strangers.length === 0, `${what}: missing ${few(missing)}, doubled ${few(doubled)}, unexpected ${few(strangers)}`)
  const at = expected.findIndex((id, index) => id !== actual[index])
  assert.equal(at, -1, `${what}: out of order at ${at}: ${actual.slice(at, at + 4).join(', ')} where ${expected.slice(at, at + 4).join(', ')} should follow`)
}
