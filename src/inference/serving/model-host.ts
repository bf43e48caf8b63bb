import type { Clock } from '../../base/clock.js'
import { HarrierError, messageOf } from '../../base/errors.js'
import type { Logger } from '../../base/logger.js'
import { Turns } from '../../base/turns.js'
import type { DevicePolicy } from '../device.js'
import { ModelStore } from '../model-store.js'
import { queueLimitsDefault, type QueueLimits } from './request-queue.js'
import { ServedModel } from './served-model.js'

/** How often queues and threads are looked at: a request waits this much longer than its limit, at most. */
const watchMs = 20

export interface ModelHostLimits {
  /** Model versions that are open at once; each has threads and memory of its own. */
  readonly modelsMax: number
}

export const modelHostLimits: ModelHostLimits = { modelsMax: 64 }

export interface ModelHostOptions {
  readonly folder: string
  /** References `name@version`, or names for all their versions; empty = everything in the folder. */
  readonly models: readonly string[]
  readonly device: DevicePolicy
  /** Threads of each model version. */
  readonly threads: number
  readonly queue?: Partial<QueueLimits>
  readonly clock: Clock
  readonly logger: Logger
}

export interface ModelIndexEntry {
  readonly name: string
  readonly version: string
  readonly state: 'READY' | 'UNAVAILABLE' | 'LOADING'
  readonly reason: string
}

/** The model versions that answer requests. */
export class ModelHost {
  readonly #options: ModelHostOptions
  readonly #store: ModelStore
  /** By reference, in the order of the store. */
  readonly #served = new Map<string, ServedModel>()
  #stopWatching: () => void = () => undefined
  #opening = false
  /** One change of what is served at a time. */
  readonly #changes = new Turns()

  constructor(options: ModelHostOptions) {
    this.#options = options
    this.#store = new ModelStore(options.folder)
  }

  /** Opens the models, one after the other. Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID, DEVICE_UNAVAILABLE. */
  async open(): Promise<void> {
    const { clock } = this.#options
    this.#opening = true
    try {
      for (const reference of this.#wanted()) await this.#serve(reference)
    } catch (error) {
      await this.close()
      throw error
    } finally {
      this.#opening = false
    }
    this.#stopWatching = clock.every(watchMs, () => this.served().forEach((model) => model.watch()))
  }

  async #serve(reference: string): Promise<void> {
    const { clock, logger, device, threads, queue } = this.#options
    const model = new ServedModel({ model: this.#store.load(reference), device, threads, queue: { ...queueLimitsDefault, ...queue }, clock, logger })
    this.#served.set(reference, model)
    await model.open()
    const { device: used, deviceNote, openedBytes } = model.opened
    logger.log('info', 'a model is served', { model: reference, device: used, ...(deviceNote === null ? {} : { deviceNote }), threads, openedBytes })
  }

  /**
   * Serves versions of a model besides those that are: the named ones, by default the newest of the folder. Gives those that are new.
   * Errors: MODEL_NOT_FOUND, MANIFEST_INVALID, MODEL_INVALID, DEVICE_UNAVAILABLE, LIMIT_EXCEEDED.
   */
  load(name: string, versions?: readonly string[]): Promise<string[]> {
    return this.#changes.take(async () => {
      const there = this.#store.list().filter((reference) => reference.startsWith(`${name}@`))
      const wanted = versions ? versions.map((version) => `${name}@${version}`) : there.slice(-1)
      const missing = wanted.length === 0 ? name : wanted.find((reference) => !there.includes(reference))
      if (missing !== undefined) throw new HarrierError('MODEL_NOT_FOUND', `there is no version ${missing}`, { remedy: 'POST /v2/repository/index lists those that are there' })
      const fresh = wanted.filter((reference) => !this.#served.has(reference))
      if (this.#served.size + fresh.length > modelHostLimits.modelsMax) throw new HarrierError('LIMIT_EXCEEDED', `at most ${modelHostLimits.modelsMax} model versions are served`, { remedy: 'unload one first' })
      for (const reference of fresh) {
        try {
          await this.#serve(reference)
        } catch (error) {
          const failed = this.#served.get(reference)
          this.#served.delete(reference)
          await failed?.close()
          throw error
        }
      }
      return fresh
    })
  }

  /** Serves a model no more, after the answers that are under way; gives its versions. Errors: MODEL_NOT_FOUND. */
  unload(name: string): Promise<string[]> {
    return this.#changes.take(async () => {
      const gone = this.served().filter(({ model }) => model.manifest.name === name)
      if (gone.length === 0) throw new HarrierError('MODEL_NOT_FOUND', `no model "${name}" is served`, { remedy: 'POST /v2/repository/index lists those that are' })
      for (const { reference } of gone) this.#served.delete(reference)
      await Promise.all(gone.map((model) => model.close()))
      return gone.map(({ reference }) => reference)
    })
  }

  #wanted(): string[] {
    const { models } = this.#options
    const there = this.#store.list()
    const wanted = models.length === 0 ? there : [...new Set(models.flatMap((each) => this.#named(each, there)))]
    if (wanted.length > modelHostLimits.modelsMax) {
      throw new HarrierError('LIMIT_EXCEEDED', `${wanted.length} model versions should be served, at most ${modelHostLimits.modelsMax} may be`, { remedy: 'name those that are to be served with --serve-models' })
    }
    return wanted
  }

  #named(name: string, there: readonly string[]): readonly string[] {
    if (name.includes('@')) return [name]
    const found = there.filter((reference) => reference.startsWith(`${name}@`))
    if (found.length > 0) return found
    throw new HarrierError('MODEL_NOT_FOUND', `there is no version of "${name}" in ${this.#store.root}`, { remedy: there.length > 0 ? `these are there: ${there.join(', ')}` : 'name a folder with models' })
  }

  served(): readonly ServedModel[] {
    return [...this.#served.values()]
  }

  versionsOf(name: string): string[] {
    return this.served().flatMap(({ model }) => (model.manifest.name === name ? [model.manifest.version] : [])).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  }

  /** Without a version the newest that is served. Errors: MODEL_NOT_FOUND. */
  find(name: string, version?: string): ServedModel {
    const newest = version ?? this.versionsOf(name).at(-1)
    const found = newest === undefined ? undefined : this.#served.get(`${name}@${newest}`)
    if (found) return found
    throw new HarrierError('MODEL_NOT_FOUND', `${version === undefined ? `no model "${name}"` : `no model ${name}@${version}`} is served`, { remedy: 'POST /v2/repository/index lists those that are' })
  }

  /** All models answer. */
  get isReady(): boolean {
    return !this.#opening && this.served().every(({ isReady }) => isReady)
  }

  /** Everything in the folder, and whether it is served. */
  index(): ModelIndexEntry[] {
    return this.#store.list().map((reference) => {
      const [name, version] = reference.split('@') as [string, string]
      const served = this.#served.get(reference)
      if (served?.isReady) return { name, version, state: 'READY', reason: '' }
      if (served) return { name, version, state: this.#opening ? 'LOADING' : 'UNAVAILABLE', reason: this.#opening ? '' : 'set aside after failures' }
      return { name, version, state: 'UNAVAILABLE', reason: 'not served' }
    })
  }

  async close(): Promise<void> {
    this.#stopWatching()
    await this.#changes.ended()
    const ends = await Promise.allSettled(this.served().map((model) => model.close()))
    for (const end of ends) if (end.status === 'rejected') this.#options.logger.log('warn', 'closing a model', { cause: messageOf(end.reason) })
  }
}
