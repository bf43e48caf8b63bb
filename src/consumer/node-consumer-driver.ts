import type Kafka from 'node-rdkafka'
import type { RecordColumns } from '../base/record-columns.js'
import type { ConsumerDriver, ConsumerDriverOptions, DriverPoll, DriverPollOptions, EofEvent, Watermarks } from './consumer-driver.js'
import type { CommittedOffset, TopicPartition, TopicPartitionOffset } from './group-consumer.js'
import { kafkaCode, KafkaError, toKafkaError } from './kafka-errors.js'
import { appendMessage } from './message-columns.js'
import { connectClient, consumeBatch, disconnectClient, partitionIsKnown, watermarksNow } from './rdkafka-client.js'
import { rdkafka } from './rdkafka.js'

/** node-rdkafka's consumer: an object for each record, and an error in the middle of a fetched batch is lost. */
export class NodeConsumerDriver implements ConsumerDriver {
  readonly #options: ConsumerDriverOptions
  readonly #client: Kafka.KafkaConsumer
  #topics: readonly string[]

  constructor(options: ConsumerDriverOptions) {
    this.#options = options
    this.#topics = options.topics
    const { events } = options
    const configuration = {
      ...options.configuration,
      rebalance_cb: (error: unknown, partitions: TopicPartition[]) => events.onRebalance(toKafkaError(error), partitions, undefined),
    }
    this.#client = new (rdkafka().KafkaConsumer)(configuration as Kafka.ConsumerGlobalConfig, {})
    this.#client.on('event.error', (error) => events.onError(toKafkaError(error)))
    this.#client.on('event.log', ({ fac, message = '' }: { fac?: string; message?: string }) => events.onLog(fac, message))
  }

  get membership(): unknown {
    return this.#client
  }

  get isConnected(): boolean {
    return this.#client.isConnected()
  }

  connect(limitMs: number): Promise<void> {
    return connectClient(this.#client, { ...this.#options, limitMs })
  }

  setTopics(topics: readonly string[]): void {
    this.#topics = topics
  }

  subscribe(): void {
    this.#client.subscribe([...this.#topics])
  }

  assign(partitions: readonly TopicPartitionOffset[]): void {
    this.#client.assign(partitions.map(({ topic, partition, offset }) => ({ topic, partition, offset })))
  }

  unassign(): void {
    this.#client.unassign()
  }

  incrementalAssign(partitions: readonly TopicPartitionOffset[]): void {
    this.#client.incrementalAssign(partitions.map(({ topic, partition, offset }) => ({ topic, partition, offset })))
  }

  incrementalUnassign(partitions: readonly TopicPartition[]): void {
    this.#client.incrementalUnassign(toPlain(partitions))
  }

  pause(partitions: readonly TopicPartition[]): void {
    this.#client.pause(toPlain(partitions))
  }

  resume(partitions: readonly TopicPartition[]): void {
    this.#client.resume(toPlain(partitions))
  }

  seek({ topic, partition, offset }: TopicPartitionOffset, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.seek({ topic, partition, offset }, timeoutMs, (error) => (error ? reject(toKafkaError(error)) : resolve()))
    })
  }

  committed(partitions: readonly TopicPartition[], timeoutMs: number): Promise<CommittedOffset[]> {
    return new Promise((resolve, reject) => {
      this.#client.committed(toPlain(partitions), timeoutMs, (error, found) => {
        if (error) return reject(toKafkaError(error))
        const offsets: CommittedOffset[] = []
        for (const entry of found) {
          // A partition that failed comes as an Error in the list.
          if (entry instanceof Error) return reject(new KafkaError(kafkaCode.unstableOffsetCommit, entry.message))
          offsets.push({ topic: entry.topic, partition: entry.partition, offset: typeof entry.offset === 'number' && entry.offset >= 0 ? entry.offset : null })
        }
        resolve(offsets)
      })
    })
  }

  watermarks(topic: string, partition: number, timeoutMs: number): Promise<Watermarks> {
    return watermarksNow(this.#client, topic, partition, timeoutMs)
  }

  partitionExists(topic: string, partition: number, timeoutMs: number): Promise<boolean> {
    return partitionIsKnown(this.#client, topic, partition, timeoutMs)
  }

  knownEnd(topic: string, partition: number): number | null {
    try {
      const { highOffset } = this.#client.getWatermarkOffsets(topic, partition)
      return highOffset >= 0 ? highOffset : null
    } catch {
      return null
    }
  }

  /**
   * node-rdkafka applies its time-out to each record, so a slow trickle would hold a batch back for ever. Hence: wait for
   * one record, then take what is here without waiting, and wait for more only within `fillMsMax`.
   */
  async poll(into: RecordColumns, { recordsMax, delayMsMax, fillMsMax, isHeld }: DriverPollOptions): Promise<DriverPoll> {
    const { clock } = this.#options
    const start = into.count
    const left = (): number => start + recordsMax - into.count
    const told: Told = { errors: [], eofs: [] }
    const isTold = (): boolean => told.errors.length > 0 || told.eofs.length > 0
    await this.#take(into, recordsMax, 0, told)
    if (into.count === start && !isTold() && delayMsMax > 0) {
      await this.#take(into, 1, delayMsMax, told)
      if (into.count > start && left() > 0) await this.#take(into, left(), 0, told)
    }
    if (into.count === start || fillMsMax <= 0) return told
    const endMs = clock.monotonicMs() + fillMsMax
    while (left() > 0 && !isTold() && !isHeld()) {
      const leftMs = endMs - clock.monotonicMs()
      if (leftMs < 1) break
      const before = into.count
      await this.#take(into, 1, leftMs, told)
      if (into.count > before && left() > 0) await this.#take(into, left(), 0, told)
    }
    return told
  }

  async #take(into: RecordColumns, count: number, timeoutMs: number, told: Told): Promise<void> {
    let fetched
    try {
      fetched = await consumeBatch(this.#client, count, timeoutMs)
    } catch (error) {
      told.errors.push(toKafkaError(error))
      return
    }
    const { messages, eofs } = fetched
    let topic = ''
    let index = -1
    for (let i = 0; i < messages.length; i++) {
      const message = messages[i]!
      // Records come in runs of one topic: the lookup is needed once per run.
      if (message.topic !== topic) {
        topic = message.topic
        index = this.#topics.indexOf(topic)
      }
      if (index >= 0) appendMessage(into, index, message)
    }
    for (const eof of eofs) told.eofs.push(eof)
  }

  close(limitMs: number): Promise<void> {
    return this.isConnected ? disconnectClient(this.#client, limitMs, this.#options.clock, this.#options.logger) : Promise.resolve()
  }
}

interface Told {
  readonly errors: KafkaError[]
  readonly eofs: EofEvent[]
}

function toPlain(partitions: readonly TopicPartition[]): { topic: string; partition: number }[] {
  return partitions.map(({ topic, partition }) => ({ topic, partition }))
}
