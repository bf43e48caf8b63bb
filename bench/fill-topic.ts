import { Arena } from '../src/base/arena.js'
import { systemClock } from '../src/base/clock.js'
import { silentLogger } from '../src/base/logger.js'
import { Prng } from '../src/base/prng.js'
import { partitionByKey, RecordColumns } from '../src/base/record-columns.js'
import type { ClusterConnection } from '../src/connection/security.js'
import { RecordProducer } from '../src/producer/record-producer.js'

const chunkRows = 10_000
const flushMsMax = 120_000
const closeMsMax = 10_000
const eventStepMs = 2
const firstEventMs = 1_700_000_000_000
const amountCentsMax = 20_000

export interface FillOptions {
  readonly connection: ClusterConnection
  readonly topic: string
  readonly cards: number
  /** Share of the payments that one card makes; the others are alike. */
  readonly hotShare: number
  /** Of a record's value, about: beyond what the fields need, a note that no feature reads. */
  readonly payloadBytes: number
  /** Payments after the first of each card. */
  readonly events: number
}

/** JSON payments as bench/peers reads them: first one of each card, then `events` of cards by chance. Returns how many there are. */
export async function fillTopic({ connection, topic, cards, hotShare, payloadBytes, events }: FillOptions): Promise<number> {
  const writer = await PaymentWriter.open(connection, { topic, payloadBytes })
  const prng = new Prng(1)
  const total = cards + events
  for (let id = 0; id < total; id++) {
    const card = id < cards ? id : prng.uniform() < hotShare ? 0 : prng.below(cards)
    writer.add(card)
    if (writer.isFull) await writer.send()
  }
  await writer.send()
  await writer.close()
  return total
}

interface PaymentOptions {
  readonly topic: string
  readonly payloadBytes: number
  /** Payments that the topic has already: ids and event times go on behind them, or all that follows would be late. */
  readonly written?: number
}

/** JSON payments of cards, sent in chunks. */
export class PaymentWriter {
  readonly #producer: RecordProducer
  readonly #options: PaymentOptions
  readonly #prng = new Prng(2)
  readonly #columns: RecordColumns
  #written: number

  private constructor(producer: RecordProducer, options: PaymentOptions) {
    this.#producer = producer
    this.#options = options
    this.#written = options.written ?? 0
    this.#columns = new RecordColumns(chunkRows, new Arena(chunkRows * (options.payloadBytes + 64)))
  }

  static async open(connection: ClusterConnection, options: PaymentOptions): Promise<PaymentWriter> {
    return new PaymentWriter(await RecordProducer.open({ ...connection, clock: systemClock, logger: silentLogger, settings: { 'client.id': 'harrier-bench' } }), options)
  }

  get isFull(): boolean {
    return this.#columns.count === chunkRows
  }

  /** A payment of a card; its record has the time of now. */
  add(card: number): void {
    const { payloadBytes } = this.#options
    const id = this.#written++
    const key = Buffer.from(`c${card}`)
    const fields = `{"id":"e${id}","card_id":"c${card}","amount":${(1 + this.#prng.below(amountCentsMax)) / 100},"ts":${firstEventMs + id * eventStepMs}`
    const note = payloadBytes - fields.length - 11
    this.#columns.append(0, partitionByKey, 0, systemClock.nowMs(), key, Buffer.from(note > 0 ? `${fields},"note":"${noise(this.#prng, note)}"}` : `${fields}}`))
  }

  /** Queues what was added. */
  async send(): Promise<void> {
    await this.#producer.send(this.#columns, [this.#options.topic])
    this.#columns.reset()
  }

  async close(): Promise<void> {
    await this.#producer.delivered(flushMsMax)
    await this.#producer.close(closeMsMax)
  }
}

/** Text that does not compress to nothing. */
function noise(prng: Prng, length: number): string {
  const words = Math.ceil(length / 6)
  return Array.from({ length: words }, () => prng.below(2 ** 30).toString(36).padStart(6, '0')).join('').slice(0, length)
}
