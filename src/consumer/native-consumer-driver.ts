import type { RecordColumns } from '../base/record-columns.js'
import type { CommittedOffset, TopicPartition, TopicPartitionOffset } from './group-consumer.js'
import { kafkaCode, KafkaError, toKafkaError } from './kafka-errors.js'
import type { NativeClient } from './native-binding.js'
import { flatColumns, flatPartitions, NativeConnection, type NativeConnectionOptions, type NativeEvents } from './native-connection.js'

/** What a consumer of librdkafka tells besides answers. */
export interface ConsumerEvents extends Pick<NativeEvents, 'onError' | 'onLog'> {
  /** `isLost`: others may own the partitions already. */
  onRebalance(error: KafkaError, partitions: readonly TopicPartition[], isLost: boolean): void
}

export interface ConsumerDriverOptions extends NativeConnectionOptions {
  /** Their order gives the topic index; `setTopics` changes them. */
  readonly topics: readonly string[]
  readonly events: ConsumerEvents
}

export interface EofEvent extends TopicPartition {
  readonly offset: number
}

export interface DriverPoll {
  /** Errors between the records; what follows an error of a partition is not affected by it. */
  readonly errors: readonly KafkaError[]
  readonly eofs: readonly EofEvent[]
}

export interface DriverPollOptions {
  readonly recordsMax: number
  /** Longest wait for the first record, end of a partition, or error. */
  readonly delayMsMax: number
  /** Longest wait for more records. */
  readonly fillMsMax: number
}

export interface Watermarks {
  /** First offset that is still there. */
  readonly low: number
  /** End for readers of committed records (the last stable offset). */
  readonly stableEnd: number
}

/** Of each error or end that a poll tells: code, message, topic, partition, offset. */
const remarkFields = 5

/**
 * The consumer of native/addon.cc, without rules of our own: `RdkafkaGroupConsumer` and `RangeReader` are written over it. Its own
 * threads copy records from librdkafka's buffers into columns. Rejections are KafkaErrors, HarrierErrors only out of `connect`. One
 * poll at a time.
 */
export class NativeConsumerDriver {
  readonly #connection: NativeConnection
  #topics: readonly string[]

  constructor(options: ConsumerDriverOptions) {
    this.#topics = options.topics
    this.#connection = new NativeConnection(true, options)
  }

  /** What the paired producer needs to send offsets. */
  get membership(): NativeClient {
    return this.#connection.client
  }

  get isConnected(): boolean {
    return this.#connection.isConnected
  }

  /** Errors: BROKER_UNAVAILABLE with what librdkafka said last; AUTHENTICATION_FAILED, CERTIFICATE_REFUSED, CONFIG_INVALID (no TLS there). */
  async connect(limitMs: number): Promise<void> {
    await this.#connection.connect(limitMs)
    this.#connection.client.setTopics(this.#topics)
  }

  setTopics(topics: readonly string[]): void {
    this.#topics = topics
    this.#connection.client.setTopics(topics)
  }

  subscribe(): void {
    this.#connection.client.subscribe(this.#topics)
  }

  unsubscribe(): void {
    this.#connection.client.unsubscribe()
  }

  assign(partitions: readonly TopicPartitionOffset[]): void {
    this.#connection.client.assign(flatPartitions(partitions))
  }

  unassign(): void {
    this.#connection.client.assign([])
  }

  incrementalAssign(partitions: readonly TopicPartitionOffset[]): void {
    this.#connection.client.incrementalAssign(flatPartitions(partitions))
  }

  incrementalUnassign(partitions: readonly TopicPartition[]): void {
    // While it closes the client answers by itself.
    if (this.#connection.isConnected) this.#connection.client.incrementalUnassign(flatPartitions(partitions))
  }

  pause(partitions: readonly TopicPartition[]): void {
    this.#connection.client.pause(flatPartitions(partitions))
  }

  /** Goes on at these offsets: by itself librdkafka would go on after the last record or *error* that a poll of many gave. */
  resume(partitions: readonly TopicPartitionOffset[]): void {
    const flat = flatPartitions(partitions)
    this.#connection.client.seekSoon(flat)
    this.#connection.client.resume(flat)
  }

  seek(partition: TopicPartitionOffset, timeoutMs: number): Promise<void> {
    return this.#connection.client.seek(flatPartitions([partition]), timeoutMs)
  }

  async committed(partitions: readonly TopicPartition[], timeoutMs: number): Promise<CommittedOffset[]> {
    const flat = await this.#connection.client.committed(flatPartitions(partitions), timeoutMs)
    return Array.from({ length: flat.length / 4 }, (_, i) => {
      const [topic, partition, offset, error] = flat.slice(i * 4) as [string, number, number, number]
      if (error !== 0) throw new KafkaError(error, `the committed offset of ${topic}/${partition} is not known`)
      return { topic, partition, offset: offset >= 0 ? offset : null }
    })
  }

  async watermarks(topic: string, partition: number, timeoutMs: number): Promise<Watermarks> {
    const [low, stableEnd] = await this.#connection.client.watermarks(topic, partition, timeoutMs)
    return { low, stableEnd }
  }

  /** Whether the brokers know the partition now; librdkafka's cache learns it too. */
  async partitionExists(topic: string, partition: number, timeoutMs: number): Promise<boolean> {
    try {
      return partition < (await this.#connection.client.partitionCount(topic, timeoutMs))
    } catch (error) {
      if (toKafkaError(error).code === kafkaCode.unknownTopicOrPartition) return false
      throw error
    }
  }

  /** Partitions of every topic that we may see. */
  async partitionCounts(timeoutMs: number): Promise<Map<string, number>> {
    const flat = await this.#connection.client.partitionCounts(timeoutMs)
    return new Map(Array.from({ length: flat.length / 2 }, (_, i) => [flat[i * 2] as string, flat[i * 2 + 1] as number]))
  }

  /** The high watermark as the last fetch told it, without asking; null before the first. */
  knownEnd(topic: string, partition: number): number | null {
    if (!this.#connection.isConnected) return null
    const end = this.#connection.client.knownEnd(topic, partition)
    return end >= 0 ? end : null
  }

  /** Appends records of all topics, in the order of each partition. Records that do not fit into the arena are taken after it has grown, before the poll is over: see native/client.h, invariant 1. */
  async poll(into: RecordColumns, { recordsMax, delayMsMax, fillMsMax }: DriverPollOptions): Promise<DriverPoll> {
    const errors: KafkaError[] = []
    const eofs: EofEvent[] = []
    const { client } = this.#connection
    let room = recordsMax
    let delayMs = Math.max(0, Math.ceil(delayMsMax))
    let fillMs = Math.max(0, Math.ceil(fillMsMax))
    for (;;) {
      const { arena } = into
      const [rows, used, needed, ...remarks] = await client.poll(flatColumns(into), into.recordsMax, into.count, arena.used, room, delayMs, fillMs)
      into.count += rows
      arena.used = used
      for (let i = 0; i < remarks.length; i += remarkFields) {
        const [code, message, topic, partition, offset] = remarks.slice(i) as [number, string, string, number, number]
        if (code === kafkaCode.partitionEof) eofs.push({ topic, partition, offset })
        else errors.push(new KafkaError(code, message, { isFatal: code === kafkaCode.fatal }))
      }
      if (needed === 0) return { errors, eofs }
      arena.reserve(needed)
      room -= rows
      delayMs = 0
      fillMs = 0
    }
  }

  close(limitMs: number): Promise<void> {
    return this.#connection.close(limitMs)
  }
}

