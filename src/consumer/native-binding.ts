import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { HarrierError, messageOf } from '../base/errors.js'

/** `[topic, partition, offset, topic, partition, offset, ...]`; the offset counts for calls that move to one. */
export type FlatPartitions = readonly (string | number)[]

/** The arrays of a RecordColumns in the order of its fields, then the bytes of its arena. */
export type FlatColumns = readonly [Uint8Array, Int32Array, Float64Array, Float64Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Uint8Array]

/**
 * What librdkafka tells besides answers: `kind` is `log` (code: level, detail: facility), `error` (flag: fatal), `delivery`
 * (detail: topic) or `rebalance` (flag: the partitions are lost already; partitions: topic, partition, offset, error each).
 */
export type NativeListener = (kind: string, code: number, text: string, detail: string, flag: boolean, partitions: readonly (string | number)[]) => void

/**
 * A client of librdkafka in native/addon.cc. Calls that give a promise run in threads of their own and hold up neither each
 * other nor anybody in libuv's pool; arrays that they were given are theirs until then. Rejections carry `code`, `isFatal`,
 * `isRetriable` and `isTxnRequiresAbort`; wrong arguments throw a TypeError.
 */
export interface NativeClient {
  subscribe(topics: readonly string[]): void
  /** Leaves the group, a static member too; its partitions are revoked first. */
  unsubscribe(): void
  /** The topics whose records are wanted; their order gives the topic index. Between polls only. */
  setTopics(topics: readonly string[]): void
  assign(partitions: FlatPartitions): void
  incrementalAssign(partitions: FlatPartitions): void
  incrementalUnassign(partitions: FlatPartitions): void
  pause(partitions: FlatPartitions): void
  resume(partitions: FlatPartitions): void
  /** A seek that is not waited for: it takes effect before what is asked of these partitions next. */
  seekSoon(partitions: FlatPartitions): void
  setToken(token: string, expiryMs: number): void
  /** Where brokers are looked for, `host:port,…`, once more; nothing is waited for. */
  addBrokers(brokers: string): void
  /** The end as the last fetch told it; negative before the first. */
  knownEnd(topic: string, partition: number): number
  /** Ends the wait of the poll under way. */
  interrupt(): void
  /**
   * Appends records from row `row` on and arena byte `used` on. Gives `[rows, used, needed]`, then for each error or end of a
   * partition in the batch `code, message, topic, partition, offset`. `needed` > 0: a record waits for so many more bytes of
   * arena, or for room, and must be taken before anything else is done with the client.
   */
  poll(columns: FlatColumns, rows: number, row: number, used: number, room: number, delayMs: number, fillMs: number): Promise<[number, number, number, ...(string | number)[]]>
  seek(partitions: FlatPartitions, timeoutMs: number): Promise<void>
  /** `[topic, partition, offset, error, ...]`. */
  committed(partitions: FlatPartitions, timeoutMs: number): Promise<(string | number)[]>
  watermarks(topic: string, partition: number, timeoutMs: number): Promise<[number, number]>
  /** As the brokers say now; rejected with what they say of a topic that is not there, or not for us. With an empty name only an answer is waited for. */
  partitionCount(topic: string, timeoutMs: number): Promise<number>
  /** `[topic, partitions, topic, ...]` of all topics that we may see. */
  partitionCounts(timeoutMs: number): Promise<(string | number)[]>
  initTransactions(timeoutMs: number): Promise<void>
  begin(): Promise<void>
  send(columns: FlatColumns, rows: number, topics: readonly string[]): Promise<void>
  sendOffsets(partitions: FlatPartitions, consumer: NativeClient, timeoutMs: number): Promise<void>
  flush(timeoutMs: number): Promise<void>
  commit(timeoutMs: number): Promise<void>
  abort(timeoutMs: number): Promise<void>
  /** Waits for all other calls. Afterwards calls are rejected. */
  close(): Promise<void>
}

export interface NativeBinding {
  readonly Client: new (isConsumer: boolean, settings: readonly string[], listener: NativeListener) => NativeClient
  /** Of librdkafka. */
  readonly version: string
  /** What this build of librdkafka can do: names with commas between them. */
  readonly features: string
}

export const nativeFile = fileURLToPath(new URL('../../../native/build/Release/harrier-kafka.node', import.meta.url))
let loaded: NativeBinding | { readonly why: string } | undefined

/** How a client that is not there is compiled. */
export const nativeRemedy = 'apt-get install g++ make python3, then npm run build:native'

/** The addon, or why it is not here. */
export function loadNative(): NativeBinding | { readonly why: string } {
  loaded ??= load()
  return loaded
}

/** @throws HarrierError PREREQUISITE_MISSING when it was not compiled, or does not load. */
export function requireNative(): NativeBinding {
  const native = loadNative()
  if ('why' in native) throw new HarrierError('PREREQUISITE_MISSING', native.why, { remedy: nativeRemedy })
  return native
}

function load(): NativeBinding | { readonly why: string } {
  if (!existsSync(nativeFile)) return { why: 'the native Kafka client was not compiled' }
  try {
    return createRequire(import.meta.url)(nativeFile) as NativeBinding
  } catch (error) {
    return { why: `the native Kafka client does not load: ${messageOf(error).split('\n')[0]}` }
  }
}
