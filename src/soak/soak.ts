import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { silentLogger } from '../base/logger.js'
import { uniqueSuffix } from '../base/prng.js'
import { loadOwnSchema } from '../codec/schema-files.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectLimits } from '../connection/security.js'
import { KafkaAdmin } from '../consumer/admin.js'
import { RangeReader } from '../consumer/range-reader.js'
import { loadTopology } from '../topology/load-topology.js'
import { topologyNames, type TopologyNames } from '../topology/names.js'
import { outputTopics } from '../topology/open-engine.js'
import { Feeder } from './feeder.js'
import { connectionArguments, type Connections } from '../stack/connections.js'
import { readRun } from './run-records.js'
import { makeSchedule, type Step } from './schedule.js'
import { SoakGroup, type GroupOutcome } from './soak-group.js'
import { soakRecords, type SoakRecord } from './soak-input.js'
import { writeSoakTopology } from './soak-topology.js'
import { referenceOf, verifyRun, type Findings, type Reference } from './verify.js'

/** What one group lives through. */
export interface GroupPlan {
  readonly instances: number
  readonly kills: number
  readonly steps: readonly Step[]
}

export interface SoakOptions {
  readonly connections: Connections
  /** SIGKILLs in all groups together. */
  readonly kills: number
  readonly seed: number
  /** Records of each group. */
  readonly events: number
  readonly groups: number
  readonly instances: number
  readonly partitions: number
  readonly workers: number
  /** Leave the topics for a look afterwards. */
  readonly keep: boolean
  /** Only for a broker that is the soak's own. */
  readonly restartBroker: (() => Promise<void>) | undefined
  /** Instead of the seeded ones: a plan for each group. */
  readonly plans?: readonly GroupPlan[]
  readonly signal: AbortSignal
  readonly onProgress: (text: string) => void
}

export interface SoakGroupResult extends Findings {
  readonly name: string
  readonly outcome: GroupOutcome
}

export interface SoakResult {
  readonly kills: number
  readonly events: number
  readonly lost: number
  readonly doubled: number
  readonly changed: number
  readonly unproved: number
  readonly disorder: number
  /** Processes that ended by themselves, and groups that stopped for good. */
  readonly deaths: number
  /** Of these, processes that a broker restart or a stand-still fenced: no finding. */
  readonly fenced: number
  readonly stalled: number
  readonly restores: number
  readonly restoredRecords: number
  readonly inTransaction: number
  readonly inCommit: number
  readonly killsByKind: Readonly<Record<string, number>>
  readonly killsByState: Readonly<Record<string, number>>
  /** What really happened, by kind of step. */
  readonly steps: Readonly<Record<string, number>>
  readonly added: number
  readonly removed: number
  readonly seconds: number
  readonly seed: number
  readonly groups: readonly SoakGroupResult[]
}

const cards = 60

/**
 * One uninterrupted run for the reference, then groups that live through seeded kills on the same records; afterwards
 * what committed readers see is compared record by record.
 */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { seed, groups, onProgress, signal } = options
  const { brokers, security, registryUrl, registrySecurity } = options.connections
  const clock = systemClock
  const startedMs = clock.monotonicMs()
  const folder = mkdtempSync(join(tmpdir(), 'harrier-soak-'))
  const file = writeSoakTopology(folder)
  const topology = loadTopology(file)
  const run = uniqueSuffix()
  const namespaces = ['reference', ...Array.from({ length: groups }, (_, group) => `group${group}`)].map((name) => `soak-${run}.${name}`)
  const names = namespaces.map((namespace) => topologyNames(topology, namespace))
  const admin = new KafkaAdmin({ brokers, security, clock, ...connectLimits(options.connections) })
  const reading = { brokers, security, clock, logger: silentLogger, ...connectLimits(options.connections) }
  const ends = { committed: new RangeReader(reading), all: new RangeReader({ ...reading, settings: { 'isolation.level': 'read_uncommitted' } }) }
  let connected = false
  try {
    await admin.start()
    await Promise.all([ends.committed.start(), ends.all.start()])
    connected = true
    const registry = new RegistryClient(registryUrl, { clock, logger: silentLogger, security: registrySecurity })
    const schemaId = await registry.register(`${names[0]!.input}-value`, loadOwnSchema('transaction'), signal)
    const records = soakRecords({ events: options.events, partitions: options.partitions, cards, seed, schemaId })
    const inputs = byPartition(records, options.partitions)
    let troubleMs = -Infinity
    const trouble = { troubleMs: () => troubleMs, onTrouble: () => void (troubleMs = clock.monotonicMs()) }
    const soakRun = (name: string, index: number, plan: GroupPlan): Promise<GroupOutcome> =>
      liveThrough({ ...options, ...plan, name, records, names: names[index]!, namespace: namespaces[index]!, file, admin, ends, ...trouble })

    onProgress(`reference: ${records.length} records, 1 process, uninterrupted`)
    const uninterrupted = await soakRun('reference', 0, { instances: 1, kills: 0, steps: [] })
    const left = await readRun(options.connections, names[0]!)
    const reference = referenceOf(inputs, left)
    const referenceResult = judge('reference', uninterrupted, inputs, left, reference)
    const plans = options.plans ?? seededPlans(options)
    const outcomes = await Promise.all(plans.map((plan, group) => soakRun(`group ${group}`, group + 1, plan)))
    const results = [referenceResult]
    for (const [group, outcome] of outcomes.entries()) {
      if (signal.aborted) break
      onProgress(`group ${group}: reading back`)
      results.push(judge(`group ${group}`, outcome, inputs, await readBack(options.connections, names[group + 1]!, options.partitions, ends), reference))
    }
    return summary(results, options, records.length, (clock.monotonicMs() - startedMs) / 1000)
  } finally {
    await Promise.all([ends.committed.close(), ends.all.close()])
    // Without a broker nothing was made, and a second error would hide the first.
    if (!connected) await admin.close()
    else if (options.keep) onProgress(`kept: topics soak-${run}.*`)
    else for (const each of names) await removeTopics(admin, each)
    if (connected) await admin.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Where a committed reader does not come to the end: a transaction that was never ended is told; a reader that stopped by itself begins anew, once. */
async function readBack(connections: Connections, names: TopologyNames, partitions: number, ends: GroupRun['ends'], isAgain = false): Promise<Awaited<ReturnType<typeof readRun>>> {
  try {
    return await readRun(connections, names)
  } catch (error) {
    if (!(error instanceof HarrierError)) throw error
    const held: string[] = []
    for (const topic of [names.scored, names.alerts, names.deadLetters, names.lineage]) {
      for (let partition = 0; partition < partitions; partition++) {
        const [all, committed] = await Promise.all([ends.all.watermarks(topic, partition), ends.committed.watermarks(topic, partition)])
        if (committed.stableEnd < all.stableEnd) held.push(`${topic}/${partition} is stable up to ${committed.stableEnd} of ${all.stableEnd}`)
      }
    }
    if (held.length === 0 && !isAgain) return await readBack(connections, names, partitions, ends, true)
    throw new HarrierError(error.code, `${error.message}; ${held.length === 0 ? 'no transaction is open: the reader stopped by itself' : held.join(', ')}`, { cause: error })
  }
}

function seededPlans({ kills, groups, seed, instances, restartBroker }: SoakOptions): GroupPlan[] {
  return Array.from({ length: groups }, (_, group) => {
    const share = Math.floor(((group + 1) * kills) / groups) - Math.floor((group * kills) / groups)
    // One group breaks the broker, for all.
    const broker = restartBroker !== undefined && group === 0
    return { instances, kills: share, steps: makeSchedule({ kills: share, seed: seed + group, instances, broker }) }
  })
}

interface GroupRun extends SoakOptions {
  readonly name: string
  readonly steps: readonly Step[]
  readonly records: readonly SoakRecord[]
  readonly names: TopologyNames
  readonly namespace: string
  readonly file: string
  readonly admin: KafkaAdmin
  readonly troubleMs: () => number
  readonly onTrouble: () => void
  readonly ends: { readonly committed: RangeReader; readonly all: RangeReader }
}

async function liveThrough(run: GroupRun): Promise<GroupOutcome> {
  const { connections, names, partitions, admin } = run
  await admin.ensureTopics([{ topic: names.input, partitions, config: { 'retention.ms': '-1' } }, ...outputTopics(names, partitions)], { create: true })
  const feeder = new Feeder({ connections, topic: names.input, records: run.records, clock: systemClock })
  await feeder.start()
  const args = ['--topology', run.file, '--namespace', run.namespace, ...connectionArguments(connections), '--workers', String(run.workers)]
  const { name, instances, kills, steps, ends, restartBroker, troubleMs, onTrouble, signal, onProgress } = run
  return new SoakGroup({ name, connections, names, partitions, instances, kills, steps, events: run.records.length, feeder, args, ends, restartBroker, troubleMs, onTrouble, clock: systemClock, signal, onProgress }).run()
}

function judge(name: string, outcome: GroupOutcome, inputs: readonly (readonly SoakRecord[])[], records: Awaited<ReturnType<typeof readRun>>, reference: Reference): SoakGroupResult {
  return { name, outcome, ...verifyRun(inputs, records, reference) }
}

function byPartition(records: readonly SoakRecord[], partitions: number): SoakRecord[][] {
  const inputs: SoakRecord[][] = Array.from({ length: partitions }, () => [])
  for (const record of records) inputs[record.partition]!.push(record)
  return inputs
}

function summary(groups: readonly SoakGroupResult[], options: SoakOptions, records: number, seconds: number): SoakResult {
  const sum = (of: (group: SoakGroupResult) => number): number => groups.reduce((total, group) => total + of(group), 0)
  const sums = (of: (outcome: GroupOutcome) => Readonly<Record<string, number>>): Record<string, number> => {
    const total: Record<string, number> = {}
    for (const { outcome } of groups) for (const [name, count] of Object.entries(of(outcome))) total[name] = (total[name] ?? 0) + count
    return total
  }
  return {
    kills: sum(({ outcome }) => outcome.kills),
    events: records * (groups.length - 1),
    lost: sum(({ lost }) => lost),
    doubled: sum(({ doubled }) => doubled),
    changed: sum(({ changed }) => changed),
    unproved: sum(({ unproved }) => unproved),
    disorder: sum(({ disorder }) => disorder),
    deaths: sum(({ outcome }) => outcome.deaths.length),
    fenced: sum(({ outcome }) => outcome.fenced),
    stalled: sum(({ outcome }) => (outcome.stalled === undefined ? 0 : 1)),
    restores: sum(({ outcome }) => outcome.restores),
    restoredRecords: sum(({ outcome }) => outcome.restoredRecords),
    inTransaction: sum(({ outcome }) => outcome.inTransaction),
    inCommit: sum(({ outcome }) => outcome.inCommit),
    killsByKind: sums(({ killsByKind }) => killsByKind),
    killsByState: sums(({ killsByState }) => killsByState),
    steps: sums(({ steps }) => steps),
    added: sum(({ outcome }) => outcome.added),
    removed: sum(({ outcome }) => outcome.removed),
    seconds: Math.round(seconds * 10) / 10,
    seed: options.seed,
    groups,
  }
}

async function removeTopics(admin: KafkaAdmin, { input, sinks, group }: TopologyNames): Promise<void> {
  await admin.deleteTopics([input, ...sinks])
  // A group whose members' sessions still run cannot be deleted; it is forgotten when its offsets expire.
  await admin.deleteGroup(group).catch(() => undefined)
}
