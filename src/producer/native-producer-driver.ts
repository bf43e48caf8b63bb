import { assert } from '../base/assert.js'
import type { RecordColumns } from '../base/record-columns.js'
import type { TopicPartitionOffset } from '../consumer/group-consumer.js'
import { loadNative, type NativeClient } from '../consumer/native-binding.js'
import { flatColumns, flatPartitions, NativeConnection } from '../consumer/native-connection.js'
import type { ProducerDriver, ProducerDriverOptions } from './producer-driver.js'

/** The producer of native/addon.cc: a thread of its own queues the rows of an arena. */
export class NativeProducerDriver implements ProducerDriver {
  readonly #connection: NativeConnection

  constructor(options: ProducerDriverOptions) {
    const { events } = options
    this.#connection = new NativeConnection(false, { ...options, events })
  }

  connect(limitMs: number): Promise<void> {
    return this.#connection.connect(limitMs)
  }

  init(timeoutMs: number): Promise<void> {
    return this.#connection.client.initTransactions(timeoutMs)
  }

  begin(): Promise<void> {
    return this.#connection.client.begin()
  }

  send(columns: RecordColumns, topics: readonly string[]): Promise<void> {
    if (columns.count === 0) return Promise.resolve()
    return this.#connection.client.send(flatColumns(columns), columns.count, topics)
  }

  sendOffsets(offsets: readonly TopicPartitionOffset[], membership: unknown, timeoutMs: number): Promise<void> {
    const native = loadNative()
    assert('Client' in native && membership instanceof native.Client, 'this producer is paired with a native consumer')
    return this.#connection.client.sendOffsets(flatPartitions(offsets), membership as NativeClient, timeoutMs)
  }

  commit(timeoutMs: number): Promise<void> {
    return this.#connection.client.commit(timeoutMs)
  }

  abort(timeoutMs: number): Promise<void> {
    return this.#connection.client.abort(timeoutMs)
  }

  async flush(timeoutMs: number): Promise<void> {
    await this.#connection.client.flush(timeoutMs).catch(() => undefined)
  }

  close(limitMs: number): Promise<void> {
    return this.#connection.close(limitMs)
  }
}
