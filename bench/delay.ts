import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LatencyHistogram } from '../src/base/latency-histogram.js'
import { systemClock } from '../src/base/clock.js'
import { uniqueSuffix } from '../src/base/prng.js'
import { connectLimits } from '../src/connection/security.js'
import { KafkaAdmin } from '../src/consumer/admin.js'
import { connectionArguments, type Connections } from '../src/stack/connections.js'
import { loadTopology } from '../src/topology/load-topology.js'
import { topologyNames } from '../src/topology/names.js'
import { BenchEngine } from './bench-engine.js'
import { peerModels, peerTopology, type Delivery } from './bench-topology.js'
import { fillTopic } from './fill-topic.js'
import { measureGroup, round, startHarrier, startScript } from './meter.js'

const partitions = 4
const cards = 50_000
const payloadBytes = 100
const readyMsMax = 120_000
const drainMsMax = 120_000
/** The first seconds at a rate warm up and are not counted. */
const warmUpMs = 4000
/** Of the load, before and after what is measured. */
const unmeasuredSeconds = 6
const shares = [0.1, 0.5, 0.9] as const

export interface DelayBenchOptions {
  readonly connections: Connections
  /** Events that tell the highest rate. */
  readonly events: number
  /** Length of the run at each rate. */
  readonly seconds: number
  /** A rate besides the shares of the highest. */
  readonly perSecond: number
  readonly onStep: (text: string) => void
}

export interface DelayAtRate {
  readonly delivery: Delivery
  /** Of the highest rate; null for the rate that was asked for. */
  readonly share: number | null
  readonly perSecond: number
  /** From the timestamp of a record to the moment when its score can be read. */
  readonly msP50: number
  readonly msP99: number
  readonly msP999: number
  /** Cores that the engine keeps busy. */
  readonly cores: number
  /** Mean records of a transaction. */
  readonly batchRecords: number
  readonly commitMsP50: number
}

export interface DelayBenchResult {
  readonly highestPerSecond: number
  readonly rates: readonly DelayAtRate[]
  /** Share of a core that the engine takes when nothing comes. */
  readonly idleCores: number
}

/**
 * The delay of the whole engine under an open loop, at shares of the highest rate that it reached just before, with the load and the
 * broker on the same machine: the job of bench/peers, state durable, with scores that leave exactly once and then with such that leave before their transaction.
 */
export async function benchDelay({ connections, events, seconds, perSecond, onStep }: DelayBenchOptions): Promise<DelayBenchResult> {
  const namespace = `bench-${uniqueSuffix()}`
  const folder = mkdtempSync(join(tmpdir(), 'harrier-bench-'))
  const admin = new KafkaAdmin({ brokers: connections.brokers, security: connections.security, clock: systemClock, ...connectLimits(connections) })
  await admin.start()
  const fileOf = (delivery: Delivery): string => peerTopology(folder, 'bench-delay', delivery)
  const names = topologyNames(loadTopology(fileOf('exactlyOnce')), namespace)
  const argsOf = (delivery: Delivery): string[] => ['--topology', fileOf(delivery), '--models', peerModels, '--namespace', namespace, '--create-topics', '--partitions', String(partitions), '--instance-id', 'bench', ...connectionArguments(connections)]
  try {
    await admin.ensureTopics([{ topic: names.input, partitions }], { create: true })
    const total = await fillTopic({ connection: connections, topic: names.input, cards, hotShare: 0, payloadBytes, events })
    const start = () => {
      const child = startHarrier(['run', '--json', ...argsOf('exactlyOnce')])
      child.stdout!.resume()
      return child
    }
    const highest = await measureGroup(admin, { group: names.group, topic: names.input, total, warm: cards, start })
    onStep(`highest rate: ${Math.round(highest.perSecond).toLocaleString('en')} events/s`)
    const rates: DelayAtRate[] = []
    let idleCores = NaN
    let written = total
    for (const delivery of ['exactlyOnce', 'atLeastOnce'] as const) {
      const engine = new BenchEngine(argsOf(delivery))
      try {
        await engine.until('restored', () => engine.ready.length >= partitions, readyMsMax)
        await systemClock.sleep(warmUpMs)
        if (Number.isNaN(idleCores)) {
          idleCores = await coresOver(engine, () => systemClock.sleep(warmUpMs))
          onStep(`idle: ${(idleCores * 100).toFixed(1)} % of a core`)
        }
        for (const rate of [{ share: null, perSecond }, ...shares.map((share) => ({ share, perSecond: Math.round(highest.perSecond * share) }))]) {
          const measured = await delayAt(engine, { connections, topic: names.input, written, seconds, ...rate })
          written += Math.round(rate.perSecond * (seconds + unmeasuredSeconds))
          rates.push({ delivery, ...measured })
          onStep(`${delivery}, ${measured.perSecond.toLocaleString('en')} events/s: p50 ${measured.msP50} ms, p99 ${measured.msP99} ms, p99.9 ${measured.msP999} ms`)
        }
      } finally {
        await engine.stop()
      }
    }
    return { highestPerSecond: Math.round(highest.perSecond), rates, idleCores: round(idleCores, 3) }
  } finally {
    await admin.deleteTopics([names.input, ...names.sinks]).catch(() => undefined)
    await admin.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

interface DelayRun {
  readonly connections: Connections
  readonly topic: string
  /** Payments that the topic has already. */
  readonly written: number
  readonly seconds: number
  readonly share: number | null
  readonly perSecond: number
}

async function delayAt(engine: BenchEngine, { connections, topic, written, seconds, share, perSecond }: DelayRun): Promise<Omit<DelayAtRate, 'delivery'>> {
  const delay = new LatencyHistogram()
  const commits: number[] = []
  const load = startScript(new URL('./paced-load-process.js', import.meta.url), [topic, ...[written, cards, payloadBytes, perSecond, seconds + unmeasuredSeconds].map(String), ...connectionArguments(connections)])
  const ended = once(load, 'exit')
  await systemClock.sleep(warmUpMs)
  const before = engine.stats!.counters
  engine.onStats = (stats) => {
    delay.merge(LatencyHistogram.fromJSON(stats.delayHistogram))
    commits.push(stats.commitMs.p50)
  }
  const cores = await coresOver(engine, () => systemClock.sleep(seconds * 1000))
  engine.onStats = () => undefined
  const after = engine.stats!.counters
  if (after.late > before.late) throw new Error(`${after.late - before.late} payments were late, and changed no state`)
  await ended
  await engine.until('idle', (stats) => stats?.lag === 0, drainMsMax)
  commits.sort((a, b) => a - b)
  return {
    share, perSecond, msP50: round(delay.quantile(0.5), 1), msP99: round(delay.quantile(0.99), 1), msP999: round(delay.quantile(0.999), 1), cores: round(cores, 3),
    batchRecords: Math.round((after.records - before.records) / (after.batches - before.batches)), commitMsP50: round(commits[commits.length >> 1] ?? 0, 1),
  }
}

async function coresOver(engine: BenchEngine, work: () => Promise<void>): Promise<number> {
  const [cpu, atMs] = [engine.cpuSeconds, systemClock.monotonicMs()]
  await work()
  return ((engine.cpuSeconds - cpu) * 1000) / (systemClock.monotonicMs() - atMs)
}
