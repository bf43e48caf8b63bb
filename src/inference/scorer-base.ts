import { assert } from '../base/assert.js'
import { HarrierError } from '../base/errors.js'
import { fellBack } from './device.js'
import { deviceClassOf } from './device-class.js'
import { Frame, ModelStatus, type FailureKind, type FrameShape, type ModelFailure } from './frame.js'
import { hiddenLayouts, sequenceLayout, type FrameOutcome } from './frame-processor.js'
import { featureIndexes } from './loaded-model.js'
import { recodesOf } from './recodes.js'
import { scorerLimitsDefault } from './scorer.js'
import type { ModelSwitch, ModelUse, ScoreOptions, Scorer, ScorerLimits, ScorerMetrics, ScorerModel, ScorerOptions, ScoringModels } from './scorer.js'
import { chunkSlotsDefault, SequenceMemory } from './sequence-memory.js'
import { markFailed, undoFrame } from './undo.js'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

interface ModelCounters {
  rows: number
  runs: number
  computeMs: number
  failures: Record<'threw' | 'timed-out' | 'set-aside' | 'notFinite', number>
}

/** What both scorers share: the pool of frames, the sequence memory, the end of a frame, and the counters. */
export abstract class ScorerBase implements Scorer {
  inForce: ScoringModels = { release: 0, models: [] }
  readonly memory: SequenceMemory
  protected options: ScorerOptions
  protected readonly limits: ScorerLimits
  protected readonly frames: readonly Frame[]
  /** Of the models in force; frames get it when they are scored. */
  protected frameShape: FrameShape
  readonly #free: Frame[]
  readonly #settled = new WeakSet<Frame>()
  /** By model: which hidden slab is its own; -1 = none. */
  #hiddenIndex: number[]
  #models: ModelCounters[]
  protected readonly counters: Mutable<Omit<ScorerMetrics, 'models' | 'deviceFallbacks' | 'explained' | 'workers'>> = {
    frames: 0, rows: 0, queueMs: 0, computeMs: 0, warmedRows: 0, workerRestarts: 0,
  }

  readonly #explained = { events: 0, rows: 0, computeMs: 0 }

  constructor(options: ScorerOptions) {
    this.options = options
    this.limits = { ...scorerLimitsDefault, ...options.limits }
    checkOptions(options)
    const { features, window, models } = options
    this.memory = new SequenceMemory(sequenceLayout(models, features.length, window, options.chunkSlots ?? chunkSlotsDefault))
    this.frameShape = this.shapeFor(models)
    this.frames = Array.from({ length: this.limits.framesMax }, (_, index) => new Frame(this.frameShape, index))
    this.#free = [...this.frames].reverse()
    this.#hiddenIndex = hiddenIndexes(models)
    this.#models = models.map(zeroCounters)
  }

  get models(): readonly ScorerModel[] {
    return this.inForce.models
  }

  protected shapeFor(uses: readonly ModelUse[]): FrameShape {
    return { rowsMax: this.limits.rowsMax, features: this.options.features.length, models: uses.length, hiddenFloats: hiddenLayouts(uses).map(({ floats }) => floats) }
  }

  get deviceClass(): string {
    return deviceClassOf(this.models.map((model) => model.device))
  }

  acquireFrame(): Frame | null {
    const frame = this.#free.pop()
    if (!frame) return null
    frame.count = 0
    frame.failures = []
    frame.explanations.clear()
    return frame
  }

  releaseFrame(frame: Frame): void {
    assert(this.frames[frame.index] === frame && !this.#free.includes(frame), 'a frame is released once, to its own scorer')
    this.#free.push(frame)
  }

  protected abstract get framesInFlight(): number

  /** Threads that run models; 0: the calling one does. */
  protected get workers(): number {
    return 0
  }

  abstract score(frame: Frame, options?: ScoreOptions): Promise<void>

  undo(frame: Frame): void {
    assert(this.#settled.has(frame), 'a frame is undone after it has been scored')
    assert(this.framesInFlight === 0, 'no frame is undone under another')
    undoFrame(this.memory, frame)
  }

  abstract close(): Promise<void>

  abstract openModels(uses: readonly ModelUse[], release: number): Promise<ModelSwitch>

  /** Errors: MODEL_INVALID when a model does not fit the stage. */
  protected checkUses(uses: readonly ModelUse[]): void {
    checkOptions({ ...this.options, models: uses })
  }

  /** The models are open and no frame is in flight: they are in force from here on. A model that was there keeps its states and counters. */
  protected install(uses: readonly ModelUse[], models: readonly ScorerModel[], release: number): void {
    const before = this.inForce.models
    const counters = this.#models
    const { hidden } = this.memory.layout
    const layouts = hiddenLayouts(uses)
    const kept = new Set<number>()
    const from = layouts.map(({ identity, epoch }) => {
      const index = hidden.findIndex((each, at) => each.identity === identity && each.epoch === epoch && !kept.has(at))
      kept.add(index)
      return index
    })
    this.#models = models.map(({ reference, sha256, role }) => counters[before.findIndex((each) => each.reference === reference && each.sha256 === sha256 && each.role === role)] ?? zeroCounters())
    this.options = { ...this.options, models: uses, release }
    this.inForce = { release, models }
    this.#hiddenIndex = hiddenIndexes(uses)
    this.frameShape = this.shapeFor(uses)
    this.memory.relayout(layouts, from)
  }

  metrics(): ScorerMetrics {
    const models = this.models.map(({ reference }, index) => ({ reference, ...this.#models[index]!, failures: { ...this.#models[index]!.failures } }))
    return { ...this.counters, workers: this.workers, deviceFallbacks: this.models.filter(fellBack).length, models, explained: { ...this.#explained } }
  }

  /** Makes a frame ready to be processed, and room for its slots. */
  protected begin(frame: Frame): void {
    this.#settled.delete(frame)
    if (frame.shape !== this.frameShape) frame.reshape(this.frameShape)
    frame.models = this.inForce
    frame.slabs = this.memory.hidden
    frame.failures = []
    frame.explanations.clear()
    frame.status.fill(ModelStatus.pending)
    frame.undo.taken.fill(0)
    for (const scores of frame.scores) scores.fill(NaN, 0, frame.count)
    let last = -1
    for (let row = 0; row < frame.count; row++) if (frame.slot[row]! > last) last = frame.slot[row]!
    this.memory.ensureSlots(last + 1)
  }

  /**
   * Sums up what the workers did with a frame. Failed models lose their scores. `announced` are failures that every worker
   * knew before it began, and has marked itself; for the others all slots of the frame are marked here.
   */
  protected finish(frame: Frame, outcomes: readonly FrameOutcome[], stateOnly: boolean, announced: Failures, failed: Failures): void {
    for (let model = 0; model < this.models.length; model++) {
      const failure = announced.get(model) ?? failed.get(model)
      const hidden = this.#hiddenIndex[model]!
      if (stateOnly && hidden < 0) {
        frame.status[model] = ModelStatus.notRun
        continue
      }
      if (failure) this.#fail(frame, failure)
      else frame.status[model] = ModelStatus.scored
      if (failure && !announced.has(model) && hidden >= 0) markFailed(this.memory, frame, hidden)
    }
    for (const outcome of outcomes) {
      this.counters.computeMs += outcome.computeMs
      this.counters.warmedRows += outcome.warmedRows
      const { explanations, rows: extraRows, computeMs: explainMs } = outcome.explained
      this.#explained.events += explanations.length
      this.#explained.rows += extraRows
      this.#explained.computeMs += explainMs
      // a model that failed in another worker has no scores
      for (const each of explanations) if (frame.status[each.model] === ModelStatus.scored) frame.explanations.set(each.row, each)
      for (const { model, rows, runs, computeMs, notFinite } of outcome.models) {
        const counters = this.#models[model]!
        counters.rows += rows
        counters.runs += runs
        counters.computeMs += computeMs
        counters.failures.notFinite += notFinite
      }
    }
    this.counters.frames++
    this.counters.rows += frame.count
    this.#settled.add(frame)
  }

  #fail(frame: Frame, failure: ModelFailure): void {
    const { model, kind } = failure
    frame.failures.push(failure)
    frame.status[model] = ModelStatus.failed
    frame.scores[model]!.fill(NaN, 0, frame.count)
    if (kind !== 'skipped') this.#models[model]!.failures[kind]++
  }
}

/** By model: its place among the recurrent ones; -1: it is none. */
function hiddenIndexes(uses: readonly ModelUse[]): number[] {
  let hidden = 0
  return uses.map(({ model }) => (model.manifest.kind === 'recurrent' ? hidden++ : -1))
}

function zeroCounters(): ModelCounters {
  return { rows: 0, runs: 0, computeMs: 0, failures: { threw: 0, 'timed-out': 0, 'set-aside': 0, notFinite: 0 } }
}

/** Failures of a frame, by model. */
export type Failures = ReadonlyMap<number, ModelFailure>

/** Failures of models that a caller leaves out. */
export function skippedModels(skip: readonly number[]): Map<number, ModelFailure> {
  const kind: FailureKind = 'skipped'
  return new Map(skip.map((model) => [model, { model, kind, message: 'left out, as the lineage record says' }]))
}

/** What models threw, by model: of several workers the first. */
export function thrownBy(outcomes: readonly FrameOutcome[]): Map<number, ModelFailure> {
  const failures = new Map<number, ModelFailure>()
  for (const { model, error } of outcomes.flatMap((outcome) => outcome.models)) {
    if (error !== null && !failures.has(model)) failures.set(model, { model, kind: 'threw', message: error })
  }
  return failures
}

function checkOptions(options: ScorerOptions): void {
  assert((options.limits?.framesMax ?? scorerLimitsDefault.framesMax) > 0, 'a scorer has at least one frame')
  checkModels(options.models, options)
}

/** Whether models fit a stage: its features, its vocabularies and its ring. Errors: MODEL_INVALID. */
export function checkModels(models: readonly Pick<ModelUse, 'model'>[], { features, categories, window }: Pick<ScorerOptions, 'features' | 'categories' | 'window'>): void {
  for (const { model } of models) {
    featureIndexes(model, features)
    recodesOf(model, categories ?? new Map())
    const wanted = model.manifest.window ?? 0
    if (wanted > window) {
      throw new HarrierError('MODEL_INVALID', `${model.reference} reads a window of ${wanted} rows, the stage's ring keeps ${window}`, {
        remedy: `set ring: ${wanted} in the stage of the topology, or choose another model`,
      })
    }
  }
}
