import { messageOf, HarrierError } from '../base/errors.js'
import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import { RecordColumns } from '../base/record-columns.js'
import { Turns } from '../base/turns.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'
import { readRecord } from '../consumer/read-record.js'
import { TopicFollower } from '../consumer/topic-follower.js'
import { RdkafkaTransactionalProducer } from '../producer/rdkafka-transactional-producer.js'

export const sharedLogLimits = {
  /** Until all that is there has been read. */
  catchUpMsMax: 30_000,
  /** A follower that failed begins anew after so long. */
  retryPauseMs: 500,
  appendRecordsMax: 1000,
} as const

export interface LogEntry {
  readonly topic: string
  readonly key: string
  /** Null = the key is gone. */
  readonly value: object | null
}

export interface SharedLogOptions {
  readonly connection: ClusterConnection
  /** Topics of one partition, with their settings when they are made. */
  readonly topics: readonly { readonly topic: string; readonly config: Readonly<Record<string, string>> }[]
  /** Those that are followed. */
  readonly followed: readonly string[]
  /** Two processes that write at once differ in it. */
  readonly writer: string
  readonly createTopics: boolean
  readonly onRecord: (topic: string, key: string, value: Buffer | null) => void
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * A few small topics that all processes read and some write: keys, usage, audit. What is appended together is there together or not
 * at all: one transaction.
 */
export class SharedLog {
  readonly #options: SharedLogOptions
  #follower: TopicFollower | undefined
  #producer: RdkafkaTransactionalProducer | undefined
  readonly #appends = new Turns()
  readonly #closing = new AbortController()

  private constructor(options: SharedLogOptions) {
    this.#options = options
  }

  /** Reads what is there, then goes on following. Errors: TOPIC_MISSING, BROKER_UNAVAILABLE and the others of a connection. */
  static async open(options: SharedLogOptions): Promise<SharedLog> {
    const { connection, topics, createTopics, clock, logger } = options
    const { brokers, security } = connection
    await withAdmin({ brokers, security, clock, ...connectLimits(connection) }, (admin) => admin.ensureTopics(topics.map(({ topic, config }) => ({ topic, partitions: 1, config })), { create: createTopics }))
    const log = new SharedLog(options)
    if (options.followed.length === 0) return log
    const follower = await log.#follow()
    if (!(await follower.caughtUp(sharedLogLimits.catchUpMsMax))) {
      await log.close()
      throw new HarrierError('BROKER_UNAVAILABLE', `${options.followed.join(', ')} could not be read within ${sharedLogLimits.catchUpMsMax} ms`)
    }
    logger.log('debug', 'shared topics are read', { topics: options.followed })
    return log
  }

  async #follow(): Promise<TopicFollower> {
    const { connection, followed, onRecord, clock, logger } = this.#options
    const follower = new TopicFollower(connection, clock)
    this.#follower = follower
    await follower.connect()
    follower
      .follow(followed.map((topic) => ({ topic, partition: 0, offset: 'earliest' as const })), (columns, topics) => {
        for (let row = 0; row < columns.count; row++) {
          const { topic, key, value } = readRecord(columns, row, topics)
          onRecord(topic, String(key ?? ''), value)
        }
      })
      .catch(async (error: unknown) => {
        logger.log('error', 'following shared topics failed; it begins anew', { topics: followed, cause: messageOf(error) })
        await follower.close()
        while (!this.#closing.signal.aborted) {
          await clock.sleep(sharedLogLimits.retryPauseMs, this.#closing.signal)
          try {
            return void (await this.#follow())
          } catch (again) {
            logger.log('warn', 'shared topics cannot be read', { topics: followed, cause: messageOf(again) })
            await this.#follower?.close()
          }
        }
      })
    return follower
  }

  /** One transaction, after those before it. Errors: BROKER_UNAVAILABLE, TRANSACTION_ABORTED, FENCED: then nothing of it is there. */
  append(entries: readonly LogEntry[]): Promise<void> {
    return this.#appends.take(() => this.#append(entries))
  }

  async #append(entries: readonly LogEntry[]): Promise<void> {
    const { connection, writer, clock, logger } = this.#options
    const { brokers, security } = connection
    if (!this.#producer) {
      const producer = new RdkafkaTransactionalProducer({ brokers, security, transactionalId: writer, clock, logger, ...connectLimits(connection) })
      await producer.init()
      this.#producer = producer
    }
    const names = [...new Set(entries.map(({ topic }) => topic))]
    for (let from = 0; from < entries.length; from += sharedLogLimits.appendRecordsMax) {
      const part = entries.slice(from, from + sharedLogLimits.appendRecordsMax)
      const columns = new RecordColumns(part.length)
      for (const { topic, key, value } of part) columns.append(names.indexOf(topic), 0, 0, clock.nowMs(), Buffer.from(key), value === null ? null : Buffer.from(JSON.stringify(value)))
      try {
        await this.#producer.begin()
        await this.#producer.send(columns, names)
        await this.#producer.commit()
      } catch (error) {
        // A fresh producer under the same name settles what this one left.
        await this.#producer.close().catch(() => undefined)
        this.#producer = undefined
        throw error
      }
    }
  }

  /** Everything that has committed by now has been given to `onRecord`. */
  async caughtUp(): Promise<boolean> {
    return (await this.#follower?.caughtUp(sharedLogLimits.catchUpMsMax)) ?? true
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#appends.ended()
    await Promise.all([this.#follower?.close(), this.#producer?.close()])
  }
}
