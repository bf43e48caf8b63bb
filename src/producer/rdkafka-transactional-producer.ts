import { assert } from '../base/assert.js'
import { HarrierError } from '../base/errors.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { GroupConsumer, TopicPartitionOffset } from '../consumer/group-consumer.js'
import { asHarrierError, isDenied, isFenced, isPassing, kafkaCode, toKafkaError, type KafkaError } from '../consumer/kafka-errors.js'
import { librdkafkaSecurity } from '../consumer/kafka-security.js'
import { producerSettings, toConfiguration } from '../consumer/kafka-settings.js'
import type { NativeClient } from '../consumer/native-binding.js'
import { NativeProducerDriver } from './native-producer-driver.js'
import { recordTooLarge } from './record-too-large.js'
import { producerLimits, type ProducerLimits, type ProducerOptions, type TransactionalProducer } from './transactional-producer.js'

type State = 'new' | 'ready' | 'open' | 'broken' | 'dead' | 'closed'

/**
 *     new -> ready <-> open -> broken -> ready      (a broken transaction can only be aborted)
 *     any -> dead -> ready                          (fenced, fatal, or no answer; only another `init` revives)
 *     any -> closed
 */
const allowed = {
  new: ['ready', 'dead', 'closed'],
  ready: ['open', 'dead', 'closed'],
  open: ['ready', 'broken', 'dead', 'closed'],
  broken: ['ready', 'dead', 'closed'],
  dead: ['ready', 'dead', 'closed'],
  closed: [],
} as const satisfies Record<State, readonly State[]>

/** Instead of an error: the native call is still running. */
const overdue = Symbol('overdue')

/**
 * A transactional producer over librdkafka.
 *
 * Owns: one driver at a time. Talks to: nobody else.
 * Invariants:
 * 1. Calls follow the state table; a failed call in a transaction leads to `broken`, from where only `abort` leads back.
 * 2. No delivery reports: the commit flushes and fails if one record failed.
 * 3. What is retriable is retried here, within named limits; what is thrown needs an abort, or another `init`.
 * 4. An abort never overtakes the registration of its transaction at the coordinator (see `abort`).
 * 5. Every native call has an end here, though not in librdkafka: there `sendOffsets` waits for the group's coordinator
 *    without looking at the clock. A client whose call is given up is used no more, and disconnected when the call is back:
 *    not sooner, for the call works on what a disconnect frees. What it may still do, the next `init` has fenced.
 */
export class RdkafkaTransactionalProducer implements TransactionalProducer {
  readonly #options: ProducerOptions
  readonly #limits: ProducerLimits
  #driver: NativeProducerDriver
  #state: State = 'new'
  /** The coordinator knows the open transaction for certain. */
  #registered = false
  /** A native call of this client that was given up. */
  #leftRunning: Promise<unknown> | undefined

  constructor(options: ProducerOptions) {
    this.#options = options
    this.#limits = { ...producerLimits, ...options.limits }
    this.#driver = this.#makeDriver()
  }

  #makeDriver(): NativeProducerDriver {
    const { brokers, transactionalId, security, settings, clock, logger, onDeliveryError } = this.#options
    const configuration = toConfiguration(producerSettings, {
      'metadata.broker.list': brokers,
      'client.id': transactionalId,
      'transactional.id': transactionalId,
      ...librdkafkaSecurity(security),
      ...settings,
    })
    const driver: NativeProducerDriver = new NativeProducerDriver({
      brokers,
      security,
      clock,
      logger,
      configuration,
      events: {
        // What a client says that was given up is no news: its successor has fenced it.
        onError: (error) => {
          if (!isPassing(error) && driver === this.#driver) logger.log('warn', 'Kafka producer error', { cause: error.message, code: error.code })
        },
        onLog: (fac, message) => logger.log('debug', 'librdkafka', { fac, message }),
        onDeliveryError: (error) => {
          if (driver === this.#driver) onDeliveryError?.(asHarrierError('TRANSACTION_ABORTED', 'a record could not be delivered', error))
        },
      },
    })
    return driver
  }

  get transactionalId(): string {
    return this.#options.transactionalId
  }

  async init(): Promise<void> {
    assert(this.#state === 'new' || this.#state === 'dead', `a producer is initialised once in its life (state ${this.#state})`)
    const revives = this.#state === 'dead'
    if (revives) {
      await this.#retire()
      this.#driver = this.#makeDriver()
    }
    await this.#driver.connect(revives ? this.#limits.reviveMsMax : this.#limits.connectMsMax)
    await this.#call('initialising', (timeoutMs) => this.#driver.init(timeoutMs), this.#limits.initMsMax)
    this.#enter('ready')
  }

  async begin(): Promise<void> {
    assert(this.#state === 'ready', `a transaction begins when there is none (state ${this.#state})`)
    await this.#call('beginning a transaction', () => this.#driver.begin())
    this.#registered = false
    this.#enter('open')
  }

  async send(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    assert(this.#state === 'open', `records are sent in a transaction (state ${this.#state})`)
    try {
      await this.#driver.send(columns, topics)
    } catch (error) {
      throw this.#sendError(toKafkaError(error), columns, topics)
    }
  }

  async sendOffsets(offsets: readonly TopicPartitionOffset[], { membership }: Pick<GroupConsumer, 'membership'>): Promise<void> {
    assert(this.#state === 'open', `offsets are sent in a transaction (state ${this.#state})`)
    if (offsets.length === 0) return
    await this.#call('sending offsets', (timeoutMs) => this.#driver.sendOffsets(offsets, membership as NativeClient, timeoutMs))
    this.#registered = true
  }

  async commit(): Promise<void> {
    assert(this.#state === 'open', `a transaction is open when it is committed (state ${this.#state})`)
    await this.#call('committing', (timeoutMs) => this.#driver.commit(timeoutMs))
    this.#enter('ready')
  }

  /**
   * Straight after a commit the coordinator answers CONCURRENT_TRANSACTIONS to the registration of the next transaction's
   * partitions; an abort sent before the second try meets no transaction, which librdkafka takes as fatal. So a
   * transaction that nothing has registered yet is delivered first: its records are aborted with it.
   */
  async abort(): Promise<void> {
    if (this.#state === 'ready') return
    assert(this.#state === 'open' || this.#state === 'broken', `a producer that lives aborts (state ${this.#state})`)
    if (!this.#registered) await this.#driver.flush(this.#limits.registerMsMax)
    await this.#call('aborting', (timeoutMs) => this.#driver.abort(timeoutMs))
    this.#enter('ready')
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#enter('closed')
    await this.#retire()
  }

  /** Ends the client: now, or when the call that was given up is back. */
  async #retire(): Promise<void> {
    const driver = this.#driver
    const running = this.#leftRunning
    this.#leftRunning = undefined
    if (running) void running.then(() => driver.close(this.#limits.closeMsMax))
    else await driver.close(this.#limits.closeMsMax)
  }

  /** One transactional call, tried again while librdkafka says that it may be. */
  async #call(doing: string, call: (timeoutMs: number) => Promise<void>, limitMs = this.#limits.retryMsMax): Promise<void> {
    const { clock } = this.#options
    const endMs = clock.monotonicMs() + limitMs
    for (;;) {
      const leftMs = Math.max(1, Math.ceil(endMs - clock.monotonicMs()))
      const error = await this.#once(call, Math.min(leftMs, this.#limits.callMsMax))
      if (!error) return
      if (error === overdue) throw this.#giveUp(doing)
      const kafka = toKafkaError(error)
      const again = kafka.isRetriable && !kafka.isFatal && !kafka.isTxnRequiresAbort
      if (!again || clock.monotonicMs() + this.#limits.retryPauseMs >= endMs) throw this.#classify(doing, kafka)
      await clock.sleep(this.#limits.retryPauseMs)
    }
  }

  /** The call's error, if any; `overdue` when it is not back long after its time-out. */
  async #once(call: (timeoutMs: number) => Promise<void>, timeoutMs: number): Promise<unknown> {
    const running = call(timeoutMs).then(() => undefined, (error: unknown) => error)
    const back = new AbortController()
    const waited = this.#options.clock.sleep(timeoutMs + this.#limits.overdueMsMax, back.signal).then(() => overdue)
    const outcome = await Promise.race([running, waited])
    back.abort()
    if (outcome === overdue) this.#leftRunning = running
    return outcome
  }

  #giveUp(doing: string): HarrierError {
    this.#enter('dead')
    const { callMsMax, overdueMsMax } = this.#limits
    return new HarrierError('BROKER_UNAVAILABLE', `${doing} of ${this.transactionalId}: librdkafka did not come back ${overdueMsMax} ms after its time-out of ${callMsMax} ms`)
  }

  #classify(doing: string, error: KafkaError): HarrierError {
    const what = `${doing} of ${this.transactionalId}`
    if (isDenied(error)) {
      this.#enter('dead')
      return asHarrierError('NOT_AUTHORIZED', what, error)
    }
    if (error.isFatal || isFenced(error)) {
      this.#enter('dead')
      if (isFenced(error)) return asHarrierError('FENCED', what, error)
      return asHarrierError('FENCED', `${what}; the producer cannot go on`, error, 'start the instance again: its transactional id settles what is open')
    }
    if (!error.isTxnRequiresAbort && (error.isRetriable || isPassing(error))) {
      // A commit may still go through, and until it is back librdkafka refuses an abort.
      this.#enter('dead')
      return asHarrierError('BROKER_UNAVAILABLE', what, error)
    }
    if (this.#state === 'open') this.#enter('broken')
    return asHarrierError('TRANSACTION_ABORTED', what, error)
  }

  #sendError(error: KafkaError, columns: RecordColumns, topics: readonly string[]): HarrierError {
    if (error.code !== kafkaCode.messageTooLarge) return this.#classify(`producing to ${topics.join(', ')}`, error)
    this.#enter('broken')
    return recordTooLarge(error, columns, topics)
  }

  #enter(next: State): void {
    assert((allowed[this.#state] as readonly State[]).includes(next), `producer goes from ${this.#state} to ${next}`)
    this.#state = next
  }
}

/**
 * Ends the open transaction of a dead process by initialising its transactional id: 0.3 s instead of its time-out.
 * Only for ids whose owner has left the group: a living one would be fenced.
 */
export async function freeTransactionalId(options: Omit<ProducerOptions, 'onDeliveryError'>): Promise<void> {
  const producer = new RdkafkaTransactionalProducer(options)
  try {
    await producer.init()
  } finally {
    await producer.close()
  }
}
