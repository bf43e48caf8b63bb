import { systemClock } from '../src/base/clock.js'
import { silentLogger } from '../src/base/logger.js'
import { connectLimits } from '../src/connection/security.js'
import { RangeReader } from '../src/consumer/range-reader.js'
import { LatencyHistogram } from '../src/base/latency-histogram.js'
import type { BenchEngine } from './bench-engine.js'
import { CardWorld, total, type CardTopology, type CardWorldOptions } from './card-world.js'
import { median, round } from './meter.js'
import { ZipfSource } from './zipf-source.js'

const readyMsMax = 600_000
const drainMsMax = 300_000
const watchIntervalMs = 50
/** The first seconds at the rate warm up and are not counted. */
const warmUpMs = 4000
/** So long an interval writes nothing in a bench. */
const offInterval = '24h'

export interface CheckpointBenchOptions extends CardWorldOptions {
  /** Runs of each kind; the medians count. */
  readonly repeats: number
  /** Payments that wait when a run begins, and are worked off as fast as it goes. */
  readonly events: number
  /** At the rate: a multiple of the checkpoint interval, so that each card that is hot comes round. */
  readonly rateSeconds: number
}

export interface CheckpointRun {
  readonly perSecond: number
  readonly cpuMicrosPerEvent: number
  /** At the rate of the load. */
  readonly delayMsP50: number
  readonly delayMsP99: number
  readonly delayMsP999: number
}

export interface CheckpointBenchResult {
  readonly cards: number
  readonly eventsPerSecond: number
  readonly exponent: number
  readonly repeats: number
  readonly on: CheckpointRun
  readonly off: CheckpointRun
  /** Share of the throughput that the checkpoint costs, of each pair: runs that follow each other, since a shared machine changes its speed within minutes. */
  readonly throughputCosts: readonly number[]
  /** The median of them. */
  readonly throughputCost: number
  /** Median over the pairs of what it adds to the CPU of an event, which is steadier than a rate. */
  readonly cpuCost: number
  /** Changelog bytes for each payment: of the checkpoint at the rate and at full speed, and with a record for each payment. */
  readonly changelogBytesPerEvent: number
  readonly changelogBytesPerEventAtFullSpeed: number
  readonly recordPerEventBytesPerEvent: number
  /** How many times more a record for each payment would write at the rate. */
  readonly savedFactor: number
}

interface Run {
  readonly perSecond: number
  readonly cpuMicrosPerEvent: number
  readonly bytesPerEvent: number
  readonly delay: LatencyHistogram
  readonly bytesPerEventAtRate: number
}

/** The same engine with its checkpoint on and off, in turns over the same payments, with cards that have a past. */
export async function benchCheckpoint(options: CheckpointBenchOptions): Promise<CheckpointBenchResult> {
  const { cards, onStep, repeats, perSecond, exponent } = options
  const world = new CardWorld(options)
  await world.admin.start()
  try {
    const on = world.topology('bench-on')
    const off = world.topology('bench-off', { checkpointIntervalMs: offInterval })
    for (const topology of [on, off]) await world.populate(topology)
    const runs: { on: Run[]; off: Run[] } = { on: [], off: [] }
    for (let repeat = 1; repeat <= repeats; repeat++) {
      // What comes first gains or loses by it: the order changes.
      const order = repeat % 2 === 1 ? (['on', 'off'] as const) : (['off', 'on'] as const)
      await (await world.load(options.events)).done
      for (const kind of order) {
        const run = await measure(world, kind === 'on' ? on : off, options)
        runs[kind].push(run)
        onStep(`run ${repeat} of ${repeats}, checkpoint ${kind.padEnd(3)}  ${told(run)}`)
      }
    }
    const middle = (of: readonly Run[], what: (run: Run) => number): number => median(of.map(what))
    const summary = (of: readonly Run[]): CheckpointRun => ({
      perSecond: Math.round(middle(of, (run) => run.perSecond)),
      cpuMicrosPerEvent: round(middle(of, (run) => run.cpuMicrosPerEvent), 2),
      delayMsP50: round(middle(of, (run) => run.delay.quantile(0.5)), 1),
      delayMsP99: round(middle(of, (run) => run.delay.quantile(0.99)), 1),
      delayMsP999: round(middle(of, (run) => run.delay.quantile(0.999)), 1),
    })
    const [withIt, without] = [summary(runs.on), summary(runs.off)]
    const ofPairs = (what: (run: Run) => number): number[] => runs.on.map((run, pair) => what(run) / what(runs.off[pair]!))
    const throughputCosts = ofPairs((run) => run.perSecond).map((ratio) => round(1 - ratio, 3))
    const written = middle(runs.on, (run) => run.bytesPerEventAtRate)
    onStep('reading the changelog for the sizes of its records')
    const each = await recordPerEvent(world, on, options)
    return {
      cards,
      eventsPerSecond: perSecond,
      exponent,
      repeats,
      on: withIt,
      off: without,
      throughputCosts,
      throughputCost: round(median(throughputCosts), 3),
      cpuCost: round(median(ofPairs((run) => run.cpuMicrosPerEvent)) - 1, 3),
      changelogBytesPerEvent: Math.round(written),
      changelogBytesPerEventAtFullSpeed: Math.round(middle(runs.on, (run) => run.bytesPerEvent)),
      recordPerEventBytesPerEvent: Math.round(each),
      savedFactor: round(each / written, 1),
    }
  } finally {
    await world.close()
  }
}

async function measure(world: CardWorld, topology: CardTopology, { perSecond, rateSeconds }: CheckpointBenchOptions): Promise<Run> {
  const engine = world.engine(topology)
  try {
    const sent = await world.sent(topology)
    const partitions = (await world.committed(topology)).length
    await engine.until('restored', () => engine.ready.length >= partitions, readyMsMax)
    const drained = await drain(world, topology, engine, sent)
    const delay = new LatencyHistogram()
    const load = await world.load()
    await systemClock.sleep(warmUpMs)
    const before = engine.stats!
    engine.onStats = ({ delayHistogram }) => delay.merge(LatencyHistogram.fromJSON(delayHistogram))
    await systemClock.sleep(rateSeconds * 1000)
    engine.onStats = () => undefined
    const after = engine.stats!
    await load.stop()
    const events = after.counters.records - before.counters.records
    if (events < (perSecond * rateSeconds) / 2) throw new Error(`the engine did not keep up with ${perSecond} events/s: give a lower --rate`)
    await engine.until('idle', (stats) => stats?.lag === 0, drainMsMax)
    return { ...drained, delay, bytesPerEventAtRate: (after.checkpoint.bytes - before.checkpoint.bytes) / events }
  } finally {
    await engine.stop()
  }
}

async function drain(world: CardWorld, topology: CardTopology, engine: BenchEngine, sent: number): Promise<Pick<Run, 'perSecond' | 'cpuMicrosPerEvent' | 'bytesPerEvent'>> {
  const startMs = systemClock.monotonicMs()
  const from = total(await world.committed(topology))
  const cpu = engine.cpuSeconds
  const stats = engine.stats
  for (;;) {
    const done = total(await world.committed(topology))
    const seconds = (systemClock.monotonicMs() - startMs) / 1000
    if (done >= sent) {
      const events = done - from
      const cpuMicrosPerEvent = ((engine.cpuSeconds - cpu) / events) * 1e6
      const recordsBefore = stats?.counters.records ?? 0
      const bytesBefore = stats?.checkpoint.bytes ?? 0
      await engine.until('statistics', (now) => now !== undefined && now.counters.records - recordsBefore >= events, readyMsMax)
      const { counters, checkpoint } = engine.stats!
      return { perSecond: events / seconds, cpuMicrosPerEvent, bytesPerEvent: (checkpoint.bytes - bytesBefore) / (counters.records - recordsBefore) }
    }
    if (engine.ended || seconds * 1000 > drainMsMax) throw new Error(`the engine stopped at ${done} of ${sent}`)
    await systemClock.sleep(watchIntervalMs)
  }
}

/** Bytes of a record for each payment: of each card the size of its newest changelog record, weighed by how often the card pays. */
async function recordPerEvent(world: CardWorld, { names }: CardTopology, { connections, cards, exponent }: CheckpointBenchOptions): Promise<number> {
  const reader = new RangeReader({ brokers: connections.brokers, security: connections.security, clock: systemClock, logger: silentLogger, ...connectLimits(connections) })
  const bytes = new Float64Array(cards)
  await reader.start()
  for (const partition of (await world.admin.ends(names.state)).keys()) {
    await reader.readRange({ topic: names.state, partition, from: 'earliest', to: 'stable-end' }, (columns) => {
      for (let row = 0; row < columns.count; row++) {
        const card = Number(Buffer.from(columns.key(row)!).toString())
        if (card < cards) bytes[card] = columns.keyBytes[row]! + columns.valueBytes[row]!
      }
    })
  }
  await reader.close()
  const source = new ZipfSource({ customers: cards, exponent, seed: 1, firstSecond: 0, perSecond: 1, firstId: 0 })
  let sum = 0
  for (let rank = 0; rank < cards; rank++) sum += source.probability(rank) * bytes[source.customerAt(rank)]!
  return sum
}

function told({ perSecond, cpuMicrosPerEvent, delay, bytesPerEventAtRate }: Run): string {
  const rate = Math.round(perSecond).toLocaleString('en').padStart(8)
  return `${rate} events/s  ${cpuMicrosPerEvent.toFixed(1)} us/event  p99 ${delay.quantile(0.99).toFixed(1)} ms  changelog ${bytesPerEventAtRate.toFixed(0)} bytes/event`
}
