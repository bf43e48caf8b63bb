import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { partitionByKey, RecordColumns } from '../base/record-columns.js'
import type { RecordProducer } from './record-producer.js'

export interface OutboxLimits {
  /** Records, and bytes of their keys, values and headers, that wait for a send. */
  readonly recordsMax: number
  readonly bytesMax: number
  /** Until a send is acknowledged. Longer than `message.timeout.ms`: then none of it is under way any more. */
  readonly deliveredMsMax: number
  /** How long the last send may take when the outbox closes. */
  readonly closeMsMax: number
}

export interface OutboxRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly headers: readonly (readonly [name: string, value: string])[]
}

interface Batch {
  readonly columns: RecordColumns
  readonly waiting: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[]
}

/** Rows that a batch has room for at first. */
const rowsAtFirst = 64

/**
 * Single records of many callers, to one topic and by their keys: what comes in one turn of the event loop, or while a send is on its way,
 * goes out in one send.
 *
 * Owns: a producer, and two batches. One send at a time; its end, good or bad, is told to those whose records were in it, and to no others.
 */
export class RecordOutbox {
  readonly #producer: RecordProducer
  readonly #topics: readonly [string]
  readonly #limits: OutboxLimits
  readonly #clock: Clock
  #filling: Batch = { columns: new RecordColumns(rowsAtFirst), waiting: [] }
  #empty: Batch = { columns: new RecordColumns(rowsAtFirst), waiting: [] }
  #sending: Promise<void> | undefined
  #isClosed = false

  constructor(producer: RecordProducer, topic: string, limits: OutboxLimits, clock: Clock) {
    this.#producer = producer
    this.#topics = [topic]
    this.#limits = limits
    this.#clock = clock
  }

  /**
   * Resolves when the brokers have the record. Errors: OVERLOADED, and nothing was sent; those of `RecordProducer.send` and
   * `delivered`, and it may have been taken all the same.
   */
  put({ key, value, headers }: OutboxRecord): Promise<void> {
    const { columns, waiting } = this.#filling
    const { recordsMax, bytesMax } = this.#limits
    if (columns.count >= recordsMax || columns.arena.used + key.length + value.length > bytesMax) {
      return Promise.reject(new HarrierError('OVERLOADED', `${columns.count} records wait until the brokers take more`, { retryAfterMs: 1000 }))
    }
    columns.makeRoom(1)
    columns.append(0, partitionByKey, 0, this.#clock.nowMs(), key, value)
    for (const [name, text] of headers) columns.appendHeader(name, text)
    this.#sending ??= nextTurn().then(() => this.#sendAll())
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }))
  }

  /** Sends what waits, then ends the producer. */
  async close(): Promise<void> {
    const { closeMsMax } = this.#limits
    const ended = new AbortController()
    await Promise.race([this.#sending, this.#clock.sleep(closeMsMax, ended.signal)])
    ended.abort()
    this.#isClosed = true
    await this.#producer.close(closeMsMax)
  }

  async #sendAll(): Promise<void> {
    while (this.#filling.columns.count > 0) {
      const batch = this.#filling
      this.#filling = this.#empty
      const { columns, waiting } = batch
      try {
        if (this.#isClosed) throw new HarrierError('BROKER_UNAVAILABLE', 'the producer is closed')
        await this.#producer.send(columns, this.#topics)
        await this.#producer.delivered(this.#limits.deliveredMsMax)
        for (const { resolve } of waiting) resolve()
      } catch (error) {
        for (const { reject } of waiting) reject(error)
      }
      columns.reset()
      waiting.length = 0
      this.#empty = batch
    }
    this.#sending = undefined
  }
}
