import type { RecordColumns } from '../base/record-columns.js'
import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import { RegistryClient, type SchemaLookup } from '../codec/registry-client.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin, type KafkaAdmin } from '../consumer/admin.js'
import { RangeReader } from '../consumer/range-reader.js'

/** Offsets [from, to) of a partition. */
export interface LogRange {
  readonly topic: string
  readonly partition: number
  readonly from: number
  readonly to: number
}

/** What is kept of a partition: offsets [from, to). */
export interface LogBounds {
  readonly from: number
  readonly to: number
}

/** Committed records of topics, wherever they are kept: on the broker, in an archive, or in a test's memory. */
export interface RecordLog extends SchemaLookup {
  /** Partitions of a topic; undefined where there is none. */
  partitions(topic: string): Promise<number | undefined>
  /** Undefined where nothing is known of the partition. */
  bounds(topic: string, partition: number): Promise<LogBounds | undefined>
  /** The first offset whose record has this timestamp (ms) or a later one; the end where there is none. Timestamps may fall: records behind it may be older. */
  offsetAtTime(topic: string, partition: number, timeMs: number): Promise<number>
  /** Records of a range that is kept, in the order of their offsets. The columns are valid until the promise is fulfilled. */
  read(range: LogRange, onBatch: (columns: RecordColumns) => void | Promise<void>, signal?: AbortSignal): Promise<void>
}

/** Answers of brokers that are kept: places of a time in a topic. */
const timesKeptMax = 1000

/** The topics of a cluster, by a reader that joins no group and commits nothing. */
export class KafkaLog implements RecordLog {
  readonly #connections: ClusterConnection
  readonly #clock: Clock
  readonly #reader: RangeReader
  readonly #registry: RegistryClient
  readonly #partitions = new Map<string, number | undefined>()
  /** By topic and time. */
  readonly #times = new Map<string, Promise<Map<number, number>>>()

  static async open(connections: ClusterConnection, clock: Clock, logger: Logger): Promise<KafkaLog> {
    const { brokers, security, registryUrl, registrySecurity } = connections
    const reader = new RangeReader({ brokers, security, clock, logger, ...connectLimits(connections) })
    await reader.start()
    return new KafkaLog(connections, clock, reader, new RegistryClient(registryUrl, { clock, logger, security: registrySecurity }))
  }

  private constructor(connections: ClusterConnection, clock: Clock, reader: RangeReader, registry: RegistryClient) {
    this.#connections = connections
    this.#clock = clock
    this.#reader = reader
    this.#registry = registry
  }

  async partitions(topic: string): Promise<number | undefined> {
    if (!this.#partitions.has(topic)) {
      const counts = await this.#asked((admin) => admin.partitionCounts([topic]))
      this.#partitions.set(topic, counts.get(topic))
    }
    return this.#partitions.get(topic)
  }

  #asked<T>(work: (admin: KafkaAdmin) => Promise<T>): Promise<T> {
    const { brokers, security, connectMsMax } = this.#connections
    return withAdmin({ brokers, security, clock: this.#clock, ...connectLimits({ connectMsMax }) }, work)
  }

  async offsetAtTime(topic: string, partition: number, timeMs: number): Promise<number> {
    const key = `${topic} ${timeMs}`
    const asked = this.#times.get(key) ?? this.#asked((admin) => admin.offsetsAtTime(topic, timeMs))
    this.#times.set(key, asked)
    if (this.#times.size > timesKeptMax) this.#times.delete(this.#times.keys().next().value!)
    return (await asked).get(partition) ?? 0
  }

  async bounds(topic: string, partition: number): Promise<LogBounds | undefined> {
    if (partition >= ((await this.partitions(topic)) ?? 0)) return undefined
    const { low, stableEnd } = await this.#reader.watermarks(topic, partition)
    return { from: low, to: stableEnd }
  }

  async read(range: LogRange, onBatch: (columns: RecordColumns) => void | Promise<void>, signal?: AbortSignal): Promise<void> {
    await this.#reader.readRange(range, onBatch, signal ? { signal } : {})
    signal?.throwIfAborted()
  }

  schemaById(id: number, signal?: AbortSignal): Promise<object> {
    return this.#registry.schemaById(id, signal)
  }

  isUnknownId(id: number): boolean {
    return this.#registry.isUnknownId(id)
  }

  close(): Promise<void> {
    return this.#reader.close()
  }
}
