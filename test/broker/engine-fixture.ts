import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, connect, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import avro from 'avsc'
import { Kafka, logLevel, type Admin, type Message, type Producer } from 'kafkajs'
import { systemClock } from '../../src/base/clock.js'
import { Condition } from '../../src/base/condition.js'
import { Prng } from '../../src/base/prng.js'
import { RegistryClient } from '../../src/codec/registry-client.js'
import { schemaPrefix } from '../../src/codec/registry-prefix.js'
import { loadOwnSchema } from '../../src/codec/schema-files.js'
import type { TestStack } from './test-stack.js'

const bin = fileURLToPath(new URL('../../../bin/harrier.js', import.meta.url))
const topologies = fileURLToPath(new URL('../../../topologies', import.meta.url))
const schemas = fileURLToPath(new URL('../../../schemas', import.meta.url))

/** The shipped topology with small transactions and frequent checkpoints, so that a kill finds something to tear. */
export function smallBatchTopology(change: (text: string) => string = (text) => text, limits = '', shipped = readFileSync(join(topologies, 'card-fraud.yaml'), 'utf8')): string {
  const file = join(mkdtempSync(join(tmpdir(), 'harrier-engine-')), 'card-fraud.yaml')
  const text = shipped.replaceAll('../schemas/', `${schemas}/`)
  writeFileSync(file, change(text.replace(/limits:[\s\S]*$/, `limits: { batchRecordsMax: 40, batchDelayMsMax: 5, checkpointIntervalMs: 2s${limits} }\n`)))
  return file
}

interface Stats {
  readonly state: string
  readonly lag: number
  readonly counters: Readonly<Record<'records' | 'scored' | 'deadLetters' | 'aborts' | 'restoredRecords', number>>
  readonly tasks: readonly { readonly task: string; readonly sequence: number; readonly position: number; readonly tailRecords: number }[]
  readonly standby: { readonly partitions: number; readonly entities: number }
  readonly release: { readonly inForce: number }
}

export interface EngineProcessOptions {
  /** Where to connect: openly, and making topics; or by a connection file, and making none. */
  readonly stack: Pick<TestStack, 'brokers' | 'registryUrl'> | { readonly connectionFile: string }
  readonly env?: NodeJS.ProcessEnv
  readonly namespace: string
  readonly instanceId: string
  readonly topology: string
  readonly models?: string | undefined
  /** Another program than this checkout's: an earlier release. */
  readonly program?: string | undefined
}

const living = new Set<EngineProcess>()
// A test that fails leaves its engine behind, which waits for a broker that is gone, and the file with it.
after(async () => {
  for (const engine of living) await engine.kill()
})

/** `harrier run` as a process of its own. */
export class EngineProcess {
  readonly exited: Promise<number | NodeJS.Signals>
  readonly log: string[] = []
  stats: Stats | undefined
  /** Partitions that have become ready, with repetition. */
  ready = 0
  readonly #child: ChildProcess
  readonly #changed = new Condition()
  #ended = false

  constructor({ stack, env, namespace, instanceId, topology, models, program = bin }: EngineProcessOptions) {
    const secured = 'connectionFile' in stack
    const connection = secured ? ['--connection', stack.connectionFile] : ['--brokers', stack.brokers, '--registry', stack.registryUrl, '--create-topics', '--partitions', '3']
    const args = ['run', '--topology', topology, '--namespace', namespace, '--instance-id', instanceId, ...connection, ...(models === undefined ? [] : ['--models', models])]
    this.#child = spawn(process.execPath, [program, ...args, '--workers', '1', '--json'], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      if (line.startsWith('{')) this.stats = JSON.parse(line) as Stats
      this.#changed.notify()
    })
    createInterface({ input: this.#child.stderr! }).on('line', (line) => {
      this.log.push(line)
      if (line.includes('"task ready"')) this.ready++
      this.#changed.notify()
    })
    living.add(this)
    this.exited = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        living.delete(this)
        this.#ended = true
        this.#changed.notify()
        resolve(signal ?? code ?? -1)
      })
    })
  }

  /** Records behind the positions of its tasks. */
  get position(): number {
    return (this.stats?.tasks ?? []).reduce((sum, { position }) => sum + Math.max(0, position), 0)
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Fails with the log when the process ends first, or after `limitMs`. */
  async until(what: string, ready: () => boolean, limitMs = 60_000): Promise<void> {
    const endMs = systemClock.monotonicMs() + limitMs
    const tick = systemClock.every(200, () => this.#changed.notify())
    try {
      await this.#changed.until(() => ready() || this.#ended || systemClock.monotonicMs() > endMs)
    } finally {
      tick()
    }
    if (!ready()) throw new Error(`engine never came to: ${what} (${this.#ended ? 'it ended' : `${limitMs} ms`}); lag ${this.stats?.lag}, tasks ${JSON.stringify(this.stats?.tasks)}, ${JSON.stringify(this.stats?.counters)}\n${this.log.slice(-25).join('\n')}`)
  }

  kill(): Promise<number | NodeJS.Signals> {
    this.#child.kill('SIGKILL')
    return this.exited
  }

  /** SIGSTOP or SIGCONT. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name)
  }

  interrupt(): Promise<number | NodeJS.Signals> {
    this.#child.kill('SIGINT')
    return this.exited
  }
}

/** Restarts that one trouble may cost. */
const restartsMax = 3

/**
 * Until all that was sent is committed. An engine that the broker has forgotten meanwhile may take its return for a twin:
 * it says FENCED and ends, and whoever supervises it starts it again, as here. Ends it; returns what it told last.
 */
export async function driveToEnd(engine: EngineProcess, feeder: CardFeeder, restart: () => EngineProcess): Promise<{ restarts: number; aborts: number }> {
  let restarts = 0
  let current = engine
  while (current.position !== feeder.total) {
    await current.until('all committed, or ended', () => current.position === feeder.total || current.ended, 90_000)
    if (!current.ended) break
    assert.ok(current.log.join().includes('FENCED'), current.log.slice(-8).join('\n'))
    assert.ok(++restarts <= restartsMax, `it ended ${restarts} times:\n${current.log.slice(-8).join('\n')}`)
    current = restart()
  }
  // With a broker away a client may take longer to part than a stop may: then the process ends itself, and says so by a 1.
  assert.ok([0, 1].includes((await current.interrupt()) as number))
  return { restarts, aborts: current.stats!.counters.aborts }
}

export interface SentCard {
  readonly id: string
  readonly partition: number
}

/** Writes card payments by kafkajs into the input topics of some namespaces, the same bytes into each. */
export class CardFeeder {
  /** By partition, in the order of offsets. */
  readonly sent: string[][] = [[], [], []]
  readonly registry: RegistryClient
  readonly #kafka: Kafka
  readonly #producer: Producer
  readonly #topics: readonly string[]
  readonly #prng: Prng
  readonly #type = avro.Type.forSchema(loadOwnSchema('transaction') as avro.Schema)
  #prefix: Uint8Array = schemaPrefix(0)
  #id = 0
  #timeMs = 1_704_103_200_000
  #stopping = false
  #feeding: Promise<void> | undefined

  constructor(stack: Pick<TestStack, 'brokers' | 'registryUrl'>, namespaces: readonly string[], seed: number) {
    this.#kafka = new Kafka({ clientId: 'feeder', brokers: stack.brokers.split(','), logLevel: logLevel.NOTHING, retry: { retries: 30, maxRetryTime: 2000 } })
    this.#producer = this.#kafka.producer({ allowAutoTopicCreation: false, idempotent: true, maxInFlightRequests: 1 })
    this.#topics = namespaces.map((namespace) => `${namespace}.transactions`)
    this.#prng = new Prng(seed)
    this.registry = new RegistryClient(stack.registryUrl, { clock: systemClock })
  }

  async start(): Promise<void> {
    const admin = this.#kafka.admin()
    await admin.connect()
    const configEntries = [{ name: 'max.message.bytes', value: String(8 << 20) }, { name: 'retention.ms', value: '-1' }]
    await admin.createTopics({ waitForLeaders: false, topics: this.#topics.map((topic) => ({ topic, numPartitions: 3, configEntries })) })
    await allLed(admin, this.#topics)
    await admin.disconnect()
    this.#prefix = schemaPrefix(await this.registry.register(`${this.#topics[0]}-value`, loadOwnSchema('transaction')))
    await this.#producer.connect()
  }

  encode(value: object): Buffer {
    return Buffer.concat([this.#prefix, this.#type.toBuffer(value)])
  }

  /** Encodes with another schema from now on. */
  useSchema(id: number): void {
    this.#prefix = schemaPrefix(id)
  }

  nextCard(): { partition: number; message: Message; id: string } {
    const customer = this.#prng.below(90)
    const id = this.#id++
    this.#timeMs += this.#prng.below(120_000)
    const back = this.#prng.below(10) === 0 ? this.#prng.below(5_400_000) : 0
    const value = { transaction_id: id, event_time: this.#timeMs - back, customer_id: `c${customer}`, terminal_id: `t${this.#prng.below(40)}`, amount_minor: 1 + this.#prng.below(40_000), currency: 'EUR' }
    return { partition: customer % 3, id: String(id), message: { key: `c${customer}`, value: this.encode(value), headers: { traceparent: `00-${id}` } } }
  }

  async send(count: number): Promise<void> {
    const cards = Array.from({ length: count }, () => this.nextCard())
    await this.sendRaw(cards)
  }

  async sendRaw(cards: readonly { partition: number; message: Message; id: string }[]): Promise<void> {
    for (const topic of this.#topics) await this.#producer.send({ topic, messages: cards.map(({ partition, message }) => ({ ...message, partition })) })
    for (const { partition, id } of cards) this.sent[partition]!.push(id)
  }

  /** Feeds at about this rate until `stop`. */
  feed(perSecond: number): void {
    const each = async (): Promise<void> => {
      while (!this.#stopping) {
        await this.send(Math.ceil(perSecond / 20))
        await systemClock.sleep(50)
      }
    }
    this.#feeding = each()
  }

  get total(): number {
    return this.sent.reduce((sum, ids) => sum + ids.length, 0)
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#feeding
  }

  async close(): Promise<void> {
    await this.stop()
    await this.#producer.disconnect()
  }
}

/** A new topic is known to one broker after the other; kafkajs asks any of them, and takes "not here" for an answer. */
async function allLed(admin: Admin, topics: readonly string[]): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const found = await admin.fetchTopicMetadata({ topics: [...topics] }).catch(() => undefined)
    if (found?.topics.every(({ partitions }) => partitions.length > 0 && partitions.every(({ leader }) => leader >= 0))) return
    await systemClock.sleep(100)
  }
  throw new Error(`no leaders for ${topics.join(', ')}`)
}

/** A TCP proxy that can be cut: existing connections are dropped and new ones refused until `open` again. */
export class CuttableProxy {
  readonly #target: { host: string; port: number }
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  port = 0

  constructor(url: string) {
    const { hostname, port } = new URL(url)
    this.#target = { host: hostname, port: Number(port) }
  }

  async open(): Promise<void> {
    const server = createServer((client) => {
      const upstream = connect(this.#target)
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket)
        socket.on('error', () => socket.destroy())
        socket.on('close', () => this.#sockets.delete(socket))
      }
      client.pipe(upstream).pipe(client)
    })
    this.#server = server
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve))
    this.port = (server.address() as { port: number }).port
  }

  async cut(): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
