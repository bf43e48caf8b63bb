import type Kafka from 'node-rdkafka'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { KafkaSecurity } from '../connection/security.js'
import { ConnectWatch } from './connect-watch.js'
import { asHarrierError, isPassing, kafkaCode, KafkaError, toKafkaError } from './kafka-errors.js'
import type { EofEvent, Watermarks } from './native-consumer-driver.js'
import { keepToken, type TokenClient } from './oauth-bearer.js'

/** A record as node-rdkafka makes it: one object and up to two Buffers each. What carries many takes `NativeConsumerDriver`. */
export interface RdkafkaMessage {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: readonly Record<string, Buffer>[]
}

/** node-rdkafka's calls as promises, with named limits. Nothing here knows what the engine does. */
export interface Fetched {
  readonly messages: readonly RdkafkaMessage[]
  readonly eofs: readonly EofEvent[]
}

/** The native object under node-rdkafka's consumer: its own `consume` emits an event for each record besides. */
interface NativeConsumer {
  consume(timeoutMs: number, count: number, done: (error: unknown, messages: RdkafkaMessage[], eofs: EofEvent[]) => void): void
}

type AnyClient = Kafka.KafkaConsumer | Kafka.Producer

/** What consumer and producer have in common, and their types have not. */
interface LogEmitter {
  on(event: 'event.log', listener: (event: { fac?: string; message?: string }) => void): unknown
  off(event: 'event.log', listener: (event: { fac?: string; message?: string }) => void): unknown
}

export interface ConnectOptions {
  readonly brokers: string
  readonly security?: KafkaSecurity | undefined
  readonly limitMs: number
  readonly clock: Clock
  readonly logger: Logger
}

/** What ends with a client besides itself: the keeping of its token. */
const atDisconnect = new WeakMap<object, () => void>()

/**
 * Connects, trying again while no broker answers, for at most `limitMs`. Errors: BROKER_UNAVAILABLE with what librdkafka
 * said last; AUTHENTICATION_FAILED, CERTIFICATE_REFUSED, CONFIG_INVALID (no TLS there) after `refusedMsMax` already.
 */
export async function connectClient(client: AnyClient, options: ConnectOptions): Promise<void> {
  const { security, limitMs, clock } = options
  if (security?.login?.mechanism === 'OAUTHBEARER') {
    atDisconnect.get(client)?.()
    atDisconnect.set(client, await keepToken(client as unknown as TokenClient, security.login.tokens, options))
  }
  const watch = new ConnectWatch(options)
  const onLog = ({ fac, message = '' }: { fac?: string; message?: string }): void => watch.onLog(fac, message)
  const emitter: LogEmitter = client
  emitter.on('event.log', onLog)
  // `connect` asks for the metadata once, with the whole limit; here it asks in short tries, so that a refusal ends it.
  const ask = client.getMetadata.bind(client)
  client.getMetadata = (_options, done) => {
    const next = (): void => {
      ask({ timeout: watch.tryMs }, (error, metadata) => {
        if (!error || watch.isOver) done?.(error, metadata)
        else void clock.sleep(connectPauseMs).then(next)
      })
    }
    next()
    return client
  }
  try {
    const error = await new Promise<unknown>((resolve) => client.connect({ timeout: limitMs }, resolve))
    if (error) throw await watch.failure(error)
  } catch (error) {
    atDisconnect.get(client)?.()
    throw error
  } finally {
    client.getMetadata = ask
    emitter.off('event.log', onLog)
  }
}

const connectPauseMs = 50

/** Ends the client, by `end` if given; after `limitMs` it is left to the end of the process, which is said. */
export async function disconnectClient(client: AnyClient, limitMs: number, clock: Clock, logger: Logger, end = (done: () => void): unknown => client.disconnect(done)): Promise<void> {
  atDisconnect.get(client)?.()
  const ended = new AbortController()
  const disconnected = new Promise<boolean>((resolve) => end(() => resolve(true)))
  const waited = clock.sleep(limitMs, ended.signal).then(() => false)
  if (!(await Promise.race([disconnected, waited]))) logger.log('warn', 'a Kafka client did not end in time', { limitMs })
  ended.abort()
}

/** Up to `count` records; waits at most `timeoutMs` for each of them (0: only what is already here). */
export function consumeBatch(consumer: Kafka.KafkaConsumer, count: number, timeoutMs: number): Promise<Fetched> {
  return new Promise((resolve, reject) => {
    const native = consumer.getClient() as NativeConsumer
    native.consume(Math.max(0, Math.ceil(timeoutMs)), count, (error, messages, eofs) => {
      if (error) reject(toKafkaError(error))
      else resolve({ messages, eofs })
    })
  })
}

/** Repeats a call that fails in passing (broker away, coordinator moving) until `limitMs` is over. */
export async function withRetries<T>(
  what: string,
  call: (leftMs: number) => Promise<T>,
  options: { limitMs: number; tryMsMax?: number; pauseMs: number; clock: Clock; retry?: (error: KafkaError) => boolean },
): Promise<T> {
  const { clock, limitMs } = options
  const endMs = clock.monotonicMs() + limitMs
  for (;;) {
    const leftMs = endMs - clock.monotonicMs()
    try {
      return await call(Math.max(1, Math.ceil(Math.min(leftMs, options.tryMsMax ?? Infinity))))
    } catch (error) {
      if (error instanceof HarrierError) throw error
      const kafka = toKafkaError(error)
      const again = isPassing(kafka) || kafka.isRetriable || options.retry?.(kafka) === true
      if (!again || clock.monotonicMs() + options.pauseMs >= endMs) throw asHarrierError('BROKER_UNAVAILABLE', `${what} failed within ${limitMs} ms`, error)
      await clock.sleep(options.pauseMs)
    }
  }
}

/** What `queryWatermarks` asks. */
export interface WatermarkSource {
  watermarks(topic: string, partition: number, timeoutMs: number): Promise<Watermarks>
  partitionExists(topic: string, partition: number, timeoutMs: number): Promise<boolean>
}

/**
 * Where a partition begins and ends. While its leader is away librdkafka says "unknown partition" out of its cache, and
 * would for as long as nobody asks for the metadata anew: so they are asked for, and a partition that exists is worth another try.
 */
export async function queryWatermarks(source: WatermarkSource, topic: string, partition: number, timeoutMs: number): Promise<Watermarks> {
  try {
    return await source.watermarks(topic, partition, timeoutMs)
  } catch (error) {
    if (toKafkaError(error).code !== kafkaCode.unknownPartition || !(await source.partitionExists(topic, partition, timeoutMs))) throw error
    throw new KafkaError(kafkaCode.leaderNotAvailable, `no leader of ${topic}/${partition} is known yet`)
  }
}

export function watermarksNow(client: Kafka.KafkaConsumer, topic: string, partition: number, timeoutMs: number): Promise<Watermarks> {
  return new Promise((resolve, reject) => {
    client.queryWatermarkOffsets(topic, partition, timeoutMs, (error, offsets) => {
      if (error) reject(toKafkaError(error))
      else resolve({ low: offsets.lowOffset, stableEnd: offsets.highOffset })
    })
  })
}

/** As the brokers say now; librdkafka's cache learns it too. */
export function partitionIsKnown(client: Kafka.KafkaConsumer, topic: string, partition: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    client.getMetadata({ topic, timeout: timeoutMs }, (error, { topics } = { orig_broker_id: 0, orig_broker_name: '', topics: [], brokers: [] }) => {
      if (error) reject(toKafkaError(error))
      else resolve(topics.some(({ name, partitions }) => name === topic && partitions.some(({ id }) => id === partition)))
    })
  })
}
