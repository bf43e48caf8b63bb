import { assert } from '../base/assert.js'
import type { TopicPartition } from './group-consumer.js'

/**
 * What a member owns, since when, and whose records may pass. Knows no Kafka, so its rules are tested without one.
 *
 * 1. Each change of ownership is a new epoch.
 * 2. A partition is owned since the epoch in which it was assigned, until `remove`.
 * 3. Records pass only between `open` and the next `close`: not before the first resume, not once revocation has begun.
 */
export interface PartitionState extends TopicPartition {
  readonly topicIndex: number
  readonly sinceEpoch: number
  /** Whether records of this partition may be handed on. */
  open: boolean
  /** Whether the engine holds it back. */
  paused: boolean
  /** Next offset to hand on; -1 before the first start. */
  position: number
  /** Where it stood when that was last compared with the log; -1: never. */
  seenAt: number
}

export class Assignment {
  readonly #topics: readonly string[]
  readonly #states: (PartitionState | undefined)[][]
  #epoch = 0

  constructor(topics: readonly string[]) {
    assert(topics.length > 0 && topics.length <= 256, 'a consumer has 1 to 256 topics')
    this.#topics = topics
    this.#states = topics.map(() => [])
  }

  get epoch(): number {
    return this.#epoch
  }

  add(partitions: readonly TopicPartition[]): void {
    this.#epoch++
    for (const { topic, partition } of partitions) {
      const topicIndex = this.#topics.indexOf(topic)
      assert(topicIndex >= 0, `an assigned topic is subscribed: ${topic}`)
      this.#states[topicIndex]![partition] = { topic, partition, topicIndex, sinceEpoch: this.#epoch, open: false, paused: false, position: -1, seenAt: -1 }
    }
  }

  /** Ends the ownership. */
  remove(partitions: readonly TopicPartition[]): void {
    this.#epoch++
    for (const { topic, partition } of partitions) {
      const state = this.get(topic, partition)
      if (!state) continue
      state.open = false
      this.#states[state.topicIndex]![partition] = undefined
    }
  }

  /** Holds the records of these partitions back for good: they are being revoked. */
  close(partitions: readonly TopicPartition[]): void {
    for (const { topic, partition } of partitions) {
      const state = this.get(topic, partition)
      if (state) state.open = false
    }
  }

  get(topic: string, partition: number): PartitionState | undefined {
    const index = this.#topics.indexOf(topic)
    return index < 0 ? undefined : this.#states[index]![partition]
  }

  /** By topic index, as records have it. */
  at(topicIndex: number, partition: number): PartitionState | undefined {
    return this.#states[topicIndex]?.[partition]
  }

  isOwnedSince({ topic, partition }: TopicPartition, epoch: number): boolean {
    const state = this.get(topic, partition)
    return state !== undefined && state.sinceEpoch <= epoch
  }

  owned(): PartitionState[] {
    return this.#states.flatMap((states) => states.flatMap((state) => state ?? []))
  }
}
