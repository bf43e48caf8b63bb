import { Arena } from '../base/arena.js'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { RecordColumns } from '../base/record-columns.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { RangeReader } from '../consumer/range-reader.js'

/** Searches that wait for their turn. */
const searchesMax = 100
const foundArenaBytes = 1 << 12

export interface FoundRequest {
  readonly topic: string
  /** One row. */
  readonly columns: RecordColumns
}

export interface RequestSearchOptions {
  readonly connection: ClusterConnection
  /** Its value is the request's id. */
  readonly header: Uint8Array
  readonly clock: Clock
  readonly logger: Logger
}

/** Looks for the record of a request in the log, by its header: what came before somebody here has asked. */
export class RequestSearch {
  readonly #options: RequestSearchOptions
  #reader: Promise<RangeReader> | undefined
  #waiting = 0

  constructor(options: RequestSearchOptions) {
    this.#options = options
  }

  async #open(): Promise<RangeReader> {
    const { connection, clock, logger } = this.#options
    const { brokers, security } = connection
    const reader = new RangeReader({ brokers, security, clock, logger, ...connectLimits(connection) })
    await reader.start()
    return reader
  }

  /** Among committed records with timestamps of [fromMs, toMs). Errors: OVERLOADED, those of a connection. */
  async find(topics: readonly string[], id: string, { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }, signal: AbortSignal): Promise<FoundRequest | undefined> {
    if (this.#waiting >= searchesMax) throw new HarrierError('OVERLOADED', `${this.#waiting} searches for earlier requests wait`, { retryAfterMs: 1000 })
    this.#waiting++
    try {
      this.#reader ??= this.#open()
      this.#reader.catch(() => (this.#reader = undefined))
      const reader = await this.#reader
      const { connection, clock } = this.#options
      const { brokers, security } = connection
      const ranges = await withAdmin({ brokers, security, clock, ...connectLimits(connection) }, async (admin) => {
        const found = []
        for (const topic of topics) found.push({ topic, from: await admin.offsetsAtTime(topic, fromMs), to: await admin.offsetsAtTime(topic, toMs) })
        return found
      })
      for (const { topic, from, to } of ranges) {
        for (const [partition, first] of from) {
          const columns = await this.#findIn(reader, { topic, partition, from: first, to: to.get(partition) ?? first }, Buffer.from(id), signal)
          if (columns) return { topic, columns }
        }
      }
      return undefined
    } finally {
      this.#waiting--
    }
  }

  async #findIn(reader: RangeReader, { topic, partition, from, to }: { topic: string; partition: number; from: number; to: number }, id: Buffer, signal: AbortSignal): Promise<RecordColumns | undefined> {
    const { stableEnd } = await reader.watermarks(topic, partition)
    const end = Math.min(to, stableEnd)
    if (from >= end) return undefined
    const enough = new AbortController()
    let found: RecordColumns | undefined
    const look = (columns: RecordColumns): void => {
      for (let row = 0; row < columns.count && !found; row++) {
        const header = columns.headersBytes[row] === 0 ? null : columns.header(row, this.#options.header)
        if (!header || !id.equals(header)) continue
        found = new RecordColumns(1, new Arena(foundArenaBytes))
        found.copyRow(columns, row)
        enough.abort()
      }
    }
    await reader.readRange({ topic, partition, from, to: end }, look, { signal: AbortSignal.any([signal, enough.signal]) })
    signal.throwIfAborted()
    return found
  }

  async close(): Promise<void> {
    await (await this.#reader?.catch(() => undefined))?.close()
  }
}
