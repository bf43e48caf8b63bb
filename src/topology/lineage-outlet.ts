import type { Clock } from '../base/clock.js'
import { Condition } from '../base/condition.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { RecordColumns } from '../base/record-columns.js'
import { HttpClient } from '../connection/http-client.js'
import type { Secret } from '../connection/secret.js'
import type { TransactionalProducer } from '../producer/transactional-producer.js'

export interface OutletLimits {
  /** Events that wait; the oldest go first. */
  readonly eventsMax: number
  /** Pause after a failure, doubled up to the largest. */
  readonly pauseMsMin: number
  readonly pauseMsMax: number
  /** How long one event may take to be taken. */
  readonly sendMsMax: number
  /** How long the end of a process waits for what is left. */
  readonly closeMsMax: number
}

export const outletLimits: OutletLimits = { eventsMax: 1000, pauseMsMin: 500, pauseMsMax: 60_000, sendMsMax: 10_000, closeMsMax: 2000 }

/** Takes events away, one after the other. `refused`: it will never take this one. */
export interface LineageTarget {
  readonly name: string
  send(event: string, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

/** An event that a target has refused for what it is: another try would end alike. */
export class EventRefused extends Error {}

/**
 * Lineage events on their way to one target, in order, beside the scoring: who offers one never waits. A target that is away is tried
 * again, ever more slowly; what it does not take meanwhile waits, at most `eventsMax` of them.
 */
export class LineageOutlet {
  dropped = 0
  readonly #target: LineageTarget
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #limits: OutletLimits
  readonly #queue: string[] = []
  readonly #changed = new Condition()
  readonly #stopper = new AbortController()
  #closing = false
  readonly #running: Promise<void>

  constructor(target: LineageTarget, { clock, logger, limits = {} }: { readonly clock: Clock; readonly logger: Logger; readonly limits?: Partial<OutletLimits> }) {
    this.#target = target
    this.#clock = clock
    this.#logger = logger
    this.#limits = { ...outletLimits, ...limits }
    this.#running = this.#run()
  }

  offer(event: string): void {
    if (this.#closing) return
    this.#queue.push(event)
    if (this.#queue.length > this.#limits.eventsMax) {
      this.#queue.shift()
      this.dropped++
    }
    this.#changed.notify()
  }

  /** Waits for what is left, no longer than `closeMsMax`. */
  async close(): Promise<void> {
    this.#closing = true
    this.#changed.notify()
    void this.#clock.sleep(this.#limits.closeMsMax, this.#stopper.signal).then(() => this.#stopper.abort())
    await this.#running
    this.#stopper.abort()
    if (this.#queue.length > 0 || this.dropped > 0) this.#logger.log('warn', 'lineage events were not taken', { target: this.#target.name, left: this.#queue.length, dropped: this.dropped })
    await this.#target.close()
  }

  async #run(): Promise<void> {
    const { pauseMsMin, pauseMsMax } = this.#limits
    const { signal } = this.#stopper
    let pauseMs = pauseMsMin
    for (;;) {
      await this.#changed.until(() => this.#queue.length > 0 || this.#closing)
      const event = this.#queue[0]
      if (event === undefined || signal.aborted) return
      try {
        await this.#send(event)
        pauseMs = pauseMsMin
      } catch (error) {
        if (signal.aborted) return
        if (!(error instanceof EventRefused)) {
          if (pauseMs === pauseMsMin) this.#logger.log('warn', 'lineage events are not taken; they wait', { target: this.#target.name, cause: messageOf(error) })
          await this.#clock.sleep(pauseMs, signal)
          pauseMs = Math.min(pauseMsMax, pauseMs * 2)
          continue
        }
        this.dropped++
        this.#logger.log('error', 'a lineage event was refused', { target: this.#target.name, cause: error.message })
      }
      // Those that came meanwhile may have pushed it out.
      if (this.#queue[0] === event) this.#queue.shift()
    }
  }

  async #send(event: string): Promise<void> {
    const { sendMsMax } = this.#limits
    const limit = new AbortController()
    const stop = (): void => limit.abort(new Error('the process ends'))
    this.#stopper.signal.addEventListener('abort', stop, { once: true })
    const done = new AbortController()
    void this.#clock.sleep(sendMsMax, done.signal).then(() => limit.abort(new Error(`no answer within ${sendMsMax} ms`)))
    try {
      await this.#target.send(event, limit.signal)
    } finally {
      done.abort()
      this.#stopper.signal.removeEventListener('abort', stop)
    }
  }
}

/** Answers that mean: not now. */
const passing = new Set([408, 425, 429])

/** POSTs each event, as the OpenLineage clients do. */
export class HttpTarget implements LineageTarget {
  readonly name: string
  readonly #url: string
  readonly #apiKey: Secret | undefined
  readonly #client = new HttpClient()

  constructor(url: string, apiKey: Secret | undefined) {
    this.#url = url
    this.#apiKey = apiKey
    const { origin, pathname } = new URL(url)
    this.name = `${origin}${pathname}`
  }

  async send(event: string, signal: AbortSignal): Promise<void> {
    const headers = { 'content-type': 'application/json', ...(this.#apiKey ? { authorization: `Bearer ${this.#apiKey.reveal()}` } : {}) }
    const { status, text } = await this.#client.request(this.#url, { method: 'POST', headers, body: event, signal })
    if (status >= 200 && status < 300) return
    const what = `status ${status}: ${text.slice(0, 200)}`
    if (status >= 400 && status < 500 && !passing.has(status)) throw new EventRefused(what)
    throw new Error(what)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

/** Writes each event as JSON, with the job as its key, in a transaction of its own. */
export class TopicTarget implements LineageTarget {
  readonly name: string
  readonly #topic: string
  readonly #key: Buffer
  readonly #make: () => TransactionalProducer
  #producer: TransactionalProducer | undefined

  constructor(topic: string, key: string, make: () => TransactionalProducer) {
    this.name = `topic ${topic}`
    this.#topic = topic
    this.#key = Buffer.from(key)
    this.#make = make
  }

  async send(event: string): Promise<void> {
    try {
      if (!this.#producer) {
        this.#producer = this.#make()
        await this.#producer.init()
      }
      const columns = new RecordColumns(1)
      columns.append(0, 0, 0, Date.parse((JSON.parse(event) as { eventTime: string }).eventTime), this.#key, Buffer.from(event))
      await this.#producer.begin()
      await this.#producer.send(columns, [this.#topic])
      await this.#producer.commit()
    } catch (error) {
      // whatever has become of the transaction: the next try begins with a producer of its own
      await this.close()
      throw error instanceof HarrierError ? error : new Error(messageOf(error))
    }
  }

  async close(): Promise<void> {
    const producer = this.#producer
    this.#producer = undefined
    await producer?.close().catch(() => undefined)
  }
}
