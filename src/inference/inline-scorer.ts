import type { Frame } from './frame.js'
import { FrameProcessor } from './frame-processor.js'
import { manifestDigest, modelDigest } from './manifest.js'
import { modelFileBytes } from './loaded-model.js'
import { openModel, type OpenModel } from './open-model.js'
import { ScorerBase, skippedModels, thrownBy } from './scorer-base.js'
import { scorerLimitsDefault, type ModelSwitch, type ModelUse, type ScoreOptions, type ScorerModel, type ScorerOptions } from './scorer.js'
import { runSession } from './session.js'
import { sharingOf } from './sharing.js'

/** Scores on the calling thread: tests and the topology driver. A model cannot be timed out here. */
export class InlineScorer extends ScorerBase {
  #open: readonly OpenModel[]
  #processor: FrameProcessor
  #tail: Promise<void> = Promise.resolve()
  #inFlight = 0
  #closed = false

  private constructor(options: ScorerOptions, open: readonly OpenModel[]) {
    super(options)
    this.#open = open
    this.inForce = { release: options.release ?? 0, models: options.models.map((use, index) => describeModel(use, open[index]!)) }
    this.#processor = this.#makeProcessor()
  }

  /** Errors: MODEL_INVALID, DEVICE_UNAVAILABLE. */
  static async create(options: ScorerOptions): Promise<InlineScorer> {
    const open: OpenModel[] = []
    for (const { model, epoch } of options.models) {
      open.push(await openModel({ model, epoch: epoch ?? 1, policy: options.device, rowsMultiple: null, load: loadOf(options) }))
    }
    return new InlineScorer(options, open)
  }

  #makeProcessor(): FrameProcessor {
    const { models, features, clock, categories } = this.options
    const open = models.map(({ model }, index) => ({ model, open: this.#open[index]! }))
    return new FrameProcessor(this.memory, open, features, this.limits.rowsMax, clock, categories)
  }

  async openModels(uses: readonly ModelUse[], release: number): Promise<ModelSwitch> {
    this.checkUses(uses)
    const opened: OpenModel[] = []
    try {
      for (const { model, epoch = 1 } of uses) {
        opened.push(await openModel({ model, epoch, policy: this.options.device, rowsMultiple: null, load: loadOf(this.options) }))
      }
    } catch (error) {
      await releaseAll(opened)
      throw error
    }
    return {
      takeOver: () => {
        const work = this.#tail.then(async () => {
          const old = this.#open
          this.#open = opened
          this.install(uses, uses.map((use, index) => describeModel(use, opened[index]!)), release)
          this.#processor = this.#makeProcessor()
          await releaseAll(old)
        })
        this.#tail = work.catch(() => undefined)
        return work
      },
      abandon: () => void releaseAll(opened),
    }
  }

  protected get framesInFlight(): number {
    return this.#inFlight
  }

  score(frame: Frame, options: ScoreOptions = {}): Promise<void> {
    const { clock } = this.options
    const calledMs = clock.monotonicMs()
    this.#inFlight++
    const work = this.#tail.then(async () => {
      if (this.#closed) throw new Error('the scorer is closed')
      this.counters.queueMs += clock.monotonicMs() - calledMs
      this.begin(frame)
      const skip = skippedModels(options.skip ?? [])
      const processOptions = { stateOnly: options.stateOnly ?? false, skip: [...skip.keys()], explain: options.explain && { ...options.explain, sharing: sharingOf(frame.models.models) } }
      const outcome = await this.#processor.process(frame, 0, 1, processOptions, { run: runSession, beginModel: () => undefined })
      this.finish(frame, [outcome], processOptions.stateOnly, skip, thrownBy([outcome]))
    })
    const settled = work.finally(() => this.#inFlight--)
    this.#tail = settled.catch(() => undefined)
    return settled
  }

  async close(): Promise<void> {
    await this.#tail
    if (this.#closed) return
    this.#closed = true
    await releaseAll(this.#open)
  }
}

async function releaseAll(open: readonly OpenModel[]): Promise<void> {
  for (const { session } of open) await session.release()
}

/** What comes to each thread of a full frame. */
export function loadOf({ limits, workers }: Pick<ScorerOptions, 'limits' | 'workers'>): { rows: number; workers: number } {
  const threads = Math.max(1, workers)
  return { rows: Math.ceil((limits?.rowsMax ?? scorerLimitsDefault.rowsMax) / threads), workers: threads }
}

/** A model and how it was opened, as lineage and metrics show it. */
export function describeModel({ model, role, epoch, share }: ModelUse, open: Pick<ScorerModel, 'device' | 'deviceNote' | 'rowsMultiple' | 'openedBytes'>): ScorerModel {
  const { manifest, reference } = model
  const { device, deviceNote, rowsMultiple, openedBytes } = open
  const files = { fileBytes: modelFileBytes(model), openedBytes }
  return { reference, sha256: modelDigest(manifest), manifestDigest: manifestDigest(manifest), role, share: share ?? (role === 'champion' ? 1 : 0), kind: manifest.kind, epoch: epoch ?? 1, device, deviceNote, rowsMultiple, ...files }
}
