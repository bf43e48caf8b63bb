import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { systemClock, type Clock } from '../base/clock.js'
import { assert } from '../base/assert.js'
import { HarrierError } from '../base/errors.js'
import { uniqueSuffix } from '../base/prng.js'
import { DockerStack } from './docker-stack.js'
import { askBroker, askRegistry } from './health.js'
import { logFileOf, type ServiceName } from './java-services.js'
import { JavaStack } from './java-stack.js'
import type { BrokerExtras } from './kafka-service.js'
import { withLock } from './lock.js'
import { isAlive } from './owned-process.js'
import { preferredPorts } from './ports.js'
import { findDocker } from './programs.js'
import { noProgress, type OnProgress } from './progress.js'
import { brokersOf, readRecord, registryUrlOf, removeRecord, type StackRecord } from './stack-record.js'
import { defaultStateDir, stateFolder, type StateFolder } from './state-folder.js'

export type StackMode = StackRecord['mode']

export interface LocalStackOptions {
  /** Default: the user's state folder. */
  stateDir?: string
  /** Where fetched programs are. Default: `lib` in the user's state folder, so that they are fetched once. */
  libDir?: string
  /** For tests: java only, ends and is removed with this process, on ports of its own. `stateDir` must be given. */
  ephemeral?: boolean
  /** false: no schema registry. Only with `ephemeral`. */
  registry?: boolean
  /** Further listeners and settings of the broker. Only with `ephemeral`. */
  broker?: BrokerExtras
  /** Insists on Docker or on Java. Default: what was used before, else Docker where its engine answers, else Java. */
  mode?: StackMode
  clock?: Clock
}

export interface ServiceStatus {
  name: 'broker' | 'registry'
  ok: boolean
  /** What it answered, or why it did not. */
  detail: string
  address: string
  version: string
  pid?: number
  log?: string
}

export interface StackStatus {
  state: 'up' | 'partly up' | 'down'
  /** undefined when no stack was ever started in this folder. */
  mode: StackMode | undefined
  stateDir: string
  /** Empty when no stack was ever started in this folder. */
  brokers: string
  /** Base of the Confluent API. */
  registryUrl: string
  services: ServiceStatus[]
}

/** A broker and a schema registry on this machine: started, found again by later commands, stopped. */
export class LocalStack {
  readonly folder: StateFolder
  readonly #options: LocalStackOptions
  readonly #clock: Clock
  readonly #java: JavaStack
  readonly #docker: DockerStack
  readonly #services: readonly ServiceName[]

  constructor(options: LocalStackOptions = {}) {
    assert(!options.ephemeral || options.stateDir !== undefined, 'an ephemeral stack has a folder of its own')
    this.#options = options
    this.#clock = options.clock ?? systemClock
    const userFolder = stateFolder(defaultStateDir())
    this.folder = options.stateDir === undefined ? userFolder : stateFolder(options.stateDir, options.libDir ?? userFolder.lib)
    this.#services = options.registry === false ? ['kafka'] : ['kafka', 'registry']
    const ephemeral = options.ephemeral ?? false
    const ports = ephemeral ? ephemeralPorts() : { ...preferredPorts }
    this.#java = new JavaStack({ folder: this.folder, services: this.#services, preferredPorts: ports, ephemeral, broker: options.broker, clock: this.#clock })
    this.#docker = new DockerStack(this.folder, this.#clock)
  }

  /**
   * Starts what is not running and waits until broker and registry answer. `changed` is false when all was up already.
   * @throws HarrierError PREREQUISITE_MISSING, STACK_FAILED.
   */
  async up(onProgress: OnProgress = noProgress): Promise<StackStatus & { changed: boolean }> {
    const changed = await this.#locked(onProgress, async () => {
      const mode = await this.#chooseMode()
      return mode === 'docker' ? this.#docker.up(onProgress) : this.#java.up(onProgress)
    })
    return { ...(await this.status()), changed }
  }

  /** Stops both and returns whether anything was running. `purge` also removes topics, schemas and logs; what was fetched stays. */
  async down(options: { purge?: boolean } = {}): Promise<boolean> {
    const purge = options.purge ?? false
    const work = async (): Promise<boolean> => {
      const wasUp = readRecord(this.folder.record)?.mode === 'docker' ? await this.#docker.down(purge) : await this.#java.down()
      if (purge) {
        for (const path of [this.folder.kafkaData, this.folder.registryData, this.folder.logs]) rmSync(path, { recursive: true, force: true })
        removeRecord(this.folder.record)
      }
      return wasUp
    }
    return this.#options.ephemeral ? work() : this.#locked(noProgress, work)
  }

  /** Asks both. Changes nothing. */
  async status(): Promise<StackStatus> {
    const record = readRecord(this.folder.record)
    if (!record) return { state: 'down', mode: undefined, stateDir: this.folder.root, brokers: '', registryUrl: '', services: [] }
    const brokers = brokersOf(record)
    const registryUrl = registryUrlOf(record)
    const services = await Promise.all(this.#services.map((name) => this.#serviceStatus(name, record)))
    const upCount = services.filter((service) => service.ok).length
    const state = upCount === services.length ? 'up' : upCount === 0 ? 'down' : 'partly up'
    return { state, mode: record.mode, stateDir: this.folder.root, brokers, registryUrl, services }
  }

  /** SIGKILL to the broker, as a crash would. Java only. */
  async killBroker(): Promise<void> {
    await this.#java.kill('kafka')
  }

  /** Starts the broker again on its ports and data. Java only. */
  async startBroker(): Promise<void> {
    await this.#java.start('kafka')
  }

  async #serviceStatus(name: ServiceName, record: StackRecord): Promise<ServiceStatus> {
    const owned = record.processes[name]
    const alive = record.mode === 'docker' || (owned !== undefined && isAlive(owned))
    const address = name === 'kafka' ? brokersOf(record) : registryUrlOf(record)
    const title = name === 'kafka' ? 'broker' : 'registry'
    // A stranger on our old port must not pass for our broker.
    const answer = !alive ? { ok: false, detail: 'not running' } : await (name === 'kafka' ? askBroker(address) : askRegistry(address))
    const place = record.mode === 'java' ? { log: logFileOf(this.folder, name), ...(alive && owned ? { pid: owned.pid } : {}) } : {}
    return { name: title, ...answer, address, version: record.versions[name], ...place }
  }

  async #chooseMode(): Promise<StackMode> {
    if (this.#options.ephemeral) return 'java'
    const record = readRecord(this.folder.record)
    const wanted = this.#options.mode
    if (record && wanted && wanted !== record.mode && (await this.status()).state !== 'down') {
      throw new HarrierError('STACK_FAILED', `the stack is up in mode ${record.mode}`, { remedy: `harrier stack down, then harrier stack up --with ${wanted}` })
    }
    // What was used before holds the topics and schemas of before.
    return wanted ?? record?.mode ?? ((await canUseDocker()) ? 'docker' : 'java')
  }

  #locked<T>(onProgress: OnProgress, work: () => Promise<T>): Promise<T> {
    return withLock(this.folder.lock, 'the stack', work, onProgress, this.#clock)
  }
}

async function canUseDocker(): Promise<boolean> {
  const docker = await findDocker()
  return docker.state === 'answers' && docker.compose
}

/** Three ports in a place of their own between 20000 and 32000, so that stacks of several test runs do not meet. */
function ephemeralPorts(): StackRecord['ports'] {
  const base = 20_000 + (createHash('sha256').update(uniqueSuffix()).digest().readUInt16BE() % 4_000) * 3
  return { kafka: base, controller: base + 1, registry: base + 2 }
}
