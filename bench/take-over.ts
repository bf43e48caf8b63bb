import { systemClock } from '../src/base/clock.js'
import type { BenchEngine } from './bench-engine.js'
import { CardWorld, partitions, total, type CardTopology, type CardWorldOptions } from './card-world.js'
import { median } from './meter.js'

const watchIntervalMs = 25
const warmMsMax = 900_000
const takeOverMsMax = 300_000
const instances = ['a', 'b'] as const

export interface TakeOverBenchOptions extends CardWorldOptions {
  /** Kills; the medians count. */
  readonly repeats: number
  /** Load before each kill. */
  readonly loadSeconds: number
}

export interface TakeOverBenchResult {
  readonly cards: number
  readonly eventsPerSecond: number
  readonly exponent: number
  readonly repeats: number
  /** From SIGKILL until the group gave the dead one's partitions to the other process. */
  readonly noticedSeconds: number
  /** From that until each of these partitions had a new score. */
  readonly afterNoticeSeconds: number
  /** From SIGKILL: the first new score of one of them, a new score of each. */
  readonly firstScoreSeconds: number
  readonly allPartitionsSeconds: number
  /** Input records folded again. */
  readonly tailRecords: number
  /** Of the survivor, with all of the state, half of it a copy before. */
  readonly stateBytes: number
  readonly residentBytes: number
}

interface TakeOver {
  readonly noticedMs: number
  readonly firstScoreMs: number
  readonly allPartitionsMs: number
  readonly tailRecords: number
  readonly stateBytes: number
  readonly residentBytes: number
}

/** Two processes with `standby: 1` under load: one is killed for good, and the other takes its partitions over from warm copies. */
export async function benchTakeOver(options: TakeOverBenchOptions): Promise<TakeOverBenchResult> {
  const { cards, perSecond, exponent, repeats, loadSeconds, onStep } = options
  const world = new CardWorld(options)
  await world.admin.start()
  const living = new Set<BenchEngine>()
  const start = (topology: CardTopology, instance: string): BenchEngine => {
    const engine = world.engine(topology, [], instance)
    living.add(engine)
    return engine
  }
  try {
    const topology = world.topology('bench-standby', { standby: 1 })
    await world.populate(topology)
    let engines = instances.map((instance) => start(topology, instance))
    const found: TakeOver[] = []
    for (let repeat = 1; repeat <= repeats; repeat++) {
      onStep(`waiting until both processes have partitions, and warm copies of each other's`)
      for (const engine of engines) await engine.until('half of the partitions, and a copy of the rest', isPaired, warmMsMax)
      const load = await world.load()
      await systemClock.sleep(loadSeconds * 1000)
      const [dies, heir] = engines as [BenchEngine, BenchEngine]
      for (const engine of engines) await engine.until('half of the partitions, and a copy of the rest', isPaired, warmMsMax)
      const orphans = dies.stats!.tasks.map(({ task }) => Number(task.split('/').at(-1)))
      onStep(`kill ${repeat} of ${repeats}, at lag ${(dies.stats!.lag + heir.stats!.lag).toLocaleString('en')}`)
      const takeOver = await watch(world, topology, { dies, heir, orphans })
      found.push(takeOver)
      await load.stop()
      onStep(`  noticed after ${seconds(takeOver.noticedMs)} s, first score ${seconds(takeOver.firstScoreMs)} s, all of its partitions ${seconds(takeOver.allPartitionsMs)} s`)
      living.delete(dies)
      // They change places: next time the survivor dies.
      if (repeat < repeats) engines = [heir, start(topology, instances[repeat % 2 === 1 ? 0 : 1])]
    }
    const middle = (of: (takeOver: TakeOver) => number): number => median(found.map(of))
    return {
      cards,
      eventsPerSecond: perSecond,
      exponent,
      repeats,
      noticedSeconds: seconds(middle(({ noticedMs }) => noticedMs)),
      afterNoticeSeconds: seconds(middle(({ allPartitionsMs, noticedMs }) => allPartitionsMs - noticedMs)),
      firstScoreSeconds: seconds(middle(({ firstScoreMs }) => firstScoreMs)),
      allPartitionsSeconds: seconds(middle(({ allPartitionsMs }) => allPartitionsMs)),
      tailRecords: Math.round(middle(({ tailRecords }) => tailRecords)),
      stateBytes: middle(({ stateBytes }) => stateBytes),
      residentBytes: middle(({ residentBytes }) => residentBytes),
    }
  } finally {
    for (const engine of living) await engine.stop()
    await world.close()
  }
}

function isPaired(stats: BenchEngine['stats']): boolean {
  return stats?.state === 'running' && stats.tasks.length === partitions / 2 && stats.standby.partitions === partitions / 2 && stats.standby.entities > 0
}

async function watch(world: CardWorld, topology: CardTopology, { dies, heir, orphans }: { dies: BenchEngine; heir: BenchEngine; orphans: readonly number[] }): Promise<TakeOver> {
  const readyBefore = heir.ready.length
  const restoredBefore = heir.stats!.counters.restoredRecords
  const killedMs = systemClock.monotonicMs()
  await dies.kill()
  const before = await world.committed(topology)
  let firstScoreMs: number | undefined
  for (;;) {
    const now = await world.committed(topology)
    const atMs = systemClock.monotonicMs() - killedMs
    const moved = orphans.filter((partition) => now[partition]! > before[partition]!).length
    if (moved > 0) firstScoreMs ??= atMs
    const ready = heir.ready.slice(readyBefore)
    if (firstScoreMs !== undefined && moved === orphans.length && ready.length >= orphans.length) {
      // Partitions are restored one after the other, the first as soon as it is given.
      const noticedMs = ready[0]!.atMs - ready[0]!.restoredMs - killedMs
      return { noticedMs, firstScoreMs, allPartitionsMs: atMs, tailRecords: heir.stats!.counters.restoredRecords - restoredBefore, stateBytes: heir.stats!.stateBytes, residentBytes: heir.residentBytes }
    }
    if (heir.ended || atMs > takeOverMsMax) throw new Error(`nobody took the partitions over within ${Math.round(atMs / 1000)} s (${total(now) - total(before)} scores)`)
    await systemClock.sleep(watchIntervalMs)
  }
}

function seconds(milliseconds: number): number {
  return Number((milliseconds / 1000).toFixed(2))
}
