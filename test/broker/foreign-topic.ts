import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Kafka, logLevel, type IHeaders, type Producer } from 'kafkajs'
import { systemClock } from '../../src/base/clock.js'
import { GenericDecoder } from '../../src/codec/generic-decoder.js'
import { RegistryClient } from '../../src/codec/registry-client.js'
import { schemaPrefix } from '../../src/codec/registry-prefix.js'
import { readCommitted } from './kafka-verifier.js'
import type { TestStack } from './test-stack.js'

export const contractsFolder = fileURLToPath(new URL('../../../docs/examples/contracts', import.meta.url))

export function contractFile(name: string): object {
  return JSON.parse(readFileSync(join(contractsFolder, name), 'utf8')) as object
}

export interface ScoredValue {
  readonly event_id: string
  readonly entity: string
  readonly event_time: string
  readonly decision: string
  readonly attributes: Readonly<Record<string, unknown>>
}

export interface ReadBack {
  readonly value: ScoredValue
  readonly headers: Readonly<Record<string, string>>
}

/** Another team: it owns a topic and its subject, and writes records with kafkajs. */
export class ForeignTopic {
  readonly #stack: Pick<TestStack, 'brokers' | 'registryUrl'>
  readonly #kafka: Kafka
  readonly #producer: Producer
  readonly topic: string

  constructor(stack: Pick<TestStack, 'brokers' | 'registryUrl'>, topic: string) {
    this.#stack = stack
    this.topic = topic
    this.#kafka = new Kafka({ clientId: 'foreign', brokers: stack.brokers.split(','), logLevel: logLevel.NOTHING, retry: { retries: 20 } })
    this.#producer = this.#kafka.producer({ allowAutoTopicCreation: false })
  }

  async create(): Promise<void> {
    const admin = this.#kafka.admin()
    await admin.connect()
    await admin.createTopics({ waitForLeaders: true, topics: [{ topic: this.topic, numPartitions: 1, configEntries: [{ name: 'retention.ms', value: '-1' }] }] })
    await admin.disconnect()
    await this.#producer.connect()
  }

  /** Registers by the registry's own API. */
  async register(subject: string, schema: object | string, schemaType = 'AVRO', references: readonly object[] = []): Promise<number> {
    const text = typeof schema === 'string' ? schema : JSON.stringify(schema)
    const response = await fetch(`${this.#stack.registryUrl}/subjects/${encodeURIComponent(subject)}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ schema: text, ...(schemaType === 'AVRO' ? {} : { schemaType }), ...(references.length > 0 ? { references } : {}) }),
    })
    const answer = (await response.json()) as { id?: number }
    if (answer.id === undefined) throw new Error(`not registered: ${JSON.stringify(answer)}`)
    return answer.id
  }

  async send(schemaId: number, records: readonly { key: string; body: Buffer; headers?: IHeaders }[]): Promise<void> {
    const messages = records.map(({ key, body, headers = {} }) => ({ key, value: Buffer.concat([schemaPrefix(schemaId), body]), headers, partition: 0 }))
    await this.#producer.send({ topic: this.topic, messages })
  }

  /** What Harrier wrote to a topic, decoded for people, as a committed reader sees it. */
  async read(topic: string): Promise<ReadBack[]> {
    const decoder = new GenericDecoder(new RegistryClient(this.#stack.registryUrl, { clock: systemClock }))
    const [records] = await readCommitted(this.#stack.brokers, topic)
    return Promise.all(
      records!.map(async ({ value, headers }) => ({
        value: (await decoder.decode(value)).value as ScoredValue,
        headers: Object.fromEntries(Object.entries(headers).map(([name, each]) => [name, String(each)])),
      })),
    )
  }

  async close(): Promise<void> {
    await this.#producer.disconnect()
  }
}
