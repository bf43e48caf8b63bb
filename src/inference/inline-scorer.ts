import type { Frame } from './frame.js'
import { FrameProcessor } from './frame-processor.js'
import { modelDigest } from './manifest.js'
import { openModel, type OpenModel } from './open-model.js'
import { ScorerBase, skippedModels, thrownBy } from './scorer-base.js'
import type { ModelUse, ScoreOptions, ScorerModel, ScorerOptions } from './scorer.js'
import { runSession } from './session.js'

/** Scores on the calling thread: tests and the topology driver. A model cannot be timed out here. */
export class InlineScorer extends ScorerBase {
  readonly #open: readonly OpenModel[]
  readonly #processor: FrameProcessor
  #tail: Promise<void> = Promise.resolve()
  #inFlight = 0
  #closed = false

  private constructor(options: ScorerOptions, open: readonly OpenModel[]) {
    super(options)
    this.#open = open
    this.models = options.models.map((use, index) => describeModel(use, open[index]!))
    const models = options.models.map(({ model }, index) => ({ model, open: open[index]! }))
    this.#processor = new FrameProcessor(this.memory, models, options.features, this.limits.rowsMax, options.clock, options.categories)
  }

  /** Errors: MODEL_INVALID, DEVICE_UNAVAILABLE. */
  static async create(options: ScorerOptions): Promise<InlineScorer> {
    const open: OpenModel[] = []
    for (const { model, epoch } of options.models) {
      open.push(await openModel({ model, epoch: epoch ?? 1, policy: options.device, rowsMultiple: null }))
    }
    return new InlineScorer(options, open)
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
      const processOptions = { stateOnly: options.stateOnly ?? false, skip: [...skip.keys()] }
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
    for (const { session } of this.#open) await session.release()
  }
}

/** A model and how it was opened, as lineage and metrics show it. */
export function describeModel({ model, role, epoch }: ModelUse, open: Pick<ScorerModel, 'device' | 'deviceNote' | 'rowsMultiple'>): ScorerModel {
  const { manifest, reference } = model
  const { device, deviceNote, rowsMultiple } = open
  return { reference, sha256: modelDigest(manifest), role, kind: manifest.kind, epoch: epoch ?? 1, device, deviceNote, rowsMultiple }
}
