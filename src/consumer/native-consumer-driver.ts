import type { RecordColumns } from '../base/record-columns.js'
import type { ConsumerDriver, ConsumerDriverOptions, DriverPoll, DriverPollOptions, EofEvent, Watermarks } from './consumer-driver.js'
import type { CommittedOffset, TopicPartition, TopicPartitionOffset } from './group-consumer.js'
import { kafkaCode, KafkaError } from './kafka-errors.js'
import { flatColumns, flatPartitions, NativeConnection } from './native-connection.js'

/** Of each error or end that a poll tells: code, message, topic, partition, offset. */
const remarkFields = 5

/** The consumer of native/addon.cc: records are copied by its own thread from librdkafka's buffers into columns. */
export class NativeConsumerDriver implements ConsumerDriver {
  readonly #connection: NativeConnection
  #topics: readonly string[]

  constructor(options: ConsumerDriverOptions) {
    this.#topics = options.topics
    const { events } = options
    this.#connection = new NativeConnection(true, { ...options, events })
  }

  get membership(): unknown {
    return this.#connection.client
  }

  get isConnected(): boolean {
    return this.#connection.isConnected
  }

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

  resume(partitions: readonly TopicPartition[]): void {
    this.#connection.client.resume(flatPartitions(partitions))
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

  async partitionExists(topic: string, partition: number, timeoutMs: number): Promise<boolean> {
    return partition < (await this.#connection.client.partitionCount(topic, timeoutMs))
  }

  knownEnd(topic: string, partition: number): number | null {
    if (!this.#connection.isConnected) return null
    const end = this.#connection.client.knownEnd(topic, partition)
    return end >= 0 ? end : null
  }

  /** Records that do not fit into the arena are taken after it has grown, before the poll is over: see native/client.h, invariant 1. */
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

