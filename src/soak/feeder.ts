import { Kafka, logLevel, type Producer } from 'kafkajs'
import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import { kafkaJsSecurity } from '../consumer/kafka-security.js'
import type { Connections } from '../stack/connections.js'
import type { SoakRecord } from './soak-input.js'

/** Between two sends: small, so that there is always a transaction to kill. */
const tickMs = 15
/** What is due while the schedule waits is spread over so long. */
const chunkMs = 2500
const bulkRecordsMax = 1000

/** Writes the soak's records to the input topic, in order and once: as much as was granted, spread over time. */
export class Feeder {
  readonly #producer: Producer
  readonly #topic: string
  readonly #records: readonly SoakRecord[]
  readonly #clock: Clock
  #granted = 0
  #sent = 0
  #stopped = false
  #failure: string | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(options: { connections: Connections; topic: string; records: readonly SoakRecord[]; clock: Clock }) {
    const kafka = new Kafka({
      clientId: 'harrier-soak-feeder',
      brokers: options.connections.brokers.split(','),
      logLevel: logLevel.NOTHING,
      retry: { retries: 100, maxRetryTime: 2000 },
      ...kafkaJsSecurity(options.connections.security),
    })
    // Idempotent with one request in flight: a broker that restarts neither doubles nor reorders what goes in.
    this.#producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false })
    this.#topic = options.topic
    this.#records = options.records
    this.#clock = options.clock
  }

  async start(): Promise<void> {
    await this.#producer.connect()
    this.#running = this.#run().catch((error: unknown) => void (this.#failure = messageOf(error)))
  }

  get sent(): number {
    return this.#sent
  }

  /** Lets the feeder go on up to so many records in all. */
  grant(records: number): void {
    this.#granted = Math.min(this.#records.length, Math.max(this.#granted, records))
  }

  /** Sends the rest as fast as it can, and ends. */
  async finish(): Promise<void> {
    this.#stopped = true
    await this.#running
    while (this.#sent < this.#records.length && !this.#failure) await this.#send(bulkRecordsMax)
    await this.close()
    if (this.#failure) throw new Error(`the soak could not feed its input: ${this.#failure}`)
  }

  async close(): Promise<void> {
    this.#stopped = true
    await this.#running
    await this.#producer.disconnect()
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const due = this.#granted - this.#sent
      if (due > 0) await this.#send(Math.max(1, Math.ceil((due * tickMs) / chunkMs)))
      await this.#clock.sleep(tickMs)
    }
  }

  async #send(recordsMax: number): Promise<void> {
    const records = this.#records.slice(this.#sent, this.#sent + recordsMax)
    await this.#producer.send({ topic: this.#topic, acks: -1, messages: records.map(({ partition, key, value }) => ({ partition, key, value })) })
    this.#sent += records.length
  }
}
