import { Arena } from '../../src/base/arena.js'
import { RecordColumns } from '../../src/base/record-columns.js'
import type { LogBounds, LogRange, RecordLog } from '../../src/audit/record-log.js'
import type { MemoryRegistry, TestOutput, TestOutputs, TestRecord, TopologyTestDriver } from '../../src/topology/test-driver.js'

interface Kept {
  readonly offset: number
  readonly timestampMs: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly (readonly [string, Uint8Array | string | null])[]
}

/** The topics of a topology test driver with one partition, as a broker keeps them; they can be truncated and tampered with. */
export class MemoryLog implements RecordLog {
  readonly #registry: MemoryRegistry
  readonly #topics = new Map<string, { from: number; records: Kept[]; next: number }>()

  constructor(registry: MemoryRegistry) {
    this.#registry = registry
  }

  #topic(name: string): { from: number; records: Kept[]; next: number } {
    const topic = this.#topics.get(name) ?? { from: 0, records: [], next: 0 }
    this.#topics.set(name, topic)
    return topic
  }

  append(name: string, record: Omit<Kept, 'offset'>): void {
    const topic = this.#topic(name)
    topic.records.push({ ...record, offset: topic.next++ })
  }

  /** Records as they were given to the driver. */
  inputs(driver: TopologyTestDriver, records: readonly TestRecord[], topic: 'input' | 'labels' = 'input'): void {
    const { topology, names } = driver
    const schema = topic === 'input' ? topology.readerSchema : topology.labels!.readerSchema
    for (const { key, value, timestampMs = 0, headers = {} } of records) {
      const bytes = value === null || value instanceof Uint8Array ? value : driver.encode(value, schema)
      this.append(topic === 'input' ? names.input : names.labels!, { timestampMs, key: typeof key === 'string' ? Buffer.from(key) : key, value: bytes, headers: Object.entries(headers) })
    }
  }

  /** What the driver has committed, by topic. */
  outputs({ scored, lineage, state, forwarded }: TestOutputs): void {
    const all: readonly TestOutput[] = [...scored, ...forwarded, ...lineage, ...state]
    for (const { topic, timestampMs, key, bytes, headers } of all) this.append(topic, { timestampMs, key, value: bytes, headers: Object.entries(headers) })
    // The marker of the transaction has an offset too; topics between stages have the driver's offsets.
    for (const topic of new Set(scored.map((output) => output.topic))) this.#topic(topic).next++
  }

  /** Retention takes what is before an offset. */
  truncate(name: string, before: number): void {
    const topic = this.#topic(name)
    topic.from = Math.max(topic.from, before)
    topic.records = topic.records.filter(({ offset }) => offset >= before)
  }

  /** Changes the bytes of a value. */
  tamper(name: string, offset: number, change: (value: Buffer) => Buffer): void {
    const topic = this.#topic(name)
    topic.records = topic.records.map((record) => (record.offset === offset ? { ...record, value: change(Buffer.from(record.value!)) } : record))
  }

  partitions(topic: string): Promise<number | undefined> {
    return Promise.resolve(this.#topics.has(topic) ? 1 : undefined)
  }

  bounds(name: string, partition: number): Promise<LogBounds | undefined> {
    const topic = this.#topics.get(name)
    return Promise.resolve(topic && partition === 0 ? { from: topic.from, to: topic.next } : undefined)
  }

  offsetAtTime(name: string, _partition: number, timeMs: number): Promise<number> {
    const topic = this.#topic(name)
    return Promise.resolve(topic.records.find((record) => record.timestampMs >= timeMs)?.offset ?? topic.next)
  }

  async read({ topic, from, to }: LogRange, onBatch: (columns: RecordColumns) => void | Promise<void>): Promise<void> {
    const { records: all } = this.#topic(topic)
    const records = all.filter(({ offset }) => offset >= from && offset < to)
    for (let at = 0; at < records.length; at += 97) {
      const columns = new RecordColumns(97, new Arena(1 << 14, 1 << 24))
      for (const { offset, timestampMs, key, value, headers } of records.slice(at, at + 97)) {
        columns.append(0, 0, offset, timestampMs, key, value)
        for (const [name, header] of headers) columns.appendHeader(name, header)
      }
      await onBatch(columns)
    }
  }

  schemaById(id: number): Promise<object> {
    return this.#registry.schemaById(id)
  }

  isUnknownId(id: number): boolean {
    return this.#registry.isUnknownId(id)
  }
}
