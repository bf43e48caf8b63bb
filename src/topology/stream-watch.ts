import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { GenericDecoder } from '../codec/generic-decoder.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { RangeReader } from '../consumer/range-reader.js'
import type { EngineStats } from './engine-stats.js'
import type { Topology } from './load-topology.js'
import { topologyNames, type TopologyNames } from './names.js'
import { deadLetterRow, scoredRow, type DeadLetterRow, type Place, type ScoredRow } from './record-view.js'

export const streamWatchLimits = {
  /** Who looks at once. */
  watchersMax: 50,
  /** From the end of one look to the next. */
  pauseMs: 1000,
  /** Newest records of a partition that one look takes in: what comes faster is shown in part. */
  scoredPerPartition: 6,
  alertsPerPartition: 25,
  /** What a new watcher finds. */
  scoredKept: 24,
  alertsKept: 100,
  deadLettersKept: 50,
  figuresKept: 180,
} as const

/** What a moment of the stream was. */
export interface StreamFigures {
  /** ms since 1970 */
  readonly time: number
  /** Of the engine in this process, or of the one whose statistics come here; `elsewhere` where there is none. */
  readonly state: string
  /** Since the look before. Where no engine is here: committed offsets of the scored topic, transaction markers included. */
  readonly eventsPerSecond: number
  /** Null where no engine is here. */
  readonly lag: number | null
  readonly delayMs: { readonly p50: number; readonly p99: number } | null
  readonly totals: { readonly scored: number; readonly alerts: number; readonly deadLetters: number } | null
  readonly entities: number | null
  readonly models: readonly { readonly model: string; readonly role: string; readonly share: number; readonly device: string }[]
}

export interface StreamNews {
  readonly figures: readonly StreamFigures[]
  /** Oldest first. */
  readonly scored: readonly ScoredRow[]
  readonly alerts: readonly ScoredRow[]
  readonly deadLetters: readonly DeadLetterRow[]
}

export interface StreamWatchOptions {
  readonly connection: ClusterConnection
  readonly topology: Topology
  readonly namespace?: string | undefined
  /** The newest statistics of an engine, where there is one. */
  readonly stats?: (() => EngineStats | undefined) | undefined
  readonly clock: Clock
  readonly logger: Logger
}

interface Followed {
  readonly topic: string
  readonly perPartition: number
  /** Next offset of each partition. */
  readonly next: number[]
}

/**
 * Looks at a running topology for people: the newest records of its outputs, and figures of its engine, as long as somebody watches.
 *
 * Owns: one reader, and short lists of what was seen last. A look costs a few records of each partition however fast the stream is, so it
 * shows a part of a fast one. It joins no group, commits nothing, and reads what is committed.
 */
export class StreamWatch {
  readonly #options: StreamWatchOptions
  readonly #names: TopologyNames
  readonly #decoder: GenericDecoder
  readonly #watchers = new Set<(news: StreamNews) => void>()
  readonly #recent = { figures: [] as StreamFigures[], scored: [] as ScoredRow[], alerts: [] as ScoredRow[], deadLetters: [] as DeadLetterRow[] }
  readonly #followed: { readonly scored: Followed; readonly alerts: Followed; readonly deadLetters: Followed }
  #running: Promise<void> | undefined
  readonly #closing = new AbortController()
  #ends = 0
  #before: { scored: number; atMs: number } | undefined

  constructor(options: StreamWatchOptions) {
    this.#options = options
    const { connection, topology, namespace, clock, logger } = options
    this.#names = topologyNames(topology.chain.at(-1)!, namespace)
    this.#decoder = new GenericDecoder(new RegistryClient(connection.registryUrl, { clock, logger, security: connection.registrySecurity }))
    const { scored, alerts, deadLetters } = this.#names
    const { scoredPerPartition, alertsPerPartition } = streamWatchLimits
    this.#followed = {
      scored: { topic: scored, perPartition: scoredPerPartition, next: [] },
      alerts: { topic: alerts, perPartition: alertsPerPartition, next: [] },
      deadLetters: { topic: deadLetters, perPartition: alertsPerPartition, next: [] },
    }
  }

  /** What was seen last, and from then on what is new, until the returned function is called. Errors: OVERLOADED. */
  watch(onNews: (news: StreamNews) => void): () => void {
    if (this.#watchers.size >= streamWatchLimits.watchersMax) throw new HarrierError('OVERLOADED', `${this.#watchers.size} watch already`, { retryAfterMs: 30_000 })
    onNews(this.#recent)
    this.#watchers.add(onNews)
    this.#running ??= this.#run()
    return () => void this.#watchers.delete(onNews)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#watchers.clear()
    await this.#running
  }

  /** As long as somebody watches; whatever fails is tried again. */
  async #run(): Promise<void> {
    const { clock, logger } = this.#options
    while (this.#watchers.size > 0 && !this.#closing.signal.aborted) {
      await this.#lookOn().catch(async (error: unknown) => {
        logger.log('warn', 'the stream could not be looked at', { cause: messageOf(error) })
        this.#tell({ figures: [this.#figures()], scored: [], alerts: [], deadLetters: [] })
        await clock.sleep(streamWatchLimits.pauseMs, this.#closing.signal)
      })
    }
    this.#running = undefined
  }

  async #lookOn(): Promise<void> {
    const { clock, logger, connection } = this.#options
    const { brokers, security } = connection
    const reader = new RangeReader({ brokers, security, clock, logger, groupId: this.#names.group, ...connectLimits(connection) })
    try {
      await reader.start()
      while (this.#watchers.size > 0 && !this.#closing.signal.aborted) {
        await this.#look(reader)
        await clock.sleep(streamWatchLimits.pauseMs, this.#closing.signal)
      }
    } finally {
      await reader.close()
    }
  }

  async #look(reader: RangeReader): Promise<void> {
    const { scored, alerts, deadLetters } = this.#followed
    if (scored.next.length === 0) await this.#countPartitions()
    const toScored = async (place: Place, value: Uint8Array | null): Promise<ScoredRow | undefined> => scoredRow(place, await this.#decoder.decode(value, this.#closing.signal))
    const news = {
      scored: await this.#newest(reader, scored, (place, _headers, value) => toScored(place, value)),
      alerts: await this.#newest(reader, alerts, (place, _headers, value) => toScored(place, value)),
      deadLetters: await this.#newest(reader, deadLetters, (place, headers, value) => Promise.resolve(deadLetterRow(place, headers, value))),
    }
    this.#tell({ ...news, figures: [this.#figures()] })
  }

  /** Records of a topic that came since the look before, as far as they are among the newest. */
  async #newest<Row extends Place>(reader: RangeReader, { topic, perPartition, next }: Followed, toRow: (place: Place, headers: { name: string; value: Buffer | null }[], value: Uint8Array | null) => Promise<Row | undefined>): Promise<Row[]> {
    const rows: Row[] = []
    for (let partition = 0; partition < next.length; partition++) {
      const { low, stableEnd } = await reader.watermarks(topic, partition)
      const from = next[partition]!
      if (topic === this.#followed.scored.topic && from >= 0) this.#ends += Math.max(0, stableEnd - from)
      if (stableEnd <= Math.max(from, low)) continue
      const last = await reader.lastRecords(topic, partition, { count: perPartition, signal: this.#closing.signal })
      for (let row = 0; row < last.count; row++) {
        if (last.offset[row]! < from) continue
        const found = await toRow({ topic, partition, offset: last.offset[row]!, time: last.timestamp[row]! }, last.headers(row), last.value(row))
        if (found) rows.push(found)
      }
      next[partition] = Math.max(stableEnd, (last.offset[last.count - 1] ?? -1) + 1)
    }
    return rows.sort((a, b) => a.time - b.time || a.offset - b.offset)
  }

  async #countPartitions(): Promise<void> {
    const { connection, clock } = this.#options
    const followed = Object.values(this.#followed)
    const counts = await withAdmin({ ...connection, clock, ...connectLimits(connection) }, (admin) => admin.partitionCounts(followed.map(({ topic }) => topic)))
    for (const { topic, next } of followed) next.push(...Array<number>(counts.get(topic) ?? 0).fill(-1))
  }

  #figures(): StreamFigures {
    const { clock, stats: newest } = this.#options
    const atMs = clock.monotonicMs()
    const stats = newest?.()
    const scored = stats?.counters.scored ?? this.#ends
    const before = this.#before
    this.#before = { scored, atMs }
    const eventsPerSecond = before && scored >= before.scored ? Math.round(((scored - before.scored) * 1000) / Math.max(1, atMs - before.atMs)) : 0
    const finite = (value: number): boolean => Number.isFinite(value)
    return {
      time: clock.nowMs(),
      state: stats?.state ?? (newest ? 'starting' : 'elsewhere'),
      eventsPerSecond,
      lag: stats?.lag ?? null,
      delayMs: stats && finite(stats.delayMs.p50) && finite(stats.delayMs.p99) ? { p50: stats.delayMs.p50, p99: stats.delayMs.p99 } : null,
      totals: stats ? { scored: stats.counters.scored, alerts: stats.counters.alerts, deadLetters: stats.counters.deadLetters } : null,
      entities: stats?.entities ?? null,
      models: (stats?.models ?? []).map(({ model, role, share, device }) => ({ model, role, share, device })),
    }
  }

  #tell(news: StreamNews): void {
    const { figuresKept, scoredKept, alertsKept, deadLettersKept } = streamWatchLimits
    const { figures, scored, alerts, deadLetters } = this.#recent
    keep(figures, news.figures, figuresKept)
    keep(scored, news.scored, scoredKept)
    keep(alerts, news.alerts, alertsKept)
    keep(deadLetters, news.deadLetters, deadLettersKept)
    for (const onNews of this.#watchers) onNews(news)
  }
}

function keep<T>(list: T[], more: readonly T[], max: number): void {
  list.push(...more)
  list.splice(0, Math.max(0, list.length - max))
}
