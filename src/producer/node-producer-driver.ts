import type Kafka from 'node-rdkafka'
import { assert } from '../base/assert.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { TopicPartitionOffset } from '../consumer/group-consumer.js'
import { kafkaCode, toKafkaError } from '../consumer/kafka-errors.js'
import { connectClient, disconnectClient } from '../consumer/rdkafka-client.js'
import { rdkafka } from '../consumer/rdkafka.js'
import { toTextHeaders } from './packed-headers.js'
import type { ProducerDriver, ProducerDriverOptions } from './producer-driver.js'

/** The native call: no wrapper per record, and an error code instead of an exception. */
interface NativeProducer {
  produce(
    topic: string,
    partition: number,
    value: Uint8Array | null,
    key: Uint8Array | null,
    timestamp: number,
    opaque: undefined,
    headers: Record<string, string>[] | undefined,
  ): number
}

/** The shortest flush before a client ends. */
const closeFlushMs = 1

type Done = (error: unknown) => void

/** node-rdkafka's producer: header values are text only (packed-headers.ts). */
export class NodeProducerDriver implements ProducerDriver {
  readonly #options: ProducerDriverOptions
  readonly #client: Kafka.Producer

  constructor(options: ProducerDriverOptions) {
    this.#options = options
    const { events } = options
    const configuration = { ...options.configuration, dr_cb: true }
    this.#client = new (rdkafka().Producer)(configuration as Kafka.ProducerGlobalConfig, {})
    this.#client.on('event.error', (error) => events.onError(toKafkaError(error)))
    this.#client.on('event.log', ({ fac, message = '' }: { fac?: string; message?: string }) => events.onLog(fac, message))
    this.#client.on('delivery-report', (error) => {
      const { code } = toKafkaError(error)
      // Records that an abort purges come here too; they are no news.
      if (error && code !== kafkaCode.purgedFromQueue && code !== kafkaCode.purgedInFlight) events.onDeliveryError(toKafkaError(error))
    })
  }

  connect(limitMs: number): Promise<void> {
    return connectClient(this.#client, { ...this.#options, limitMs })
  }

  init(timeoutMs: number): Promise<void> {
    return asPromise((done) => this.#client.initTransactions(timeoutMs, done))
  }

  begin(): Promise<void> {
    return asPromise((done) => this.#client.beginTransaction(done))
  }

  async send(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    const native = this.#client.getClient() as NativeProducer
    const { topic, partition, timestamp, keyAt, keyBytes, valueAt, valueBytes, headersBytes, count } = columns
    // The arena may not grow in here, so its bytes are taken once.
    const bytes = columns.arena.bytes
    for (let row = 0; row < count; row++) {
      const keyStart = keyAt[row]!
      const keyLength = keyBytes[row]!
      const valueStart = valueAt[row]!
      const valueLength = valueBytes[row]!
      const key = keyLength < 0 ? null : bytes.subarray(keyStart, keyStart + keyLength)
      const value = valueLength < 0 ? null : bytes.subarray(valueStart, valueStart + valueLength)
      const headers = headersBytes[row] === 0 ? undefined : toTextHeaders(columns, row)
      for (;;) {
        const code = native.produce(topics[topic[row]!]!, partition[row]!, value, key, timestamp[row]!, undefined, headers)
        if (code === 0) break
        if (code !== kafkaCode.queueFull) throw toKafkaError(code)
        this.#client.poll()
        await this.#options.clock.sleep(this.#options.queueFullPauseMs)
      }
    }
  }

  sendOffsets(offsets: readonly TopicPartitionOffset[], membership: unknown, timeoutMs: number): Promise<void> {
    assert(membership instanceof rdkafka().KafkaConsumer, 'this producer is paired with a consumer of node-rdkafka')
    const plain = offsets.map(({ topic, partition, offset }) => ({ topic, partition, offset }))
    return asPromise((done) => this.#client.sendOffsetsToTransaction(plain, membership, timeoutMs, done))
  }

  commit(timeoutMs: number): Promise<void> {
    return asPromise((done) => this.#client.commitTransaction(timeoutMs, done))
  }

  abort(timeoutMs: number): Promise<void> {
    return asPromise((done) => this.#client.abortTransaction(timeoutMs, done))
  }

  async flush(timeoutMs: number): Promise<void> {
    await new Promise((resolve) => this.#client.flush(timeoutMs, resolve))
  }

  /** Without the flush of node-rdkafka's own `disconnect`: an open transaction must end without its records. */
  async close(limitMs: number): Promise<void> {
    const { clock, logger } = this.#options
    if (this.#client.isConnected()) await disconnectClient(this.#client, limitMs, clock, logger, (done) => this.#client.disconnect(closeFlushMs, done))
  }
}

function asPromise(call: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => call((error) => (error ? reject(toKafkaError(error)) : resolve())))
}
