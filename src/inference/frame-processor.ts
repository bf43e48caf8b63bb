import { HarrierError } from '../base/errors.js'
import type { Clock } from '../base/clock.js'
import { assert } from '../base/assert.js'
import { messageOf } from '../base/errors.js'
import { DenseRunner } from './dense-runner.js'
import { Explainer, type ExplainOptions, type Explanation } from './explainer.js'
import type { Frame } from './frame.js'
import { FrameWalk, type HiddenGather, type WindowGather } from './frame-walk.js'
import { hiddenFloatsOf, manifestDigest, modelDigest } from './manifest.js'
import { featureIndexes, type LoadedModel } from './loaded-model.js'
import type { OpenModel } from './open-model.js'
import { recodesOf, sameRecodes, type Categories } from './recodes.js'
import { RecurrentRunner } from './recurrent-runner.js'
import { featureMap } from './ring.js'
import type { HiddenLayout, SequenceLayout, SequenceMemory } from './sequence-memory.js'
import type { RunSession } from './session.js'
import { deciderOf, type Sharing } from './sharing.js'
import { markFailed } from './undo.js'

/** What one model did with a worker's rows of a frame. */
export interface ModelOutcome {
  readonly model: number
  readonly rows: number
  readonly runs: number
  readonly notFinite: number
  readonly computeMs: number
  /** The message of what the model threw; null = it did not. */
  readonly error: string | null
}

export interface FrameOutcome {
  readonly models: readonly ModelOutcome[]
  readonly rows: number
  readonly warmedRows: number
  readonly computeMs: number
  readonly explained: Explained
}

/** Reasons of a worker's rows of a frame. */
export interface Explained {
  /** Each with the model that it is about. */
  readonly explanations: readonly (Explanation & { readonly model: number })[]
  /** Extra rows of the models, and the time that they took. */
  readonly rows: number
  readonly computeMs: number
}

interface IndexedRunner {
  readonly index: number
  /** Place among the hidden slabs; -1: the model keeps no state. */
  readonly hidden: number
  /** The runner, of a window model. */
  readonly window?: DenseRunner
  readonly runner: DenseRunner | RecurrentRunner
}

const nothingExplained: Explained = { explanations: [], rows: 0, computeMs: 0 }

export interface ProcessOptions {
  readonly stateOnly: boolean
  readonly skip: readonly number[]
  /** Which of the scores that decide are explained, and who decides; absent: none. */
  readonly explain?: (ExplainOptions & { readonly sharing: Sharing }) | undefined
}

/** How a processor runs sessions, and whom it tells before a model runs over the frame, or over a chunk of it. */
export interface ProcessHooks {
  readonly run: RunSession
  beginModel(model: number): void
}

/** The sequence layout of a stage and its models. */
export function sequenceLayout(models: readonly { model: LoadedModel; epoch?: number }[], features: number, window: number, chunkSlots: number): SequenceLayout {
  return { features, window, hidden: hiddenLayouts(models), chunkSlots }
}

/**
 * The places of the recurrent models among a stage's models, in their order. A stored state is known by the model's files and its
 * epoch. Errors: MODEL_INVALID where two models would take each other's states for their own.
 */
export function hiddenLayouts(models: readonly { model: LoadedModel; epoch?: number }[]): HiddenLayout[] {
  const recurrent = models.filter(({ model }) => model.manifest.kind === 'recurrent')
  const isTwin = (a: LoadedModel, b: LoadedModel): boolean => modelDigest(a.manifest) === modelDigest(b.manifest) && manifestDigest(a.manifest) !== manifestDigest(b.manifest)
  for (const [index, { model, epoch = 1 }] of recurrent.entries()) {
    const twin = recurrent.slice(0, index).find((each) => (each.epoch ?? 1) === epoch && isTwin(each.model, model))?.model
    if (!twin) continue
    throw new HarrierError('MODEL_INVALID', `${twin.reference} and ${model.reference} carry states of the same file, which their manifests read in different ways: their states could not be told apart`, {
      remedy: `leave one of them out of the topology, and let it in with \`harrier models shadow ${model.reference}\`, which begins its states anew`,
    })
  }
  return recurrent.map(({ model: { manifest }, epoch = 1 }) => ({ identity: modelDigest(manifest), epoch, floats: hiddenFloatsOf(manifest) }))
}

/** Takes the rows of one worker through the ring and through every model. The same code runs inline and in worker threads. */
export class FrameProcessor {
  readonly #walk: FrameWalk
  /** Of window models: they run chunk by chunk, the others when all rows have been walked. */
  readonly #windowRunners: readonly IndexedRunner[]
  readonly #otherRunners: readonly IndexedRunner[]
  /** Rows of a chunk: the largest batch of a window model. */
  readonly #chunkRows: number
  /** By model, made when one is first needed. */
  readonly #explainers = new Map<number, Explainer>()
  readonly #makeExplainer: (model: number) => Explainer
  readonly #memory: SequenceMemory
  readonly #clock: Clock

  /** `features`: names of the stage's features, in the order of its rows; `categories`: which of them are categories. */
  constructor(
    memory: SequenceMemory, models: readonly { open: OpenModel; model: LoadedModel }[], features: readonly string[], rowsMax: number, clock: Clock,
    categories: Categories = new Map(),
  ) {
    const windows: WindowGather[] = []
    const hidden: HiddenGather[] = []
    const runners = models.map(({ open, model }, index): IndexedRunner => {
      const { manifest } = model
      const indexes = featureIndexes(model, features)
      const map = featureMap(indexes)
      const floats = indexes.length
      const recodes = recodesOf(model, categories)
      if (manifest.kind === 'row') return { index, hidden: -1, runner: new DenseRunner(open, map, recodes, null) }
      if (manifest.kind === 'window') {
        const window = manifest.window!
        assert(window - 1 <= memory.layout.window, 'the ring holds a window model\'s rows')
        const right = manifest.padding === 'right'
        let gather = windows.find((each) => {
          return each.window === window && each.features === floats && each.right === right && sameMap(each.map, map) && sameRecodes(each.recodes, recodes)
        })
        if (!gather) windows.push((gather = { window, features: floats, map, recodes, right, bits: new Int32Array(0), lengths: new Int32Array(rowsMax) }))
        const runner = new DenseRunner(open, map, recodes, gather)
        return { index, hidden: -1, window: runner, runner }
      }
      const warm = { warmCount: 0, warmLengths: new Int32Array(rowsMax), warmBits: new Int32Array(0) }
      const gather = { epoch: open.epoch, features: floats, map, recodes, source: new Int32Array(rowsMax), ...warm }
      hidden.push(gather)
      return { index, hidden: hidden.length - 1, runner: new RecurrentRunner(open, gather, memory, hidden.length - 1) }
    })
    this.#makeExplainer = (index) => {
      const { model } = models[index]!
      return new Explainer(model.manifest, runners[index]!.runner, memory, featureMap(featureIndexes(model, features)), recodesOf(model, categories), categories)
    }
    this.#windowRunners = runners.filter((each) => each.window !== undefined)
    this.#chunkRows = Math.max(0, ...this.#windowRunners.map(({ window }) => window!.step.batchRows))
    // Of the others what state needs comes first.
    this.#otherRunners = [...runners.filter((each) => each.hidden >= 0), ...runners.filter((each) => each.hidden < 0 && each.window === undefined)]
    this.#walk = new FrameWalk(memory, { windows, hidden }, rowsMax)
    this.#memory = memory
    this.#clock = clock
  }

  /** Processes rows with slot % workers = worker. Never rejects because of a model: its outcome has the error. */
  async process(frame: Frame, worker: number, workers: number, options: ProcessOptions, hooks: ProcessHooks): Promise<FrameOutcome> {
    const startMs = this.#clock.monotonicMs()
    const walk = this.#walk
    const outcomes = new Map<number, ModelOutcome>()
    const windowRunners = options.stateOnly ? [] : this.#windowRunners.filter(({ index }) => !options.skip.includes(index))
    const gathers = windowRunners.length > 0
    walk.begin()
    for (let more = true; more; ) {
      more = walk.walk(frame, worker, workers, gathers ? this.#chunkRows : Infinity, gathers)
      if (walk.count > walk.chunkAt) for (const each of windowRunners) await this.#score(each, frame, hooks, outcomes)
    }
    walk.end()
    for (const each of this.#otherRunners) {
      const { index, hidden } = each
      if (options.skip.includes(index)) {
        // before the worker's next frame, which may begin before the main thread hears of this one
        if (hidden >= 0) markFailed(this.#memory, frame, hidden, worker, workers)
        continue
      }
      if ((!options.stateOnly || hidden >= 0) && walk.count > 0) await this.#score(each, frame, hooks, outcomes)
    }
    const failed = new Set([...options.skip, ...[...outcomes.values()].filter(({ error }) => error !== null).map(({ model }) => model)])
    const explained = options.explain && !options.stateOnly ? await this.#explain(frame, options.explain, failed, hooks) : nothingExplained
    return { models: [...outcomes.values()], rows: walk.count, warmedRows: walk.warmedRows, computeMs: this.#clock.monotonicMs() - startMs, explained }
  }

  /** Adds what a model does with the rows of the walk, or of its last chunk. One that has thrown is not run again. */
  async #score({ index, runner }: IndexedRunner, frame: Frame, hooks: ProcessHooks, outcomes: Map<number, ModelOutcome>): Promise<void> {
    const before = outcomes.get(index) ?? { model: index, rows: 0, runs: 0, notFinite: 0, computeMs: 0, error: null }
    if (before.error !== null) return
    hooks.beginModel(index)
    const startMs = this.#clock.monotonicMs()
    let counts = { rows: 0, runs: 0, notFinite: 0 }
    let error: string | null = null
    try {
      counts = await runner.score(frame, this.#walk, frame.scores[index]!, hooks.run)
    } catch (cause) {
      error = messageOf(cause)
    }
    const { rows, runs, notFinite, computeMs } = before
    const tookMs = this.#clock.monotonicMs() - startMs
    outcomes.set(index, { model: index, rows: rows + counts.rows, runs: runs + counts.runs, notFinite: notFinite + counts.notFinite, computeMs: computeMs + tookMs, error })
  }

  /** After the scores are known, and only for those that need it. Each run has the model's time for itself. */
  async #explain(frame: Frame, { from, eventsMax, sharing, ...options }: NonNullable<ProcessOptions['explain']>, failed: ReadonlySet<number>, hooks: ProcessHooks): Promise<Explained> {
    const rowsOf = this.#rowsToExplain(frame, { from, eventsMax, sharing }, failed)
    if (rowsOf.size === 0) return nothingExplained
    const startMs = this.#clock.monotonicMs()
    const explanations: (Explanation & { readonly model: number })[] = []
    let extra = 0
    for (const [model, rows] of rowsOf) {
      const run: RunSession = (session, feeds, fetches) => {
        hooks.beginModel(model)
        return hooks.run(session, feeds, fetches)
      }
      const done = await this.#explainerOf(model).explain(frame, rows, frame.scores[model]!, options, run)
      extra += done.extraRows
      for (const each of done.explanations) explanations.push({ ...each, model })
    }
    return { explanations, rows: extra, computeMs: this.#clock.monotonicMs() - startMs }
  }

  /** By the model that decides them: the challenger its share, the champion all else, and what the challenger gave no score. */
  #rowsToExplain(frame: Frame, { from, eventsMax, sharing }: Pick<NonNullable<ProcessOptions['explain']>, 'from' | 'eventsMax' | 'sharing'>, failed: ReadonlySet<number>): Map<number, number[]> {
    const walk = this.#walk
    const rowsOf = new Map<number, number[]>()
    let count = 0
    for (let own = 0; own < walk.count && frame.scores.length > 0 && count < eventsMax; own++) {
      const row = walk.rows[own]!
      let model = deciderOf(sharing, frame.keyHash[row]!)
      if (model > 0 && (failed.has(model) || !Number.isFinite(frame.scores[model]![row]!))) model = 0
      if (failed.has(model) || !(frame.scores[model]![row]! >= from)) continue
      const rows = rowsOf.get(model)
      if (rows) rows.push(row)
      else rowsOf.set(model, [row])
      count++
    }
    return rowsOf
  }

  #explainerOf(model: number): Explainer {
    const known = this.#explainers.get(model)
    if (known) return known
    const made = this.#makeExplainer(model)
    this.#explainers.set(model, made)
    return made
  }
}

function sameMap(a: Int32Array | null, b: Int32Array | null): boolean {
  if (a === null || b === null) return a === b
  return a.length === b.length && a.every((at, index) => at === b[index])
}
