import { HarrierError } from '../base/errors.js'
import { hiddenLayouts } from './frame-processor.js'
import type { FrameShape } from './frame.js'
import { loadOf } from './inline-scorer.js'
import { openingKey } from './open-model.js'
import { Control, type WorkerInit } from './protocol.js'
import type { ModelUse, ScorerLimits, ScorerOptions } from './scorer.js'
import type { SequenceLayout } from './sequence-memory.js'
import { WorkerThread, type ReadyModels, type WorkerEvents } from './worker-thread.js'

/** Models whose device and padding are remembered. */
const knownModelsMax = 64

/** What a worker has to know of the scorer, and whom it answers. */
export interface OpenerParts {
  readonly options: () => ScorerOptions
  readonly limits: ScorerLimits
  readonly layout: () => SequenceLayout
  readonly shapeFor: (uses: readonly ModelUse[]) => FrameShape
  readonly scored: (worker: number, message: Parameters<WorkerEvents['scored']>[0]) => void
  readonly ended: (worker: number, thread: WorkerThread, cause: string) => void
}

/** Workers that are ready, one for each place, and what they opened. */
export interface OpenedWorkers {
  readonly threads: WorkerThread[]
  readonly models: ReadyModels
}

/** Opens scoring workers, and remembers how models were opened: one that comes back needs no probing, which is most of the time that an opening takes. */
export class WorkerOpener {
  readonly #parts: OpenerParts
  /** By digest, the newest last. */
  readonly #known = new Map<string, ReadyModels[number]>()

  constructor(parts: OpenerParts) {
    this.#parts = parts
  }

  /**
   * Opens a worker for every place. The first decides the devices and the padding of models that were never open here; the others
   * must come to the same. Errors: MODEL_INVALID, DEVICE_UNAVAILABLE; then none stays open.
   */
  async open(uses: readonly ModelUse[], count: number): Promise<OpenedWorkers> {
    const known = this.#knownOf(uses)
    const first = await this.openOne(0, count, uses, known)
    const others = await Promise.allSettled(Array.from({ length: count - 1 }, (_, index) => this.openOne(index + 1, count, uses, first.models)))
    const threads = [first.thread, ...others.flatMap((end) => (end.status === 'fulfilled' ? end.value.thread : []))]
    for (const end of others) {
      if (end.status === 'fulfilled') continue
      for (const thread of threads) thread.abandon()
      throw end.reason
    }
    // A model that was open before is named its device, so that there is nothing to note, and is not probed: the pages of mapped
    // weights come with its first runs, after its memory was measured.
    const models = first.models.map((model, index) => ({ ...model, deviceNote: known[index]?.deviceNote ?? model.deviceNote, openedBytes: Math.max(known[index]?.openedBytes ?? 0, model.openedBytes) }))
    this.#remember(uses, models)
    return { threads, models }
  }

  /** One worker of `count`. `decided`: by model, what its opening has come to before; null = to be found. */
  async openOne(worker: number, count: number, uses: readonly ModelUse[], decided: readonly (ReadyModels[number] | null)[] | null): Promise<{ thread: WorkerThread; models: ReadyModels }> {
    const { limits, scored, ended } = this.#parts
    const ready: { thread?: WorkerThread } = {}
    const started = await WorkerThread.start(this.#initOf(worker, count, uses, decided), limits.workerStartMsMax, {
      scored: (message) => scored(worker, message),
      // It may end when it is ready and this has not been told yet.
      ended: (cause) => ready.thread && ended(worker, ready.thread, cause),
    })
    ready.thread = started.thread
    if (started.thread.hasEnded) throw new HarrierError('MODEL_FAILED', 'a scoring worker ended as soon as it was ready')
    return started
  }

  /** Workers that rested get ready for these models, all of which they have open. Errors: MODEL_INVALID. */
  async renew(threads: readonly WorkerThread[], uses: readonly ModelUse[]): Promise<ReadyModels> {
    const known = this.#knownOf(uses)
    const ready = await Promise.allSettled(threads.map((thread, worker) => thread.renew(this.#initOf(worker, threads.length, uses, known), this.#parts.limits.workerStartMsMax)))
    for (const end of ready) if (end.status === 'rejected') throw end.reason
    const models = (ready[0] as PromiseFulfilledResult<ReadyModels>).value.map((model, index) => known[index] ?? model)
    this.#remember(uses, models)
    return models
  }

  /** Memory of models by their opening keys, in one worker. */
  bytesOf(keys: ReadonlySet<string>): number {
    return [...keys].reduce((sum, key) => sum + (this.#known.get(key)?.openedBytes ?? 0), 0)
  }

  #knownOf(uses: readonly ModelUse[]): (ReadyModels[number] | null)[] {
    return uses.map(({ model }) => this.#known.get(openingKey(model)) ?? null)
  }

  #remember(uses: readonly ModelUse[], models: ReadyModels): void {
    for (const [index, { model }] of uses.entries()) {
      const digest = openingKey(model)
      this.#known.delete(digest)
      this.#known.set(digest, models[index]!)
    }
    for (const digest of this.#known.keys()) if (this.#known.size > knownModelsMax) this.#known.delete(digest)
  }

  #initOf(worker: number, workers: number, uses: readonly ModelUse[], decided: readonly (ReadyModels[number] | null)[] | null): WorkerInit {
    const { options, layout, shapeFor } = this.#parts
    const { device, features, categories } = options()
    return {
      worker,
      workers,
      models: uses.map(({ model, epoch }, index) => ({
        model, epoch: epoch ?? 1, policy: decided?.[index]?.device ?? device, rowsMultiple: decided?.[index]?.rowsMultiple ?? null, load: loadOf({ ...options(), workers }),
      })),
      features,
      categories: categories ?? new Map(),
      // Chunks and frames follow with the first frame: until it takes over the memory may get other ones.
      layout: { ...layout(), hidden: hiddenLayouts(uses) },
      chunks: [],
      frameShape: shapeFor(uses),
      control: new SharedArrayBuffer(Control.words * 4),
    }
  }
}
