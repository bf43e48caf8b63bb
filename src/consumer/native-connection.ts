import { assert } from '../base/assert.js'
import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { KafkaSecurity } from '../connection/security.js'
import { ConnectWatch } from './connect-watch.js'
import type { TopicPartition } from './group-consumer.js'
import { requireNative, type FlatColumns, type FlatPartitions, type NativeClient } from './native-binding.js'
import { kafkaCode, KafkaError } from './kafka-errors.js'
import { keepToken } from './oauth-bearer.js'

export interface NativeConnectionOptions {
  readonly brokers: string
  readonly security?: KafkaSecurity | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly configuration: Readonly<Record<string, unknown>>
  readonly events: NativeEvents
}

export interface NativeEvents {
  onRebalance?(error: KafkaError, partitions: readonly TopicPartition[], isLost: boolean): void
  onDeliveryError?(error: KafkaError): void
  onError(error: KafkaError): void
  onLog(facility: string, message: string): void
}

/** A token has no end here: `keepToken` replaces it in time, and librdkafka sends what it has. */
const tokenExpiryMs = 2 ** 50
const connectPauseMs = 50
/** Facility of librdkafka's log. */
const failedConnection = 'FAIL'
export const brokerSearchLimits = {
  /** From one look for the brokers to the next: doubled while they are away. */
  pauseMsMin: 1000,
  pauseMsMax: 30_000,
  lookMsMax: 2000,
  /** Looks in a row that must find a broker: the answer to one may be what makes librdkafka forget them all. */
  foundMin: 2,
} as const

/** The life of a native client: made when it connects, told its tokens, closed once. */
export class NativeConnection {
  readonly #isConsumer: boolean
  readonly #options: NativeConnectionOptions
  #client: NativeClient | undefined
  #watch: ConnectWatch | undefined
  #stopTokens: () => void = () => undefined
  readonly #closing = new AbortController()
  #isSearching = false

  constructor(isConsumer: boolean, options: NativeConnectionOptions) {
    this.#isConsumer = isConsumer
    this.#options = options
  }

  get isConnected(): boolean {
    return this.#client !== undefined
  }

  get client(): NativeClient {
    assert(this.#client !== undefined, 'a client is used after it has connected')
    return this.#client
  }

  /** Asks in short tries until a broker answers; a refusal that lasts ends it sooner than `limitMs`. */
  async connect(limitMs: number): Promise<void> {
    const { security, clock } = this.#options
    assert(this.#client === undefined, 'a client connects once')
    const watch = new ConnectWatch({ ...this.#options, limitMs })
    const made: { client?: NativeClient; token?: string } = {}
    const keeper = {
      setOauthBearerToken: (token: string): void => {
        made.token = token
        made.client?.setToken(token, tokenExpiryMs)
      },
    }
    // The first token is there before the client is, which connects at once.
    if (security?.login?.mechanism === 'OAUTHBEARER') this.#stopTokens = await keepToken(keeper, security.login.tokens, this.#options)
    this.#watch = watch
    const client = this.#make()
    made.client = client
    if (made.token !== undefined) client.setToken(made.token, tokenExpiryMs)
    for (;;) {
      try {
        await client.partitionCount('', watch.tryMs)
        break
      } catch (error) {
        if (watch.isOver) {
          this.#stopTokens()
          void client.close()
          throw await watch.failure(error)
        }
        await clock.sleep(connectPauseMs)
      }
    }
    this.#watch = undefined
    this.#client = client
  }

  /** Ends the client; after `limitMs` it is left to the end of the process, which is said. */
  async close(limitMs: number): Promise<void> {
    const { clock, logger } = this.#options
    this.#stopTokens()
    this.#closing.abort()
    const client = this.#client
    this.#client = undefined
    if (!client) return
    const ended = new AbortController()
    const closed = client.close().then(() => true)
    const waited = clock.sleep(limitMs, ended.signal).then(() => false)
    if (!(await Promise.race([closed, waited]))) logger.log('warn', 'a Kafka client did not end in time', { limitMs })
    ended.abort()
  }

  /** Told by the log, which comes at once, or by an error, which a consumer gives to a poll only. */
  #suspectBrokers(): void {
    if (!this.#client || this.#isSearching) return
    this.#isSearching = true
    void this.#searchBrokers().finally(() => (this.#isSearching = false))
  }

  /**
   * A broker that has just started may name no brokers at all. librdkafka (2.10 to 2.13) then forgets those that it knew, takes the answer for a
   * success, and never goes back to where it began (confluentinc/librdkafka#5301): the client stands still for good. So they are named to it anew.
   */
  async #searchBrokers(): Promise<void> {
    const { clock, brokers } = this.#options
    const { pauseMsMin, pauseMsMax, lookMsMax, foundMin } = brokerSearchLimits
    let pauseMs: number = pauseMsMin
    for (let found = 0; found < foundMin; ) {
      await clock.sleep(pauseMs, this.#closing.signal)
      const client = this.#client
      if (!client) return
      const isFound = await client.partitionCount('', lookMsMax).then(() => true, () => false)
      found = isFound ? found + 1 : 0
      pauseMs = isFound ? pauseMsMin : Math.min(pauseMsMax, pauseMs * 2)
      if (!isFound && this.#client === client) client.addBrokers(brokers)
    }
  }

  #make(): NativeClient {
    const { Client } = requireNative()
    const settings = Object.entries(this.#options.configuration).flatMap(([name, value]) => [name, String(value)])
    return new Client(this.#isConsumer, settings, (kind, code, text, detail, flag, partitions) => this.#onEvent(kind, code, text, detail, flag, partitions))
  }

  #onEvent(kind: string, code: number, text: string, detail: string, flag: boolean, partitions: readonly (string | number)[]): void {
    const { events } = this.#options
    if (kind === 'log') {
      this.#watch?.onLog(detail, text)
      if (detail === failedConnection) this.#suspectBrokers()
      events.onLog(detail, text)
    } else if (kind === 'rebalance') {
      events.onRebalance?.(new KafkaError(code, text), toTopicPartitions(partitions), flag)
    } else if (kind === 'delivery') {
      events.onDeliveryError?.(new KafkaError(code, text))
    } else {
      if (code === kafkaCode.allBrokersDown) this.#suspectBrokers()
      events.onError(new KafkaError(code, text, { isFatal: flag }))
    }
  }
}

/** Out of `[topic, partition, offset, error, ...]`. */
function toTopicPartitions(flat: readonly (string | number)[]): TopicPartition[] {
  return Array.from({ length: flat.length / 4 }, (_, i) => ({ topic: flat[i * 4] as string, partition: flat[i * 4 + 1] as number }))
}

const noOffset = -1001

export function flatPartitions(partitions: readonly (TopicPartition & { readonly offset?: number })[]): FlatPartitions {
  return partitions.flatMap(({ topic, partition, offset = noOffset }) => [topic, partition, offset])
}

/** The arrays as they are now: they change when the columns or their arena grow. */
export function flatColumns(columns: RecordColumns): FlatColumns {
  const { topic, partition, offset, timestamp, keyAt, keyBytes, valueAt, valueBytes, headersAt, headersBytes, arena } = columns
  return [topic, partition, offset, timestamp, keyAt, keyBytes, valueAt, valueBytes, headersAt, headersBytes, arena.bytes]
}
