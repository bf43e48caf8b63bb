import { LatencyHistogram } from '../base/latency-histogram.js'
import { deviceFallbacks, EngineCounters, type EngineStats } from '../topology/engine-stats.js'

type Counters = EngineStats['counters']
type Checkpoint = EngineStats['checkpoint']

/** What one process of several tells: its newest line, its earlier lives, and the delays of all lines since the last merge. */
export interface ProcessStats {
  readonly latest: EngineStats | undefined
  readonly past: readonly Pick<EngineStats, 'counters' | 'checkpoint'>[]
  readonly delays: LatencyHistogram
}

/** `models` are those of the first process; the counter is of all. */
export type MergedStats = EngineStats & { readonly deviceFallbacks: number }

const { delay: _delay, commit: _commit, ...noCounts } = new EngineCounters()
const noCheckpoint: Checkpoint = { records: 0, bytes: 0, dirty: 0 }

/** From the most to the least hopeful: the whole is in the worst state of its parts. */
const states = ['running', 'restoring', 'joining', 'stopping', 'stopped', 'failed']

/**
 * Several processes as one. Counters, lag and bytes are sums; delays merge exactly, bucket by bucket; commit times are
 * those of the slowest process, since a line of statistics carries only their quantiles.
 */
export function mergeStats(processes: readonly ProcessStats[]): MergedStats {
  const latest = processes.flatMap(({ latest }) => latest ?? [])
  const lives = [...latest, ...processes.flatMap(({ past }) => past)]
  const delays = new LatencyHistogram()
  for (const process of processes) delays.merge(process.delays)
  const sum = (of: (stats: EngineStats) => number): number => latest.reduce((total, stats) => total + of(stats), 0)
  const worst = Math.max(...latest.map(({ state }) => states.indexOf(state)), 0)
  return {
    state: latest.length < processes.length ? 'joining' : states[worst]!,
    counters: sumFields<Counters>(noCounts, lives.map(({ counters }) => counters)),
    delayMs: { p50: delays.quantile(0.5), p99: delays.quantile(0.99), p999: delays.quantile(0.999), count: delays.count },
    delayHistogram: delays.toJSON(),
    commitMs: { p50: slowest(latest.map(({ commitMs }) => commitMs.p50)), p99: slowest(latest.map(({ commitMs }) => commitMs.p99)) },
    lag: sum(({ lag }) => lag),
    checkpoint: { ...sumFields<Checkpoint>(noCheckpoint, lives.map(({ checkpoint }) => checkpoint)), dirty: sum(({ checkpoint }) => checkpoint.dirty) },
    entities: sum(({ entities }) => entities),
    standby: { partitions: sum(({ standby }) => standby.partitions), entities: sum(({ standby }) => standby.entities) },
    stateBytes: sum(({ stateBytes }) => stateBytes),
    models: latest[0]?.models ?? [],
    // The slowest of them, what any of them refuses, and a breach that any has found.
    release: { inForce: Math.min(...latest.map(({ release }) => release.inForce)), refused: latest.find(({ release }) => release.refused)?.release.refused ?? null, breach: latest.find(({ release }) => release.breach)?.release.breach ?? null },
    deviceFallbacks: sum(deviceFallbacks),
    tasks: latest.flatMap(({ tasks }) => tasks),
  }
}

function sumFields<T extends object>(none: T, parts: readonly T[]): T {
  const total: Record<string, number> = { ...none } as Record<string, number>
  for (const part of parts) for (const [name, value] of Object.entries(part)) total[name] = (total[name] ?? 0) + Number(value)
  return total as T
}

/** NaN (in JSON null) is a process without a commit in this second. */
function slowest(values: readonly (number | null)[]): number {
  const told = values.filter((value) => value !== null && !Number.isNaN(value))
  return told.length === 0 ? NaN : Math.max(...(told as number[]))
}
