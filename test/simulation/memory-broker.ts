import type { Clock } from '../../src/base/clock.js'
import type { Prng } from '../../src/base/prng.js'
import type { RecordColumns } from '../../src/base/record-columns.js'

export interface MemoryTransaction {
  readonly producer: string
  state: 'open' | 'committed' | 'aborted'
  /** Offsets of the input that it will commit. */
  readonly offsets: Map<number, number>
  readonly touched: Set<MemoryRecord[]>
  /** Ended, but the marker has not reached these partitions yet. */
  readonly unmarked: Set<MemoryRecord[]>
}

/** Longest way of a marker to its partition. */
const markerMs = 40

export interface MemoryRecord {
  readonly timestampMs: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly { readonly name: string; readonly value: Buffer | null }[]
  /** Null: written without one. */
  readonly transaction: MemoryTransaction | null
  /** The marker at the end of a transaction takes an offset, too. */
  readonly marker: boolean
}

/** Topics with transactions, and the committed offsets of one group: what a broker promises, and no more. */
export class MemoryBroker {
  readonly committed = new Map<number, number>()
  readonly #topics = new Map<string, MemoryRecord[][]>()
  readonly #producers = new Map<string, { epoch: number; open: MemoryTransaction | null; ending: MemoryTransaction | null }>()
  readonly #clock: Clock
  readonly #prng: Prng

  constructor(clock: Clock, prng: Prng) {
    this.#clock = clock
    this.#prng = prng
  }

  createTopic(topic: string, partitions: number): void {
    this.#topics.set(topic, Array.from({ length: partitions }, () => []))
  }

  log(topic: string, partition: number): MemoryRecord[] {
    return this.#topics.get(topic)![partition]!
  }

  appendInput(topic: string, partition: number, record: Pick<MemoryRecord, 'timestampMs' | 'key' | 'value' | 'headers'>): void {
    this.log(topic, partition).push({ ...record, transaction: null, marker: false })
  }

  /** The end as a committed reader sees it: the first record of an open transaction. */
  stableEnd(topic: string, partition: number): number {
    const log = this.log(topic, partition)
    const open = log.findIndex(({ transaction }) => transaction !== null && (transaction.state === 'open' || transaction.unmarked.has(log)))
    return open < 0 ? log.length : open
  }

  /** Committed records with offsets in [from, to). */
  read(topic: string, partition: number, from: number, to: number): { offset: number; record: MemoryRecord }[] {
    const end = Math.min(to, this.stableEnd(topic, partition))
    const found: { offset: number; record: MemoryRecord }[] = []
    const log = this.log(topic, partition)
    for (let offset = from; offset < end; offset++) {
      const record = log[offset]!
      if (!record.marker && record.transaction?.state !== 'aborted') found.push({ offset, record })
    }
    return found
  }

  /** A new epoch: the open transaction of the old one is aborted, and its owner is fenced. */
  initProducer(id: string): number {
    const producer = this.#producers.get(id) ?? { epoch: -1, open: null, ending: null }
    if (producer.open) {
      this.#end(producer.open, 'aborted')
      producer.ending = producer.open
    }
    producer.epoch++
    producer.open = null
    this.#producers.set(id, producer)
    return producer.epoch
  }

  isFenced(id: string, epoch: number): boolean {
    return this.#producers.get(id)!.epoch !== epoch
  }

  begin(id: string): MemoryTransaction {
    const transaction: MemoryTransaction = { producer: id, state: 'open', offsets: new Map(), touched: new Set(), unmarked: new Set() }
    this.#producers.get(id)!.open = transaction
    return transaction
  }

  /** The first `rows` of the columns; `transaction`: null outside of one. */
  produce(transaction: MemoryTransaction | null, columns: RecordColumns, topics: readonly string[], rows = columns.count): void {
    for (let row = 0; row < rows; row++) {
      const log = this.log(topics[columns.topic[row]!]!, columns.partition[row]!)
      const key = columns.key(row)
      const value = columns.value(row)
      log.push({
        timestampMs: columns.timestamp[row]!,
        key: key && Buffer.from(key),
        value: value && Buffer.from(value),
        headers: columns.headers(row),
        transaction,
        marker: false,
      })
      transaction?.touched.add(log)
    }
  }

  end(id: string, transaction: MemoryTransaction, state: 'committed' | 'aborted'): void {
    this.#end(transaction, state)
    const producer = this.#producers.get(id)!
    producer.ending = transaction
    if (producer.open === transaction) producer.open = null
  }

  /** The coordinator refuses the next transaction until the markers of the last are written. */
  isEnding(id: string): boolean {
    return (this.#producers.get(id)?.ending?.unmarked.size ?? 0) > 0
  }

  /** The transaction time-out: the broker aborts what is open and raises the epoch. */
  expireProducer(id: string): void {
    this.initProducer(id)
  }

  hasPendingOffset(partition: number): boolean {
    return [...this.#producers.values()].some(({ open }) => open?.offsets.has(partition) === true)
  }

  get openTransactions(): number {
    return [...this.#producers.values()].filter(({ open, ending }) => open !== null || (ending?.unmarked.size ?? 0) > 0).length
  }

  #end(transaction: MemoryTransaction, state: 'committed' | 'aborted'): void {
    transaction.state = state
    for (const log of transaction.touched) {
      transaction.unmarked.add(log)
      void this.#clock.sleep(this.#prng.below(markerMs)).then(() => {
        transaction.unmarked.delete(log)
        log.push({ timestampMs: 0, key: null, value: null, headers: [], transaction, marker: true })
      })
    }
    // The marker of the offsets may be the first to arrive, long before that of the lineage.
    if (state === 'committed') for (const [partition, offset] of transaction.offsets) this.committed.set(partition, offset)
  }
}

export function appendTo(columns: RecordColumns, partition: number, offset: number, record: MemoryRecord): void {
  columns.append(0, partition, offset, record.timestampMs, record.key, record.value)
  for (const { name, value } of record.headers) columns.appendHeader(name, value)
}
