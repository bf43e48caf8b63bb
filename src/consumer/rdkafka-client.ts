import type Kafka from 'node-rdkafka'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { asHarrierError, isPassing, toKafkaError, type KafkaError } from './kafka-errors.js'
import type { RdkafkaMessage } from './message-columns.js'

/** node-rdkafka's calls as promises, with named limits. Nothing here knows what the engine does. */
export interface EofEvent {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

export interface Fetched {
  readonly messages: readonly RdkafkaMessage[]
  readonly eofs: readonly EofEvent[]
}

/** The native object under node-rdkafka's consumer: its own `consume` emits an event for each record besides. */
interface NativeConsumer {
  consume(timeoutMs: number, count: number, done: (error: unknown, messages: RdkafkaMessage[], eofs: EofEvent[]) => void): void
}

type AnyClient = Kafka.KafkaConsumer | Kafka.Producer

/** Connects, trying again while no broker answers, for at most `limitMs`. */
export async function connectClient(client: AnyClient, brokers: string, limitMs: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    client.connect({ timeout: limitMs }, (error) => {
      if (!error) return resolve()
      reject(asHarrierError('BROKER_UNAVAILABLE', `no broker answered at ${brokers} within ${limitMs} ms`, error))
    })
  })
}

/** Ends the client; after `limitMs` it is left to the end of the process, which is said. */
export async function disconnectClient(client: { disconnect(done: () => void): unknown }, limitMs: number, clock: Clock, logger: Logger): Promise<void> {
  const ended = new AbortController()
  const disconnected = new Promise<boolean>((resolve) => client.disconnect(() => resolve(true)))
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

export interface Watermarks {
  /** First offset that is still there. */
  readonly low: number
  /** End for readers of committed records (the last stable offset). */
  readonly stableEnd: number
}

export function queryWatermarks(client: Kafka.KafkaConsumer, topic: string, partition: number, timeoutMs: number): Promise<Watermarks> {
  return new Promise((resolve, reject) => {
    client.queryWatermarkOffsets(topic, partition, timeoutMs, (error, offsets) => {
      if (error) reject(toKafkaError(error))
      else resolve({ low: offsets.lowOffset, stableEnd: offsets.highOffset })
    })
  })
}
