import { systemClock } from '../src/base/clock.js'
import { describeTopology } from '../src/topology/describe.js'
import { loadTopology } from '../src/topology/load-topology.js'
import type { BenchEngine } from './bench-engine.js'
import { CardWorld, total, type CardTopology, type CardWorldOptions } from './card-world.js'
import { median } from './meter.js'

const watchIntervalMs = 25
const restoreMsMax = 600_000
/** Behind by less than this much of the load, the engine has caught up. */
const caughtUpSeconds = 0.5
/** What resident memory may be: so many times the computed bytes of the slots, and so many bytes beyond. */
const residentShareMax = 1.3
const residentBeyondBytesMax = 200e6

export interface RestoreBenchOptions extends CardWorldOptions {
  /** Kills; the medians count. */
  readonly repeats: number
  /** Load before each kill: more than a checkpoint interval, so that the changelog and its tail are those of a long run. */
  readonly loadSeconds: number
  /** Options of Node for the engine that restores: `--cpu-prof` and the like. */
  readonly nodeArgs?: readonly string[]
}

export interface RestoreBenchResult {
  readonly cards: number
  readonly eventsPerSecond: number
  readonly exponent: number
  readonly repeats: number
  /** Changelog records that a restore reads, and the bytes of their keys and values. */
  readonly changelogRecords: number
  readonly changelogBytes: number
  readonly bytesPerCard: number
  /** From SIGKILL, with the successor started at once: first new score, a new score of every partition, all that came meanwhile scored. */
  readonly firstScoreSeconds: number
  readonly allPartitionsSeconds: number
  readonly caughtUpSeconds: number
  /** From the start of the successor to its last task. */
  readonly recordsPerSecond: number
  readonly megabytesPerSecond: number
  /** Input records folded again. */
  readonly tailRecords: number
  readonly stateBytes: number
  readonly residentBytes: number
  /** Bytes of the slots by `harrier topology describe`, and what resident memory may be by them. */
  readonly computedBytes: number
  readonly residentBytesMax: number
}

interface Recovery {
  readonly firstScoreMs: number
  readonly allPartitionsMs: number
  readonly caughtUpMs: number
  readonly restoreMs: number
  readonly changelogRecords: number
  readonly tailRecords: number
  readonly writtenBytes: number
}

/** Kills an engine with the state of many cards under load, starts it again at once, and times its return. */
export async function benchRestore(options: RestoreBenchOptions): Promise<RestoreBenchResult> {
  const { cards, onStep, loadSeconds, repeats, perSecond, exponent } = options
  const world = new CardWorld(options)
  await world.admin.start()
  let engine: BenchEngine | undefined
  try {
    const topology = world.topology('bench-restore')
    const seededBytes = await world.populate(topology)
    engine = world.engine(topology)
    await engine.running(restoreMsMax)
    onStep(`restored without load: ${((engine.ready.at(-1)!.atMs - engine.startedMs) / 1000).toFixed(1)} s from the start of the process to its last partition`)
    const recoveries: Recovery[] = []
    let writtenBytes = 0
    for (let repeat = 1; repeat <= repeats; repeat++) {
      const load = await world.load()
      const started = engine.stats!.counters.scored
      await systemClock.sleep(loadSeconds * 1000)
      onStep(`kill ${repeat} of ${repeats}, at ${Math.round((engine.stats!.counters.scored - started) / loadSeconds).toLocaleString('en')} scores/s and lag ${engine.stats!.lag.toLocaleString('en')}`)
      const killedMs = systemClock.monotonicMs()
      writtenBytes += engine.stats!.checkpoint.bytes
      await engine.kill()
      engine = world.engine(topology, options.nodeArgs)
      const recovery = await watchRecovery(world, topology, engine, killedMs, perSecond)
      recoveries.push({ ...recovery, writtenBytes })
      await load.stop()
      onStep(`  first score ${seconds(recovery.firstScoreMs)} s, all partitions ${seconds(recovery.allPartitionsMs)} s, caught up ${seconds(recovery.caughtUpMs)} s; ${recovery.tailRecords.toLocaleString('en')} records folded again`)
    }
    const middle = (of: (recovery: Recovery) => number): number => median(recoveries.map(of))
    const records = middle(({ changelogRecords }) => changelogRecords)
    const bytes = seededBytes + middle((recovery) => recovery.writtenBytes)
    const computedBytes = cards * bytesPerEntity(topology.file)
    const restoreSeconds = middle(({ restoreMs }) => restoreMs) / 1000
    return {
      cards,
      eventsPerSecond: perSecond,
      exponent,
      repeats,
      changelogRecords: Math.round(records),
      changelogBytes: Math.round(bytes),
      bytesPerCard: Math.round(seededBytes / cards),
      firstScoreSeconds: seconds(middle(({ firstScoreMs }) => firstScoreMs)),
      allPartitionsSeconds: seconds(middle(({ allPartitionsMs }) => allPartitionsMs)),
      caughtUpSeconds: seconds(middle(({ caughtUpMs }) => caughtUpMs)),
      recordsPerSecond: Math.round(records / restoreSeconds),
      megabytesPerSecond: Math.round(bytes / restoreSeconds / 1e6),
      tailRecords: Math.round(middle(({ tailRecords }) => tailRecords)),
      stateBytes: engine.stats!.stateBytes,
      residentBytes: engine.residentBytes,
      computedBytes,
      residentBytesMax: Math.round(computedBytes * residentShareMax + residentBeyondBytesMax),
    }
  } finally {
    await engine?.stop()
    await world.close()
  }
}

function bytesPerEntity(topologyFile: string): number {
  return (JSON.parse(describeTopology(loadTopology(topologyFile), { json: true })) as { bytesPerEntity: number }).bytesPerEntity
}

async function watchRecovery(world: CardWorld, topology: CardTopology, engine: BenchEngine, killedMs: number, perSecond: number): Promise<Omit<Recovery, 'writtenBytes'>> {
  const before = await world.committed(topology)
  let firstScoreMs: number | undefined
  let allPartitionsMs: number | undefined
  for (;;) {
    const now = await world.committed(topology)
    const atMs = systemClock.monotonicMs() - killedMs
    if (total(now) > total(before)) firstScoreMs ??= atMs
    if (now.every((offset, partition) => offset > before[partition]!)) allPartitionsMs ??= atMs
    const behind = (await world.sent(topology)) - total(now)
    if (firstScoreMs !== undefined && allPartitionsMs !== undefined && behind < perSecond * caughtUpSeconds) {
      const ends = await world.admin.ends(topology.names.state)
      return {
        firstScoreMs,
        allPartitionsMs,
        caughtUpMs: atMs,
        restoreMs: engine.ready.at(-1)!.atMs - engine.startedMs,
        changelogRecords: [...ends.values()].reduce((sum, { low, high }) => sum + high - low, 0),
        tailRecords: engine.stats!.counters.restoredRecords,
      }
    }
    if (engine.ended || atMs > restoreMsMax) throw new Error(`the engine did not come back within ${Math.round(atMs / 1000)} s`)
    await systemClock.sleep(watchIntervalMs)
  }
}

function seconds(milliseconds: number): number {
  return Number((milliseconds / 1000).toFixed(2))
}
