import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.js'
import { uniqueSuffix } from '../src/base/prng.js'
import { connectLimits } from '../src/connection/security.js'
import { KafkaAdmin } from '../src/consumer/admin.js'
import { KafkaSink } from '../src/simulator/kafka-sink.js'
import { LiveSimulator } from '../src/simulator/live-simulator.js'
import { secondsPerDay } from '../src/simulator/parameters.js'
import { connectionArguments, type Connections } from '../src/stack/connections.js'
import { loadTopology } from '../src/topology/load-topology.js'
import { topologyNames, type TopologyNames } from '../src/topology/names.js'
import { BenchEngine } from './bench-engine.js'
import { benchTopology } from './bench-topology.js'
import { makeCardStates, writeCardStates, type CardStates } from './card-states.js'
import { ZipfSource } from './zipf-source.js'

export const partitions = 4
const model = 'card-gru@1'
const epochMs = 1_522_540_800_000
/** The cards have lived for so long before the load begins. */
const pastSeconds = 120 * secondsPerDay
/** Payments of other cards, so that there is a journal that the written states can belong to. */
const warmCards = 1000
const warmPerSecond = 2000
const warmMsMax = 60_000
const startMsMax = 300_000
const labelDelayMs = 0

export interface CardWorldOptions {
  readonly connections: Connections
  readonly cards: number
  /** Payments per second of the load, also in event time. */
  readonly perSecond: number
  /** Of Zipf's law. */
  readonly exponent: number
  readonly onStep: (text: string) => void
}

/** One topology of the world. */
export interface CardTopology {
  readonly file: string
  readonly names: TopologyNames
}

/** A namespace of its own with cards that have a past: full rings, windows and hidden states, on the changelog of each topology. */
export class CardWorld {
  readonly namespace = `bench-${uniqueSuffix()}`
  readonly admin: KafkaAdmin
  readonly #options: CardWorldOptions
  readonly #folder = mkdtempSync(join(tmpdir(), 'harrier-bench-'))
  readonly #topics = new Set<string>()
  #states: CardStates | undefined
  #sent = 0
  #second = pastSeconds

  constructor(options: CardWorldOptions) {
    this.#options = options
    this.admin = new KafkaAdmin({ brokers: options.connections.brokers, security: options.connections.security, clock: systemClock, ...connectLimits(options.connections) })
  }

  /** A topology with card-gru alone. Cards that pay as often as here are alerts nearly all the time, which no portfolio is: few are explained. */
  topology(name: string, limits: Readonly<Record<string, number | string>> = {}): CardTopology {
    const file = benchTopology(this.#folder, name, model, { explainedEventsMax: 1, ...limits })
    const names = topologyNames(loadTopology(file), this.namespace)
    for (const topic of [names.input, ...names.sinks]) this.#topics.add(topic)
    return { file, names }
  }

  engine({ file }: CardTopology, nodeArgs: readonly string[] = [], instance = 'bench'): BenchEngine {
    return new BenchEngine(['--topology', file, '--namespace', this.namespace, '--instance-id', instance, '--create-topics', '--partitions', String(partitions), ...connectionArguments(this.#options.connections)], nodeArgs)
  }

  /** Gives every card its past. Returns the bytes of all their changelog records. */
  async populate(topology: CardTopology): Promise<number> {
    const { connections, cards, onStep } = this.#options
    onStep(`${topology.names.group}: making histories, and a journal for them`)
    this.#states ??= await makeCardStates(topology.file, epochMs + pastSeconds * 1000)
    const { batches } = this.#states
    const engine = this.engine(topology)
    await engine.running(startMsMax)
    const load = await this.#load({ customers: warmCards, firstCustomer: cards, perSecond: warmPerSecond })
    await engine.until('a journal', (stats) => stats?.tasks.length === partitions && stats.tasks.every(({ sequence }) => sequence > batches), warmMsMax)
    await load.stop()
    await engine.stop()
    let shown = systemClock.monotonicMs()
    return writeCardStates(connections, topology.names.state, cards, this.#states, (written) => {
      if (systemClock.monotonicMs() - shown < 5000) return
      shown = systemClock.monotonicMs()
      onStep(`${topology.names.group}: ${written.toLocaleString('en')} of ${cards.toLocaleString('en')} cards on the changelog`)
    })
  }

  /** Payments of the cards by Zipf's law, until `stop`, or so many as fast as they go. */
  load(events?: number): Promise<LiveSimulator> {
    const { cards, perSecond } = this.#options
    return this.#load({ customers: cards, firstCustomer: 0, perSecond, ...(events === undefined ? {} : { events }) })
  }

  async #load({ customers, firstCustomer, perSecond, events }: { customers: number; firstCustomer: number; perSecond: number; events?: number }): Promise<LiveSimulator> {
    const { connections, exponent } = this.#options
    const { names } = this.topology('load')
    const source = new ZipfSource({ customers, firstCustomer, exponent, seed: this.#sent + 1, firstSecond: this.#second, perSecond, firstId: this.#sent })
    const sink = await KafkaSink.open({ ...connections, format: 'avro', transactionsTopic: names.input, labelsTopic: `${this.namespace}.labels`, clock: systemClock, epochMs, labelDelayMs })
    const pace = events === undefined ? ({ kind: 'rate', perSecond } as const) : ({ kind: 'full' } as const)
    const live = new LiveSimulator({ source, sink, clock: systemClock, epochMs, pace, labels: 'none', labelDelayMs, ...(events === undefined ? {} : { eventsMax: events }) })
    const count = (): void => {
      this.#sent += live.counters.sent
      this.#second += Math.ceil(live.counters.sent / perSecond)
    }
    void live.done.then(count, count)
    return live
  }

  /** Committed offset of each partition. */
  async committed({ names }: CardTopology): Promise<number[]> {
    const offsets = await this.admin.committedOffsets(names.group, names.input)
    return Array.from({ length: partitions }, (_, partition) => offsets.get(partition) ?? 0)
  }

  /** Records of the input. */
  async sent({ names }: CardTopology): Promise<number> {
    return [...(await this.admin.ends(names.input)).values()].reduce((sum, { high }) => sum + high, 0)
  }

  async close(): Promise<void> {
    await this.admin.deleteTopics([...this.#topics]).catch(() => undefined)
    await this.admin.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export function total(offsets: readonly number[]): number {
  return offsets.reduce((sum, offset) => sum + offset, 0)
}
