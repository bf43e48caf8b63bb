import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { PartitionState } from './assignment.js'
import type { GroupConsumerLimits, TopicPartition } from './group-consumer.js'
import type { NativeConsumerDriver, Watermarks } from './native-consumer-driver.js'
import { queryWatermarks, withRetries } from './kafka-calls.js'

type Limits = Pick<GroupConsumerLimits, 'seekMsMax' | 'callMsMax' | 'retryPauseMs'>

/** Where the logs of partitions begin, and the loud errors for who stands before it. */
export class LogBounds {
  readonly #driver: NativeConsumerDriver
  readonly #clock: Clock
  readonly #limits: Limits

  constructor(driver: NativeConsumerDriver, clock: Clock, limits: Limits) {
    this.#driver = driver
    this.#clock = clock
    this.#limits = limits
  }

  watermarks(partition: TopicPartition): Promise<Watermarks> {
    const { seekMsMax, callMsMax, retryPauseMs } = this.#limits
    return withRetries(
      `asking for the ends of ${partitionName(partition)}`,
      (leftMs) => queryWatermarks(this.#driver, partition.topic, partition.partition, leftMs),
      { limitMs: seekMsMax, tryMsMax: callMsMax, pauseMs: retryPauseMs, clock: this.#clock },
    )
  }

  /** The end as the last fetch told it, without asking; null before the first. */
  lastKnownEnd({ topic, partition }: TopicPartition): number | null {
    return this.#driver.knownEnd(topic, partition)
  }

  /** A start outside the log is an error that names both ends, before librdkafka meets it. */
  async checkStart(partition: TopicPartition, offset: number): Promise<void> {
    const { low, stableEnd } = await this.watermarks(partition)
    if (offset >= low) return
    throw new HarrierError('RESTORE_IMPOSSIBLE', `${partitionName(partition)} should be read from offset ${offset}, but its log starts at ${low} (and ends at ${stableEnd})`)
  }

  /**
   * Asks the log about a partition that is being read. `overtaken`: the error when retention has passed it; `isHeldUp`: it stands where it
   * stood at the last call, with something behind it (be it markers of transactions alone).
   */
  async compare(state: PartitionState): Promise<{ readonly overtaken: HarrierError | undefined; readonly isHeldUp: boolean }> {
    const { position, seenAt } = state
    const { low, stableEnd } = await queryWatermarks(this.#driver, state.topic, state.partition, this.#limits.callMsMax)
    if (!state.open || state.position !== position) return { overtaken: undefined, isHeldUp: false }
    state.seenAt = position
    if (position >= low) return { overtaken: undefined, isHeldUp: !state.paused && position === seenAt && position < stableEnd }
    const overtaken = new HarrierError('RESTORE_IMPOSSIBLE', `${partitionName(state)} stands at offset ${position}, but its log starts at ${low}: retention was faster than the engine`)
    return { overtaken, isHeldUp: false }
  }
}

export function partitionName({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`
}
