import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.js'
import { uniqueSuffix } from '../src/base/prng.js'
import { connectLimits } from '../src/connection/security.js'
import { KafkaAdmin } from '../src/consumer/admin.js'
import { connectionArguments, type Connections } from '../src/stack/connections.js'
import { loadTopology } from '../src/topology/load-topology.js'
import { topologyNames } from '../src/topology/names.js'
import { peerModels, peerTopology } from './bench-topology.js'
import { fillTopic } from './fill-topic.js'
import { measureGroup, median, round, startHarrier, type Measured } from './meter.js'

/** What a point differs in from `usual`. */
interface Point {
  readonly cards: number
  readonly partitions: number
  readonly processes: number
  readonly workers: number
  readonly hotShare: number
  readonly payloadBytes: number
}

const usual: Point = { cards: 100_000, partitions: 4, processes: 1, workers: 1, hotShare: 0, payloadBytes: 100 }
/** Of the larger payloads fewer events, so that a topic has no more bytes than this. */
const topicBytesMax = 1 << 30

export const scaleAxes = {
  entities: (largest: number): Partial<Point>[] => [1e3, 1e4, 1e5, 1e6, 1e7].filter((cards) => cards <= largest).map((cards) => ({ cards })),
  partitions: (): Partial<Point>[] => [1, 2, 4, 8, 16].map((partitions) => ({ partitions })),
  processes: (): Partial<Point>[] => [1, 2, 4].map((processes) => ({ processes })),
  workers: (): Partial<Point>[] => [1, 2].map((workers) => ({ workers })),
  'hot-key': (): Partial<Point>[] => [0, 0.2, 0.5].map((hotShare) => ({ hotShare })),
  payload: (): Partial<Point>[] => [100, 1000, 10_000].map((payloadBytes) => ({ payloadBytes })),
} as const

export type ScaleAxis = keyof typeof scaleAxes

export interface ScaleBenchOptions {
  readonly connections: Connections
  readonly axes: readonly ScaleAxis[]
  readonly events: number
  readonly repeats: number
  /** Most entities of that axis. */
  readonly entitiesMax: number
  readonly onStep: (text: string) => void
}

export interface ScalePoint {
  readonly axis: ScaleAxis
  /** Of the axis: entities, partitions, …; a share for hot-key, bytes for payload. */
  readonly value: number
  readonly events: number
  readonly perSecond: number
  readonly cpuMicrosPerEvent: number
  readonly residentBytes: number
  /** Beside the usual point of the same runs: 100,000 entities, 4 partitions, 1 process, no hot key, 100 bytes. */
  readonly ofUsual: number
}

export interface ScaleBenchResult {
  readonly repeats: number
  readonly points: readonly ScalePoint[]
}

/** The whole engine over one axis at a time, everything else as usual, in turns; each point works off a topic in which every card has paid before. */
export async function benchScale({ connections, axes, events, repeats, entitiesMax, onStep }: ScaleBenchOptions): Promise<ScaleBenchResult> {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-bench-'))
  const admin = new KafkaAdmin({ brokers: connections.brokers, security: connections.security, clock: systemClock, ...connectLimits(connections) })
  await admin.start()
  try {
    const points: ScalePoint[] = []
    for (const axis of axes) {
      const changes = scaleAxes[axis](entitiesMax)
      const runs = changes.map((): Measured[] => [])
      for (let repeat = 1; repeat <= repeats; repeat++) {
        for (const [index, change] of changes.entries()) {
          const run = await runPoint({ ...usual, ...change }, { admin, connections, folder, events })
          runs[index]!.push(run)
          onStep(`${axis} ${text(change)}, run ${repeat} of ${repeats}: ${Math.round(run.perSecond).toLocaleString('en')} events/s, ${run.cpuMicrosPerEvent.toFixed(1)} us/event`)
        }
      }
      const middle = (index: number, of: (run: Measured) => number): number => median(runs[index]!.map(of))
      const base = changes.findIndex((change) => Object.entries(change).every(([name, value]) => usual[name as keyof Point] === value))
      for (const [index, change] of changes.entries()) {
        points.push({
          axis, value: Object.values(change)[0]!, events: runs[index]![0]!.events,
          perSecond: Math.round(middle(index, (run) => run.perSecond)), cpuMicrosPerEvent: round(middle(index, (run) => run.cpuMicrosPerEvent), 2),
          residentBytes: middle(index, (run) => run.residentBytes), ofUsual: round(middle(index, (run) => run.perSecond) / middle(base, (run) => run.perSecond), 3),
        })
      }
    }
    return { repeats, points }
  } finally {
    await admin.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

function text(change: Partial<Point>): string {
  return Object.values(change)[0]!.toLocaleString('en')
}

async function runPoint(point: Point, { admin, connections, folder, events }: { admin: KafkaAdmin; connections: Connections; folder: string; events: number }): Promise<Measured> {
  const namespace = `bench-${uniqueSuffix()}`
  const file = peerTopology(folder, 'bench-scale')
  const names = topologyNames(loadTopology(file), namespace)
  try {
    await admin.ensureTopics([{ topic: names.input, partitions: point.partitions }], { create: true })
    const total = await fillTopic({ ...point, connection: connections, topic: names.input, events: Math.min(events, Math.floor(topicBytesMax / point.payloadBytes)) })
    const start = () => {
      const processes = point.processes === 1 ? ['--instance-id', 'bench'] : ['--processes', String(point.processes)]
      const topology = ['--topology', file, '--models', peerModels, '--namespace', namespace, '--create-topics', '--partitions', String(point.partitions)]
      const child = startHarrier(['run', '--json', ...topology, '--workers', String(point.workers), ...processes, ...connectionArguments(connections)])
      child.stdout!.resume()
      return child
    }
    return await measureGroup(admin, { group: names.group, topic: names.input, total, warm: point.cards, start })
  } finally {
    await admin.deleteTopics([names.input, ...names.sinks]).catch(() => undefined)
  }
}
