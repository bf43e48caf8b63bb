import { existsSync, rmSync } from 'node:fs'
import { systemClock, type Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { Guardian } from './guardian.js'
import { startJavaService, waitForJavaService, javaServices, type ServiceName } from './java-services.js'
import type { BrokerExtras } from './kafka-service.js'
import { fetchLibrary } from './library.js'
import { stackVersions } from './limits.js'
import { isAlive, terminate, type OwnedProcess } from './owned-process.js'
import { freePort } from './ports.js'
import { requireJava } from './programs.js'
import type { OnProgress } from './progress.js'
import { readRecord, writeRecord, type StackRecord } from './stack-record.js'
import type { StateFolder } from './state-folder.js'

export interface JavaStackOptions {
  folder: StateFolder
  services: readonly ServiceName[]
  preferredPorts: StackRecord['ports']
  /** The processes must not outlive this one, and their folder goes with them. */
  ephemeral: boolean
  broker?: BrokerExtras | undefined
  clock?: Clock
}

/**
 * Broker and registry as processes of ours. The record on disk is written as soon as a process exists, so whatever
 * happens to this process, a later one finds what it started. The caller holds the lock.
 */
export class JavaStack {
  readonly #options: JavaStackOptions
  readonly #clock: Clock
  readonly #guardian = new Guardian()

  constructor(options: JavaStackOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
  }

  /** Starts what is not running, on the data that is there. Returns whether anything had to be started. */
  async up(onProgress: OnProgress): Promise<boolean> {
    const { folder, services } = this.#options
    checkPath(folder.root)
    checkPath(folder.lib)
    const before = readRecord(folder.record)
    const missing = services.filter((name) => !this.#running(before, name))
    const record = await this.#recordFor(before, missing)
    const started: ServiceName[] = []
    try {
      if (missing.length > 0) {
        const java = await requireJava()
        await fetchLibrary(folder.lib, missing, onProgress, this.#clock)
        onProgress(`starting ${missing.map((name) => javaServices[name].title).join(' and ')}`, 'step')
        const starts = missing.map(async (name) => {
          await this.#start(name, java.path, record)
          started.push(name)
        })
        // All of them settle before one failure stops the others: none may start after that.
        for (const outcome of await Promise.allSettled(starts)) if (outcome.status === 'rejected') throw outcome.reason
      }
      await Promise.all(services.map((name) => waitForJavaService(name, record.processes[name]!, folder, record, this.#clock)))
    } catch (error) {
      await this.#stop(record, started, undefined)
      throw error
    }
    return missing.length > 0
  }

  /** Returns whether anything was running. */
  async down(): Promise<boolean> {
    const { folder, ephemeral } = this.#options
    const record = readRecord(folder.record)
    const running = (['registry', 'kafka'] as const).filter((name) => this.#running(record, name))
    if (record) await this.#stop(record, ['registry', 'kafka'], ephemeral ? 0 : undefined)
    if (ephemeral) rmSync(folder.root, { recursive: true, force: true })
    return running.length > 0
  }

  /** SIGKILL, as a crash would. */
  async kill(name: ServiceName): Promise<void> {
    const record = this.#existingRecord()
    const owned = record.processes[name]
    if (owned) await terminate(owned, 0, this.#clock)
  }

  /** Starts one service again on the ports it had, and waits until it answers. */
  async start(name: ServiceName): Promise<void> {
    const record = this.#existingRecord()
    if (!this.#running(record, name)) await this.#start(name, (await requireJava()).path, record)
    await waitForJavaService(name, record.processes[name]!, this.#options.folder, record, this.#clock)
  }

  async #start(name: ServiceName, java: string, record: StackRecord): Promise<void> {
    const { folder, ephemeral, broker } = this.#options
    const owned = await startJavaService(name, java, folder, record.ports, broker)
    record.processes[name] = owned
    writeRecord(folder.record, record)
    if (ephemeral) this.#guardian.guard(owned, folder.root)
  }

  async #stop(record: StackRecord, names: readonly ServiceName[], graceMs: number | undefined): Promise<void> {
    this.#guardian.release()
    const stop = async (name: ServiceName, owned: OwnedProcess | undefined): Promise<void> => {
      if (owned) await terminate(owned, graceMs, this.#clock)
      delete record.processes[name]
    }
    await Promise.all(names.map((name) => stop(name, record.processes[name])))
    writeRecord(this.#options.folder.record, record)
  }

  #running(record: StackRecord | undefined, name: ServiceName): boolean {
    const owned = record?.processes[name]
    return owned !== undefined && isAlive(owned)
  }

  /** The record with ports for what will be started: the ones it had while these are free, else the next free ones. */
  async #recordFor(before: StackRecord | undefined, missing: readonly ServiceName[]): Promise<StackRecord> {
    const ports = { ...(before?.ports ?? this.#options.preferredPorts) }
    if (missing.includes('kafka')) {
      ports.kafka = await freePort(ports.kafka, [ports.registry])
      ports.controller = await freePort(ports.controller, [ports.kafka, ports.registry])
    }
    if (missing.includes('registry')) ports.registry = await freePort(ports.registry, [ports.kafka, ports.controller])
    return { format: 1, mode: 'java', versions: { ...stackVersions }, ports, processes: { ...before?.processes } }
  }

  #existingRecord(): StackRecord {
    const { folder } = this.#options
    const record = existsSync(folder.record) ? readRecord(folder.record) : undefined
    if (!record) throw new HarrierError('STACK_FAILED', 'there is no stack to act on', { remedy: 'start it first: harrier stack up' })
    return record
  }
}

/** These letters part lists in a class path, in Kafka's log.dirs and in the database's URL, and none of them has an escape. */
function checkPath(path: string): void {
  if (!/[,:;*]/.test(path)) return
  throw new HarrierError('CONFIG_INVALID', `the stack cannot live in ${path}: its path has one of , : ; *`, { remedy: 'choose another folder with HARRIER_STATE_DIR' })
}
