import avro from 'avsc'
import { systemClock } from '../src/base/clock.js'
import { Condition } from '../src/base/condition.js'
import { LatencyHistogram } from '../src/base/latency-histogram.js'
import { silentLogger } from '../src/base/logger.js'
import { decodeLineage, type LineageRecord } from '../src/codec/lineage-codec.js'
import { prefixBytes } from '../src/codec/registry-prefix.js'
import { loadOwnSchema } from '../src/codec/schema-files.js'
import type { Release } from '../src/registry/release.js'
import type { ReleaseChange } from '../src/registry/stage-releases.js'
import { readCommitted } from '../src/soak/committed-reader.js'
import { loadTopology } from '../src/topology/load-topology.js'
import { ReleaseDesk } from '../src/topology/release-desk.js'
import { CardWorld, type CardTopology, type CardWorldOptions } from './card-world.js'
import type { BenchEngine } from './bench-engine.js'
import { median } from './meter.js'

const startMsMax = 300_000
const inForceMsMax = 60_000
const drainMsMax = 120_000
/** Before the first release, and again after the last: a machine that others use has better and worse minutes. */
const quietSeconds = 20
/** Between two releases. */
const pauseMs = 200
/** Releases after which memory is looked at first: by then every model has been open. */
const settledReleases = 20
const candidates = ['card-attention@1', 'card-cnn@1', 'card-row@1'] as const
const signature = { actor: 'bench', reason: 'under load' }
/** No event may wait longer because of a release. */
const delayMsWanted = 100

export interface ReleaseBenchOptions extends CardWorldOptions {
  /** Releases and rollbacks together, in turns. */
  readonly releases: number
}

interface Spread {
  readonly p50: number
  readonly max: number
}

interface Delays {
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly events: number
  /** Events that took longer than 100 ms. */
  readonly over100: number
}

export interface ReleaseBenchResult {
  readonly releases: number
  readonly eventsPerSecond: number
  readonly events: number
  readonly lost: number
  readonly doubled: number
  /** Events that were not scored by the models of a release that was in the ledger, or not decided by its champion. */
  readonly misversioned: number
  /** From the call until the engine scores by it, ms. */
  readonly rollbackMs: Spread
  readonly releaseMs: Spread
  /** Of that: opening the models, while the old ones score; and frames waiting for the turn. */
  readonly rollbackOpenMs: Spread
  readonly releaseOpenMs: Spread
  readonly switchMs: Spread
  readonly quiet: Delays
  readonly releasing: Delays
  /** Resident memory without that of the state, which grows with the cards: after the first releases, and at the end. */
  readonly bytesSettled: number
  readonly bytesEnd: number
  readonly seconds: number
}

interface Turn {
  readonly action: 'release' | 'rollback'
  readonly inForceMs: number
  readonly openMs: number
  readonly switchMs: number
}

/** Releases and rollbacks in turns on one engine under load, and what a committed reader finds afterwards. */
export async function benchReleases(options: ReleaseBenchOptions): Promise<ReleaseBenchResult> {
  const { connections, perSecond, releases, onStep } = options
  const world = new CardWorld(options)
  await world.admin.start()
  let engine: BenchEngine | undefined
  try {
    const topology = world.topology('bench-releases')
    engine = world.engine(topology)
    await engine.running(startMsMax)
    const quiet = new LatencyHistogram()
    const releasing = new LatencyHistogram()
    let into: LatencyHistogram | undefined
    engine.onStats = (stats) => into?.merge(LatencyHistogram.fromJSON(stats.delayHistogram))
    const load = await world.load()
    await engine.until('a score', (stats) => (stats?.counters.scored ?? 0) > perSecond, startMsMax)
    await engine.until('what came before it', (stats) => (stats?.lag ?? Infinity) < perSecond / 10, startMsMax)
    const quietly = async (): Promise<void> => {
      onStep(`${quietSeconds} s of load without a release`)
      into = quiet
      await systemClock.sleep(quietSeconds * 1000)
    }
    await quietly()
    const turns = new TurnWatch(engine)
    const desk = await ReleaseDesk.open({ topology: loadTopology(topology.file), ...connections, namespace: world.namespace, clock: systemClock, logger: silentLogger })
    const written: Release[] = []
    const found: Turn[] = []
    let bytesSettled = 0
    const bytes = (of: BenchEngine): number => of.residentBytes - of.stats!.stateBytes
    const startedMs = systemClock.monotonicMs()
    into = releasing
    try {
      for (let index = 0; index < releases; index++) {
        const action = index % 2 === 0 ? 'release' : 'rollback'
        const calledMs = systemClock.monotonicMs()
        const change: ReleaseChange = action === 'release' ? { action, ...(await desk.version(candidates[(index / 2) % candidates.length]!)) } : { action }
        written.push(await desk.change(change, signature))
        const turn = await turns.of(written.length)
        found.push({ action, inForceMs: turn.atMs - calledMs, openMs: turn.openMs, switchMs: turn.switchMs })
        if (index + 1 === Math.min(settledReleases, releases)) bytesSettled = bytes(engine)
        if ((index + 1) % 10 === 0) onStep(`${index + 1} of ${releases}; the last in force after ${Math.round(found.at(-1)!.inForceMs)} ms, ${Math.round(engine.residentBytes / 1e6)} MB resident, ${Math.round(engine.stats!.stateBytes / 1e6)} MB of it state`)
        await systemClock.sleep(pauseMs)
      }
    } finally {
      await desk.close()
    }
    const seconds = (systemClock.monotonicMs() - startedMs) / 1000
    await quietly()
    into = undefined
    await load.stop()
    const bytesEnd = bytes(engine)
    await drained(world, topology, engine)
    await engine.stop()
    onStep('reading back')
    const judged = await judge(options, topology, written)
    const spread = (of: (turn: Turn) => number, action?: Turn['action']): Spread => {
      const values = found.filter((turn) => action === undefined || turn.action === action).map(of)
      return { p50: Math.round(median(values)), max: Math.round(Math.max(...values)) }
    }
    return {
      releases, eventsPerSecond: perSecond, ...judged,
      rollbackMs: spread((turn) => turn.inForceMs, 'rollback'), releaseMs: spread((turn) => turn.inForceMs, 'release'),
      rollbackOpenMs: spread((turn) => turn.openMs, 'rollback'), releaseOpenMs: spread((turn) => turn.openMs, 'release'), switchMs: spread((turn) => turn.switchMs),
      quiet: delaysOf(quiet), releasing: delaysOf(releasing), bytesSettled, bytesEnd, seconds: Math.round(seconds),
    }
  } finally {
    await engine?.stop()
    await world.close()
  }
}

/** What the engine's log says of releases that came in force. */
class TurnWatch {
  readonly #engine: BenchEngine
  readonly #turns = new Map<number, { atMs: number; openMs: number; switchMs: number }>()
  readonly #changed = new Condition()

  constructor(engine: BenchEngine) {
    this.#engine = engine
    engine.onLog = (line) => {
      if (!line.includes('"a release is in force"')) return
      const { revision, openMs, switchMs } = JSON.parse(line) as { revision: number; openMs: number; switchMs: number }
      this.#turns.set(revision, { atMs: systemClock.monotonicMs(), openMs, switchMs })
      this.#changed.notify()
    }
  }

  async of(revision: number): Promise<{ atMs: number; openMs: number; switchMs: number }> {
    const came = await this.#changed.within(() => this.#turns.has(revision) || this.#engine.ended, inForceMsMax, systemClock)
    if (!came || !this.#turns.has(revision)) throw new Error(`revision ${revision} did not come in force`)
    return this.#turns.get(revision)!
  }
}

async function drained(world: CardWorld, topology: CardTopology, engine: BenchEngine): Promise<void> {
  const sent = await world.sent(topology)
  await engine.until('all committed', (stats) => (stats?.tasks ?? []).reduce((sum, { position }) => sum + Math.max(0, position), 0) >= sent, drainMsMax)
}

function delaysOf(histogram: LatencyHistogram): Delays {
  const over100 = histogram.count - histogram.countsUpTo([delayMsWanted])[0]!
  const round = (value: number): number => Number(value.toFixed(1))
  return { p50: round(histogram.quantile(0.5)), p99: round(histogram.quantile(0.99)), p999: round(histogram.quantile(0.999)), events: histogram.count, over100 }
}

interface ScoredEvent {
  readonly event_id: string
  readonly model: string
  readonly fallback: boolean
  readonly lineage: { readonly task: string; readonly sequence: number }
}

/** By kafkajs and avsc: what the engine wrote is read by another hand. */
async function judge({ connections }: ReleaseBenchOptions, { names }: CardTopology, written: readonly Release[]): Promise<Pick<ReleaseBenchResult, 'events' | 'lost' | 'doubled' | 'misversioned'>> {
  const read = await readCommitted(connections, [names.input, names.scored, names.lineage])
  const type = avro.Type.forSchema(loadOwnSchema('scored-event') as avro.Schema)
  const body = (value: Buffer | null): Buffer => value!.subarray(prefixBytes)
  const lineage = new Map<string, LineageRecord>()
  const key = (task: string, sequence: number): string => `${task}#${sequence}`
  for (const { value } of read.get(names.lineage)!) {
    const record = decodeLineage(value!)
    lineage.set(key(record.task, record.sequence), record)
  }
  const told = (models: readonly { role: string; model: string; sha256: string }[]): string => models.map(({ role, model, sha256 }) => `${role} ${model} ${sha256}`).join(', ')
  const named = written[0]!.from
  const seen = new Set<string>()
  let doubled = 0
  let misversioned = 0
  for (const { value } of read.get(names.scored)!) {
    const event = type.fromBuffer(body(value)) as ScoredEvent
    if (seen.has(event.event_id)) doubled++
    seen.add(event.event_id)
    const record = lineage.get(key(event.lineage.task, event.lineage.sequence))
    const released = record && (record.release === 0 ? named : written[record.release - 1]?.to)
    if (!released || told(record.models) !== told(released) || event.fallback || event.model !== released[0]!.model) misversioned++
  }
  const events = read.get(names.input)!.length
  return { events, lost: events - seen.size, doubled, misversioned }
}
