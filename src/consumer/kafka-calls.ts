import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { asHarrierError, isPassing, kafkaCode, KafkaError, toKafkaError } from './kafka-errors.js'
import type { Watermarks } from './native-consumer-driver.js'

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
