import { createHash } from 'node:crypto'
import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { uniqueSuffix } from '../base/prng.js'
import type { RecordColumns } from '../base/record-columns.js'
import { GenericDecoder } from '../codec/generic-decoder.js'
import { RegistryClient } from '../codec/registry-client.js'
import type { ClusterConnection } from '../connection/security.js'
import { deadLetterHeaders } from '../consumer/dead-letter.js'
import { TopicFollower } from '../consumer/topic-follower.js'
import { RecordOutbox } from '../producer/record-outbox.js'
import { RecordProducer } from '../producer/record-producer.js'
import type { Topology } from './load-topology.js'
import { topologyNames, type TopologyNames } from './names.js'
import { claimLimits, RequestClaims } from './request-claims.js'
import { RequestSearch } from './request-search.js'
import { TransactionEncoder } from './transaction-encoder.js'

export const scoreGatewayLimits = {
  /** Transactions whose score is waited for, and bytes of those that wait to be sent. */
  pendingMax: 10_000,
  sendBytesMax: 64 << 20,
  /** How long a request may wait, and how long it does when it says nothing. */
  timeoutMsMax: 30_000,
  timeoutMsDefault: 2000,
  /** What is not acknowledged by then is told to whoever waits; and when librdkafka has surely given it up. */
  messageMsMax: 10_000,
  deliveredMsMax: 15_000,
  /** Answers that are remembered by idempotency key, and for how long. */
  answersMax: 100_000,
  answerMsMax: 600_000,
  sweepMs: 250,
  closeMsMax: 5000,
} as const

/** Stands in the input, and so in the scored event or dead letter: whose answer it is. */
export const requestHeader = 'harrier-request'
const requestHeaderBytes = Buffer.from(requestHeader)

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

interface SentRequest extends Pick<ScoreRequest, 'body' | 'json' | 'headers'> {
  readonly isKeyed: boolean
}

interface GatewayParts {
  readonly encoder: TransactionEncoder
  readonly registry: RegistryClient
  readonly producer: RecordProducer
  readonly claims: RequestClaims
}

interface Asked {
  readonly id: string
  readonly digest: string
  readonly atMs: number
  /** Null until the scored event has come. */
  outcome: { readonly event: Readonly<Record<string, unknown>> } | { readonly error: HarrierError } | null
  readonly settled: Promise<void>
  readonly wake: () => void
  /** Until the brokers have the record, or it is not known whether they do. */
  taken: Promise<void>
  /** Another instance, or this one before a restart, has the key: it sends the record, or did. */
  isTheirs: boolean
  /** From its claim until it is taken. */
  isSending: boolean
}

/**
 * Transactions in, their scores out, through the stream: each is a record of the input topic like any other, scored exactly once
 * with the live state of its entity; the answer is found by following the scored topic and the dead letters.
 *
 * Owns: an outbox, a follower of two topics, claims of idempotency keys, what is waited for. It reads what is committed only: an answer is what every
 * subscriber sees.
 * 1. A transaction that breaks the contract is refused before it is in the log.
 * 2. An idempotency key stands for one record, whichever instance is asked (`RequestClaims`).
 * 3. Never more than `pendingMax` are waited for. Who waits too long is told that the score will come.
 */
export class ScoreGateway {
  readonly topology: string
  readonly #names: TopologyNames
  readonly #options: ScoreGatewayOptions
  readonly #outbox: RecordOutbox
  readonly #encoder: TransactionEncoder
  readonly #decoder: GenericDecoder
  readonly #claims: RequestClaims
  readonly #search: RequestSearch
  /** When a claim of ours began that stands although its record was refused here: who asks again soon needs no other. By request id and digest. */
  readonly #unsent = new Map<string, number>()
  #follower: TopicFollower | undefined
  /** By request id, oldest first: those that are waited for, and answers that are remembered. */
  readonly #asked = new Map<string, Asked>()
  #pending = 0
  #stopSweeping: () => void = () => undefined
  readonly #closing = new AbortController()

  private constructor(options: ScoreGatewayOptions, names: TopologyNames, { encoder, registry, producer, claims }: GatewayParts) {
    this.topology = options.topology.name
    this.#options = options
    this.#names = names
    this.#encoder = encoder
    this.#decoder = new GenericDecoder(registry)
    this.#claims = claims
    this.#search = new RequestSearch({ ...options, header: requestHeaderBytes })
    const { pendingMax, sendBytesMax, deliveredMsMax, closeMsMax } = scoreGatewayLimits
    this.#outbox = new RecordOutbox(producer, names.input, { recordsMax: pendingMax, bytesMax: sendBytesMax, deliveredMsMax, closeMsMax }, options.clock)
  }

  /** Errors: TOPIC_MISSING, SCHEMA_INVALID and those of a connection. */
  static async open(options: ScoreGatewayOptions): Promise<ScoreGateway> {
    const { connection, topology, namespace, clock, logger } = options
    const { registryUrl, registrySecurity } = connection
    const first = topology.chain[0]!
    const registry = new RegistryClient(registryUrl, { clock, logger, security: registrySecurity })
    const names = topologyNames(first, namespace)
    // The last stage scores, whatever the first one reads.
    const last = topologyNames(topology.chain.at(-1)!, namespace)
    const encoder = await TransactionEncoder.open(first, names, registry)
    const producer = await RecordProducer.open({ ...connection, clock, logger, settings: { 'client.id': 'harrier-score', 'message.timeout.ms': scoreGatewayLimits.messageMsMax } })
    const claims = await RequestClaims.open({ connection, topic: names.requests, leaseMs: options.claimLeaseMs, clock, logger }).catch(async (error: unknown) => {
      await producer.close(scoreGatewayLimits.closeMsMax)
      throw error
    })
    const gateway = new ScoreGateway(options, { ...names, scored: last.scored, deadLetters: last.deadLetters }, { encoder, registry, producer, claims })
    try {
      await gateway.#follow()
    } catch (error) {
      await gateway.close()
      throw error
    }
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
      .follow(from, (columns, topics) => this.#onBatch(columns, topics))
      .catch(async (error: unknown) => {
        logger.log('error', 'following scores failed; it begins anew', { cause: messageOf(error) })
        await follower.close()
        while (!this.#closing.signal.aborted) {
          await clock.sleep(1000, this.#closing.signal)
          try {
            return await this.#follow()
          } catch (again) {
            logger.log('warn', 'scores cannot be followed', { cause: messageOf(again) })
            await this.#follower?.close()
          }
        }
      })
  }

  /** Errors: RECORD_INVALID, RECORD_UNDECODABLE, REQUEST_INVALID (another transaction under a used key), OVERLOADED, BROKER_UNAVAILABLE, SCORE_PENDING. */
  async score({ body, json, caller, idempotencyKey, timeoutMs, headers }: ScoreRequest): Promise<ScoreAnswer> {
    const digest = createHash('sha256').update(body).digest('hex')
    const id = idempotencyKey === undefined ? `${uniqueSuffix()}${uniqueSuffix()}` : createHash('sha256').update(`${caller}\n${idempotencyKey}`).digest('hex').slice(0, 32)
    const known = this.#asked.get(id)
    if (known && known.digest !== digest) throw keyUsedOtherwise()
    const request = { body, json, headers, isKeyed: idempotencyKey !== undefined }
    const asked = known ?? this.#ask(id, digest, request)
    // Whoever has the key may have died before it sent the record.
    if (known?.isTheirs && known.outcome === null && !known.isSending) known.taken = this.#send(known, request)
    if (asked.outcome === null) await Promise.race([asked.taken, asked.settled])
    if (asked.outcome === null) await this.#waitFor(asked, timeoutMs)
    const { outcome } = asked
    if (outcome === null) throw new HarrierError('SCORE_PENDING', `no score within ${timeoutMs} ms: the transaction is in ${this.#names.input} and will be scored`, { retryAfterMs: 1000 })
    if ('error' in outcome) throw outcome.error
    return { event: outcome.event, isRepeated: known !== undefined || asked.isTheirs }
  }

  #ask(id: string, digest: string, request: SentRequest): Asked {
    if (this.#pending >= scoreGatewayLimits.pendingMax) throw new HarrierError('OVERLOADED', `${this.#pending} transactions wait for their scores`, { retryAfterMs: 1000 })
    let wake = (): void => undefined
    const settled = new Promise<void>((resolve) => (wake = resolve))
    const asked: Asked = { id, digest, atMs: this.#options.clock.monotonicMs(), outcome: null, settled, wake, taken: settled, isTheirs: false, isSending: false }
    // At once: the same key may come again while the record is on its way.
    this.#asked.set(id, asked)
    this.#pending++
    asked.taken = this.#send(asked, request)
    return asked
  }

  async #send(asked: Asked, { body, json, headers, isKeyed }: SentRequest): Promise<void> {
    let isPut = false
    let claimedMs = NaN
    const claim = `${asked.id} ${asked.digest}`
    asked.isSending = true
    try {
      const { key, value } = await this.#encoder.encode(body, json)
      if (isKeyed) {
        const beganMs = this.#unsent.get(claim) ?? this.#options.clock.monotonicMs()
        if (!this.#unsent.delete(claim) && !(await this.#isOurs(asked))) return
        claimedMs = beganMs
        if (this.#options.clock.monotonicMs() - beganMs > claimLimits.sendMsMax) throw new HarrierError('BROKER_UNAVAILABLE', 'the brokers took too long over the idempotency key', { retryAfterMs: 1000 })
      }
      const put = this.#outbox.put({ key, value, headers: [[requestHeader, asked.id], ...Object.entries(headers)] })
      isPut = true
      await put
    } catch (error) {
      const isRefused = !isPut || (error instanceof HarrierError && error.code === 'OVERLOADED')
      if (isRefused) {
        this.#asked.delete(asked.id)
        if (!Number.isNaN(claimedMs)) this.#unsent.set(claim, claimedMs)
        this.#settle(asked, { error: error instanceof HarrierError ? error : new HarrierError('RECORD_INVALID', messageOf(error)) })
        return
      }
      // It may have been taken all the same: the key stays, so that a retry waits for the score and sends no second record.
      asked.taken = Promise.resolve()
      throw new HarrierError('BROKER_UNAVAILABLE', `the broker has not said that it took the transaction: ${messageOf(error)}`, { cause: error })
    } finally {
      asked.isSending = false
    }
  }

  /** Whether the record of an idempotency key is for us to send. Errors: REQUEST_INVALID, those of a claim. */
  async #isOurs(asked: Asked): Promise<boolean> {
    const { logger } = this.#options
    const { isOurs, before } = await this.#claims.claim(asked.id, asked.digest)
    if (before && before.digest !== asked.digest) throw keyUsedOtherwise()
    asked.isTheirs = !isOurs
    if (before) {
      const { skewMsMax, sendMsMax, messageMsMax } = claimLimits
      const window = { fromMs: before.atMs - skewMsMax, toMs: before.atMs + sendMsMax + messageMsMax + skewMsMax }
      const find = (topics: readonly string[]): ReturnType<RequestSearch['find']> => this.#search.find(topics, asked.id, window, this.#closing.signal)
      asked.isTheirs ||= (await find([this.#names.input])) !== undefined
      if (asked.isTheirs) {
        // Its outcome may have come before anybody here waited for it.
        const looking = find([this.#names.scored, this.#names.deadLetters]).then((found) => found && this.#onOutcome(asked, found.topic, found.columns, 0))
        looking.catch((error: unknown) => logger.log('warn', 'an earlier answer could not be looked for', { cause: messageOf(error) }))
        return false
      }
    }
    return true
  }

  async #waitFor(asked: Asked, timeoutMs: number): Promise<void> {
    const timer = new AbortController()
    await Promise.race([asked.settled, this.#options.clock.sleep(timeoutMs, timer.signal)])
    timer.abort()
  }

  /** Looks at rows with headers only, and makes nothing for those whose header is not there. */
  async #onBatch(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    for (let row = 0; row < columns.count; row++) {
      if (columns.headersBytes[row] === 0) continue
      const id = columns.header(row, requestHeaderBytes)
      const asked = id ? this.#asked.get(Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1')) : undefined
      if (asked) await this.#onOutcome(asked, topics[columns.topic[row]!]!, columns, row)
    }
  }

  async #onOutcome(asked: Asked, topic: string, columns: RecordColumns, row: number): Promise<void> {
    if (asked.outcome !== null) return
    if (topic === this.#names.deadLetters) this.#settle(asked, { error: refusalOf(columns, row) })
    else await this.#onScored(asked, columns.value(row))
  }

  async #onScored(asked: Asked, value: Uint8Array | null): Promise<void> {
    const decoded = await this.#decoder.decode(value, this.#closing.signal)
    if (decoded.problem !== undefined) this.#options.logger.log('error', 'a scored event cannot be read', { cause: decoded.problem })
    else if (asked.outcome === null) this.#settle(asked, { event: decoded.value as Readonly<Record<string, unknown>> })
  }

  #settle(asked: Asked, outcome: NonNullable<Asked['outcome']>): void {
    asked.outcome = outcome
    this.#pending--
    asked.wake()
  }

  /** Forgets answers that are old or too many, oldest first. */
  #sweep(): void {
    const nowMs = this.#options.clock.monotonicMs()
    for (const [claim, beganMs] of this.#unsent) if (nowMs - beganMs > claimLimits.sendMsMax) this.#unsent.delete(claim)
    for (const [id, asked] of this.#asked) {
      if (this.#asked.size <= scoreGatewayLimits.answersMax && nowMs - asked.atMs < scoreGatewayLimits.answerMsMax) return
      if (asked.outcome === null) this.#pending--
      this.#asked.delete(id)
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#stopSweeping()
    await Promise.all([this.#follower?.close(), this.#outbox.close(), this.#claims.close(), this.#search.close()])
  }
}

function keyUsedOtherwise(): HarrierError {
  return new HarrierError('REQUEST_INVALID', 'the idempotency key was used for another transaction', { remedy: 'take another key for each transaction' })
}

/** What a dead letter says of its record. */
function refusalOf(columns: RecordColumns, row: number): HarrierError {
  const headers = columns.headers(row)
  const said = (name: string): string => headers.find((header) => header.name === name)?.value?.toString() ?? ''
  const code = said(deadLetterHeaders.exception) === 'RECORD_UNDECODABLE' ? 'RECORD_UNDECODABLE' : 'RECORD_INVALID'
  return new HarrierError(code, said(deadLetterHeaders.message))
}

export interface ScoreGatewayOptions {
  readonly connection: ClusterConnection
  readonly topology: Topology
  readonly namespace?: string | undefined
  /** See `RequestClaims`. */
  readonly claimLeaseMs?: number | undefined
  readonly clock: Clock
  readonly logger: Logger
}
