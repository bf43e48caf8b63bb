import { createHash } from 'node:crypto'
import type Kafka from 'node-rdkafka'
import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { uniqueSuffix } from '../base/prng.js'
import { GenericDecoder } from '../codec/generic-decoder.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectMsMaxDefault } from '../connection/connection-schema.js'
import type { ClusterConnection } from '../connection/security.js'
import { deadLetterHeaders } from '../consumer/dead-letter.js'
import { asHarrierError } from '../consumer/kafka-errors.js'
import { librdkafkaSecurity } from '../consumer/kafka-security.js'
import { toConfiguration } from '../consumer/kafka-settings.js'
import type { RdkafkaMessage } from '../consumer/rdkafka-client.js'
import { connectClient, disconnectClient } from '../consumer/rdkafka-client.js'
import { rdkafka } from '../consumer/rdkafka.js'
import { TopicFollower } from '../consumer/topic-follower.js'
import type { Topology } from './load-topology.js'
import { topologyNames, type TopologyNames } from './names.js'
import { TransactionEncoder, type EncodedTransaction } from './transaction-encoder.js'

export const scoreGatewayLimits = {
  /** Transactions whose score is waited for. */
  pendingMax: 10_000,
  /** How long a request may wait, and how long it does when it says nothing. */
  timeoutMsMax: 30_000,
  timeoutMsDefault: 2000,
  /** Answers that are remembered by idempotency key, and for how long. */
  answersMax: 100_000,
  answerMsMax: 600_000,
  sweepMs: 250,
  flushMsMax: 5000,
} as const

/** Stands in the input, and so in the scored event or dead letter: whose answer it is. */
export const requestHeader = 'harrier-request'

const producerSettings = [
  { name: 'client.id', value: 'harrier-score', why: 'names us in the logs and quotas of the broker' },
  { name: 'enable.idempotence', value: true, why: 'a retry must not double a transaction' },
  { name: 'linger.ms', value: 1, why: 'somebody waits' },
  { name: 'queue.buffering.max.messages', value: scoreGatewayLimits.pendingMax, why: 'no more can wait for a score' },
  { name: 'message.timeout.ms', value: 10_000, why: 'what is not acknowledged by then is told to whoever waits' },
  { name: 'allow.auto.create.topics', value: false, why: 'topics are made on purpose' },
] as const

export interface ScoreRequest {
  /** The transaction as JSON, as it came. */
  readonly body: Uint8Array
  /** The same, parsed. */
  readonly json: unknown
  /** Of whoever asks: the same key of another caller is another key. */
  readonly caller: string
  readonly idempotencyKey: string | undefined
  readonly timeoutMs: number
  /** traceparent and tracestate. */
  readonly headers: Readonly<Record<string, string>>
}

export interface ScoreAnswer {
  /** The scored event, as it is on the topic. */
  readonly event: Readonly<Record<string, unknown>>
  /** The answer is that of an earlier request with the same idempotency key. */
  readonly isRepeated: boolean
}

interface Asked {
  readonly id: string
  readonly digest: string
  readonly atMs: number
  /** Null until the scored event has come. */
  outcome: { readonly event: Readonly<Record<string, unknown>> } | { readonly error: HarrierError } | null
  readonly waiting: Set<() => void>
}

/**
 * Transactions in, their scores out, through the stream: each is a record of the input topic like any other, scored exactly once
 * with the live state of its entity; the answer is found by following the scored topic and the dead letters.
 *
 * Owns: a producer, a follower of two topics, what is waited for. It reads what is committed only: an answer is what every
 * subscriber sees.
 * 1. A transaction that breaks the contract is refused before it is in the log.
 * 2. An idempotency key stands for one record, as long as this process remembers it.
 * 3. Never more than `pendingMax` are waited for. Who waits too long is told that the score will come.
 */
export class ScoreGateway {
  readonly topology: string
  readonly #names: TopologyNames
  readonly #options: ScoreGatewayOptions
  readonly #producer: Kafka.HighLevelProducer
  readonly #encoder: TransactionEncoder
  readonly #decoder: GenericDecoder
  #follower: TopicFollower | undefined
  /** By request id, oldest first: those that are waited for, and answers that are remembered. */
  readonly #asked = new Map<string, Asked>()
  #pending = 0
  #stopSweeping: () => void = () => undefined
  readonly #closing = new AbortController()

  private constructor(options: ScoreGatewayOptions, names: TopologyNames, encoder: TransactionEncoder, registry: RegistryClient) {
    this.topology = options.topology.name
    this.#options = options
    this.#names = names
    this.#encoder = encoder
    this.#decoder = new GenericDecoder(registry)
    const { brokers, security } = options.connection
    const configuration = toConfiguration([...producerSettings], { 'metadata.broker.list': brokers, ...librdkafkaSecurity(security) })
    this.#producer = new (rdkafka().HighLevelProducer)(configuration as Kafka.ProducerGlobalConfig, { partitioner: 'murmur2_random' } as Kafka.ProducerTopicConfig)
    this.#producer.on('event.error', (error) => options.logger.log('debug', 'Kafka producer error', { cause: messageOf(error) }))
  }

  /** Errors: TOPIC_MISSING, SCHEMA_INVALID and those of a connection. */
  static async open(options: ScoreGatewayOptions): Promise<ScoreGateway> {
    const { connection, topology, namespace, clock, logger } = options
    const { brokers, security, connectMsMax = connectMsMaxDefault, registryUrl, registrySecurity } = connection
    const first = topology.chain[0]!
    const registry = new RegistryClient(registryUrl, { clock, logger, security: registrySecurity })
    const names = topologyNames(first, namespace)
    // The last stage scores, whatever the first one reads.
    const last = topologyNames(topology.chain.at(-1)!, namespace)
    const encoder = await TransactionEncoder.open(first, names, registry)
    const gateway = new ScoreGateway(options, { ...names, scored: last.scored, deadLetters: last.deadLetters }, encoder, registry)
    await connectClient(gateway.#producer, { brokers, security, limitMs: connectMsMax, clock, logger })
    await gateway.#follow()
    gateway.#stopSweeping = clock.every(scoreGatewayLimits.sweepMs, () => gateway.#sweep())
    return gateway
  }

  /** From the ends of the topics: what was scored before nobody here has asked for. */
  async #follow(): Promise<void> {
    const { connection, clock, logger } = this.#options
    const follower = new TopicFollower(connection, clock)
    this.#follower = follower
    await follower.connect()
    const counts = await follower.partitionCounts()
    const followed = [...new Set([this.#names.scored, this.#names.deadLetters])]
    const missing = [this.#names.input, ...followed].find((topic) => !counts.has(topic))
    if (missing !== undefined) throw new HarrierError('TOPIC_MISSING', `${missing} is not on the broker`, { remedy: 'start the engine of the topology first, with --create-topics' })
    const partitions = followed.flatMap((topic) => Array.from({ length: counts.get(topic)! }, (_, partition) => ({ topic, partition })))
    const from = await Promise.all(partitions.map(async (each) => ({ ...each, offset: (await follower.watermarks(each.topic, each.partition)).stableEnd })))
    follower
      .follow(from, (message) => this.#onRecord(message))
      .catch(async (error: unknown) => {
        logger.log('error', 'following scores failed; it begins anew', { cause: messageOf(error) })
        await follower.close()
        while (!this.#closing.signal.aborted) {
          await clock.sleep(1000, this.#closing.signal)
          try {
            return await this.#follow()
          } catch (again) {
            logger.log('warn', 'scores cannot be followed', { cause: messageOf(again) })
          }
        }
      })
  }

  /** Errors: RECORD_INVALID, RECORD_UNDECODABLE, REQUEST_INVALID (another transaction under a used key), OVERLOADED, BROKER_UNAVAILABLE, SCORE_PENDING. */
  async score({ body, json, caller, idempotencyKey, timeoutMs, headers }: ScoreRequest): Promise<ScoreAnswer> {
    const digest = createHash('sha256').update(body).digest('hex')
    const id = idempotencyKey === undefined ? `${uniqueSuffix()}${uniqueSuffix()}` : createHash('sha256').update(`${caller}\n${idempotencyKey}`).digest('hex').slice(0, 32)
    const known = this.#asked.get(id)
    if (known && known.digest !== digest) throw new HarrierError('REQUEST_INVALID', 'the idempotency key was used for another transaction', { remedy: 'take another key for each transaction' })
    const asked = known ?? (await this.#ask({ id, digest, atMs: this.#options.clock.monotonicMs(), outcome: null, waiting: new Set() }, body, json, headers))
    const isRepeated = known !== undefined
    if (asked.outcome === null && !(await this.#waitFor(asked, timeoutMs))) {
      throw new HarrierError('SCORE_PENDING', `no score within ${timeoutMs} ms: the transaction is in ${this.#names.input} and will be scored`, { retryAfterMs: 1000 })
    }
    const outcome = asked.outcome!
    if ('error' in outcome) throw outcome.error
    return { event: outcome.event, isRepeated }
  }

  async #ask(asked: Asked, body: Uint8Array, json: unknown, headers: Readonly<Record<string, string>>): Promise<Asked> {
    if (this.#pending >= scoreGatewayLimits.pendingMax) throw new HarrierError('OVERLOADED', `${this.#pending} transactions wait for their scores`, { retryAfterMs: 1000 })
    // At once: the same key may come again while the record is on its way.
    this.#asked.set(asked.id, asked)
    this.#pending++
    let encoded: EncodedTransaction
    try {
      encoded = await this.#encoder.encode(body, json)
    } catch (error) {
      this.#asked.delete(asked.id)
      this.#settle(asked, { error: error instanceof HarrierError ? error : new HarrierError('RECORD_INVALID', messageOf(error)) })
      throw error
    }
    await new Promise<void>((resolve, reject) => {
      const list = [{ [requestHeader]: asked.id }, ...Object.entries(headers).map(([name, text]) => ({ [name]: text }))]
      // It may have been taken all the same: the key stays, so that a retry waits for the score and sends no second record.
      const failed = (error: unknown): void => reject(asHarrierError('BROKER_UNAVAILABLE', 'the broker has not said that it took the transaction', error))
      this.#producer.produce(this.#names.input, null, Buffer.from(encoded.value), Buffer.from(encoded.key), this.#options.clock.nowMs(), list, (error: unknown) => (error ? failed(error) : resolve()))
    })
    return asked
  }

  async #waitFor(asked: Asked, timeoutMs: number): Promise<boolean> {
    const timer = new AbortController()
    let wake = (): void => undefined
    const settled = new Promise<void>((resolve) => (wake = resolve))
    asked.waiting.add(wake)
    await Promise.race([settled, this.#options.clock.sleep(timeoutMs, timer.signal)])
    timer.abort()
    asked.waiting.delete(wake)
    return asked.outcome !== null
  }

  async #onRecord(message: RdkafkaMessage): Promise<void> {
    const headers = message.headers ?? []
    const id = headers.find((header) => requestHeader in header)?.[requestHeader]?.toString()
    const asked = id === undefined ? undefined : this.#asked.get(id)
    if (!asked || asked.outcome !== null) return
    if (message.topic === this.#names.deadLetters) {
      const said = (name: string): string => headers.find((header) => name in header)?.[name]?.toString() ?? ''
      const code = said(deadLetterHeaders.exception) === 'RECORD_UNDECODABLE' ? 'RECORD_UNDECODABLE' : 'RECORD_INVALID'
      return this.#settle(asked, { error: new HarrierError(code, said(deadLetterHeaders.message)) })
    }
    const { value, problem } = await this.#decoder.decode(message.value, this.#closing.signal)
    if (problem !== undefined) this.#options.logger.log('error', 'a scored event cannot be read', { cause: problem })
    else this.#settle(asked, { event: value as Readonly<Record<string, unknown>> })
  }

  #settle(asked: Asked, outcome: NonNullable<Asked['outcome']>): void {
    asked.outcome = outcome
    this.#pending--
    for (const wake of asked.waiting) wake()
  }

  /** Forgets answers that are old or too many, oldest first. */
  #sweep(): void {
    const nowMs = this.#options.clock.monotonicMs()
    for (const [id, asked] of this.#asked) {
      if (this.#asked.size <= scoreGatewayLimits.answersMax && nowMs - asked.atMs < scoreGatewayLimits.answerMsMax) return
      if (asked.outcome === null) this.#pending--
      this.#asked.delete(id)
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#stopSweeping()
    const { clock, logger } = this.#options
    await Promise.all([this.#follower?.close(), this.#producer.isConnected() ? disconnectClient(this.#producer, scoreGatewayLimits.flushMsMax, clock, logger) : undefined])
  }
}

export interface ScoreGatewayOptions {
  readonly connection: ClusterConnection
  readonly topology: Topology
  readonly namespace?: string | undefined
  readonly clock: Clock
  readonly logger: Logger
}
