import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { uniqueSuffix } from '../base/prng.js'
import type { RecordColumns } from '../base/record-columns.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { readRecord } from '../consumer/read-record.js'
import { TopicFollower } from '../consumer/topic-follower.js'
import { RecordOutbox } from '../producer/record-outbox.js'
import { RecordProducer } from '../producer/record-producer.js'

export const claimLimits = {
  /** Who has claimed a request sends it, or is behind. Longer than `sendMsMax` and the time in which a record is given up. */
  leaseMs: 20_000,
  /** After its claim a request is sent within this time, or not at all. */
  sendMsMax: 5000,
  /** How long a claim stands: as long as answers are remembered. */
  standsMs: 600_000,
  /** Claims that are remembered; the oldest go. */
  rememberedMax: 500_000,
  /** Clocks of brokers and instances differ by less. */
  skewMsMax: 10_000,
  messageMsMax: 10_000,
  deliveredMsMax: 15_000,
  /** Until an own claim that the brokers have is read. */
  readMsMax: 5000,
  pendingMax: 10_000,
  bytesMax: 16 << 20,
  catchUpMsMax: 30_000,
  retryPauseMs: 1000,
  closeMsMax: 2000,
} as const

/** By the broker's clock, so that all instances read the same times. */
const topicConfig = { 'cleanup.policy': 'delete', 'retention.ms': '900000', 'segment.ms': '300000', 'message.timestamp.type': 'LogAppendTime' }

/** The claim that stands for a request. */
export interface StandingClaim {
  /** Of the transaction. */
  readonly digest: string
  /** The broker's time, ms. */
  readonly atMs: number
}

export interface Claim {
  /** Ours stands: it is for us to send the request. */
  readonly isOurs: boolean
  /** The one that stood when ours came: where ours stands all the same, its lease had run out. */
  readonly before: StandingClaim | undefined
}

export interface RequestClaimsOptions {
  readonly connection: ClusterConnection
  readonly topic: string
  /** Default: `claimLimits.leaseMs`. */
  readonly leaseMs?: number | undefined
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Which instance sends the request of an idempotency key: all write a claim to one partition, and its order decides, over restarts too.
 *
 * Owns: a follower of the topic, an outbox. Talks to: nobody else.
 * 1. A claim stands unless another stood less than `leaseMs` before it, or one of another transaction less than `standsMs`: a function of the log, the same for all.
 * 2. Who reads that its own claim stands may send. An instance that died in between is replaced after `leaseMs` by whoever asks again, who first looks
 *    whether the request is in the log.
 */
export class RequestClaims {
  readonly #options: RequestClaimsOptions
  readonly #outbox: RecordOutbox
  readonly #standing = new Map<string, StandingClaim>()
  /** Own claims that have not been read, by their name. */
  readonly #unread = new Map<string, (claim: Claim) => void>()
  readonly #instance = uniqueSuffix()
  readonly #closing = new AbortController()
  #claims = 0
  #follower: TopicFollower | undefined
  /** Up to where it was read, when the follower has to begin anew. */
  #position = 0

  /** Makes the topic if it is missing. Errors: those of a connection, TOPIC_MISSING where it may not be made. */
  static async open(options: RequestClaimsOptions): Promise<RequestClaims> {
    const { connection, topic, clock, logger } = options
    const { brokers, security } = connection
    await withAdmin({ brokers, security, clock, ...connectLimits(connection) }, (admin) => admin.ensureTopics([{ topic, partitions: 1, config: topicConfig }], { create: true }))
    const producer = await RecordProducer.open({ ...connection, clock, logger, settings: { 'client.id': 'harrier-claims', 'message.timeout.ms': claimLimits.messageMsMax } })
    const claims = new RequestClaims(options, producer)
    try {
      await claims.#follow()
      if (!(await claims.#follower!.caughtUp(claimLimits.catchUpMsMax))) throw new HarrierError('BROKER_UNAVAILABLE', `${topic} could not be read within ${claimLimits.catchUpMsMax} ms`)
    } catch (error) {
      await claims.close()
      throw error
    }
    return claims
  }

  private constructor(options: RequestClaimsOptions, producer: RecordProducer) {
    const { pendingMax: recordsMax, bytesMax, deliveredMsMax, closeMsMax } = claimLimits
    this.#options = options
    this.#outbox = new RecordOutbox(producer, options.topic, { recordsMax, bytesMax, deliveredMsMax, closeMsMax }, options.clock)
  }

  async #follow(): Promise<void> {
    const { connection, topic, clock, logger } = this.#options
    const follower = new TopicFollower(connection, clock)
    this.#follower = follower
    await follower.connect()
    // While it was away retention may have come past where it stood.
    const { low } = await follower.watermarks(topic, 0)
    follower
      .follow([{ topic, partition: 0, offset: Math.max(low, this.#position) }], (columns, topics) => this.#onBatch(columns, topics))
      .catch(async (error: unknown) => {
        logger.log('error', 'following claims of requests failed; it goes on', { cause: messageOf(error) })
        await follower.close()
        while (!this.#closing.signal.aborted) {
          await clock.sleep(claimLimits.retryPauseMs, this.#closing.signal)
          try {
            return await this.#follow()
          } catch (again) {
            logger.log('warn', 'claims of requests cannot be followed', { cause: messageOf(again) })
            await this.#follower?.close()
          }
        }
      })
  }

  #onBatch(columns: RecordColumns, topics: readonly string[]): void {
    for (let row = 0; row < columns.count; row++) {
      this.#position = columns.offset[row]! + 1
      const { key, value } = readRecord(columns, row, topics)
      const [digest, name] = String(value ?? '').split(' ')
      if (key === null || !digest || !name) continue
      const claim = this.#decide(String(key), { digest, atMs: columns.timestamp[row]! })
      this.#unread.get(name)?.(claim)
    }
  }

  /** Invariant 1. */
  #decide(id: string, claim: StandingClaim): Claim {
    const { standsMs, rememberedMax } = claimLimits
    const { leaseMs = claimLimits.leaseMs } = this.#options
    const known = this.#standing.get(id)
    const before = known && claim.atMs - known.atMs < standsMs ? known : undefined
    const isOurs = !before || (claim.atMs - before.atMs >= leaseMs && claim.digest === before.digest)
    if (isOurs) {
      this.#standing.delete(id)
      this.#standing.set(id, claim)
      for (const [oldest, { atMs }] of this.#standing) {
        if (this.#standing.size <= rememberedMax && claim.atMs - atMs < standsMs) break
        this.#standing.delete(oldest)
      }
    }
    return { isOurs, before }
  }

  /** Errors: OVERLOADED, BROKER_UNAVAILABLE; the claim may stand all the same. */
  async claim(id: string, digest: string): Promise<Claim> {
    const { clock } = this.#options
    const name = `${this.#instance}-${this.#claims++}`
    const read = new Promise<Claim>((resolve) => this.#unread.set(name, resolve))
    const timer = new AbortController()
    try {
      await this.#outbox.put({ key: Buffer.from(id), value: Buffer.from(`${digest} ${name}`), headers: [] })
      const claim = await Promise.race([read, clock.sleep(claimLimits.readMsMax, timer.signal)])
      if (claim) return claim
      throw new HarrierError('BROKER_UNAVAILABLE', `a claim on ${this.#options.topic} was not read within ${claimLimits.readMsMax} ms`, { retryAfterMs: 1000 })
    } finally {
      timer.abort()
      this.#unread.delete(name)
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all([this.#follower?.close(), this.#outbox.close()])
  }
}
