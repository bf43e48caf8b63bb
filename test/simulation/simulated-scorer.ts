import type { Clock } from '../../src/base/clock.js'
import type { Prng } from '../../src/base/prng.js'
import type { Frame } from '../../src/inference/frame.js'
import { FrameProcessor } from '../../src/inference/frame-processor.js'
import { parseManifest } from '../../src/inference/manifest.js'
import type { LoadedModel } from '../../src/inference/model-store.js'
import type { OpenModel } from '../../src/inference/open-model.js'
import { ScorerBase, skippedModels, thrownBy } from '../../src/inference/scorer-base.js'
import type { ScoreOptions, ScorerModel } from '../../src/inference/scorer.js'
import type { RunSession } from '../../src/inference/session.js'

export const simulatedFeatures = ['f0', 'f1', 'f2', 'f3', 'f4']
const hiddenFloats = 3
const rowsMax = 64
const framesMax = 8
/** Small, so that slots cross chunks. */
const chunkSlots = 4

const manifest = parseManifest(
  `
name: gru
version: 1
kind: recurrent
file: model.onnx
sha256: ${'ab'.repeat(32)}
features: [${simulatedFeatures.join(', ')}]
inputs: [{ name: x, what: features }, { name: h, what: 'state:0' }]
outputs: [{ name: score, what: score }, { name: h_next, what: 'next-state:0' }]
states: [{ shape: [${hiddenFloats}] }]
`,
  'gru/1/model.yaml',
)
const loaded: LoadedModel = { reference: 'gru@1', manifest, folder: 'gru/1', file: 'gru/1/model.onnx' }

/** A recurrent model in JavaScript: its state depends on every row and on their order. */
const step: RunSession = (_, feeds, fetches) => {
  const x = feeds['x']!.data as Float32Array
  const h = feeds['h']!.data as Float32Array
  const score = fetches['score']!.data as Float32Array
  const next = fetches['h_next']!.data as Float32Array
  for (let row = 0; row < score.length; row++) {
    let sum = 0
    for (let i = 0; i < hiddenFloats; i++) {
      let value = 0.7 * h[row * hiddenFloats + i]! + 0.2 * h[row * hiddenFloats + ((i + 1) % hiddenFloats)]!
      for (let f = 0; f < simulatedFeatures.length; f++) value += 0.01 * (1 + ((i + f) % 3)) * Math.log1p(Math.abs(x[row * simulatedFeatures.length + f]!))
      next[row * hiddenFloats + i] = Math.tanh(value)
      sum += Math.tanh(value)
    }
    score[row] = 1 / (1 + Math.exp(-sum))
  }
  return Promise.resolve(fetches as Awaited<ReturnType<RunSession>>)
}

/** The engine's own frame walk, waves, warming and undo over a model that takes virtual time. */
export class SimulatedScorer extends ScorerBase {
  readonly #processor: FrameProcessor
  readonly #clock: Clock
  readonly #prng: Prng
  #tail: Promise<void> = Promise.resolve()
  #inFlight = 0

  constructor(clock: Clock, prng: Prng, window: number) {
    super({ features: simulatedFeatures, window, models: [{ model: loaded, role: 'champion' }], device: 'cpu', workers: 0, clock, limits: { rowsMax, framesMax }, chunkSlots })
    this.#clock = clock
    this.#prng = prng
    const shape = [null, hiddenFloats]
    const graph = {
      inputs: [{ name: 'x', what: 'features', type: 'float32' as const, shape: [null, simulatedFeatures.length], columns: null }],
      states: [{ input: 'h', output: 'h_next', type: 'float32' as const, shape, outer: 1, inner: hiddenFloats }],
      score: { name: 'score', type: 'float32' as const, shape: [null, 1] },
      fixedBatch: null,
    }
    const open: OpenModel = { manifest, session: {} as OpenModel['session'], graph, epoch: 1, device: 'cpu', deviceNote: null, rowsMultiple: 1, openedBytes: 0 }
    this.models = [{ reference: 'gru@1', sha256: manifest.sha256, role: 'champion', kind: 'recurrent', epoch: 1, device: 'cpu', deviceNote: null, rowsMultiple: 1, fileBytes: 0, openedBytes: 0 } satisfies ScorerModel]
    this.#processor = new FrameProcessor(this.memory, [{ model: loaded, open }], simulatedFeatures, rowsMax, clock)
  }

  protected get framesInFlight(): number {
    return this.#inFlight
  }

  score(frame: Frame, options: ScoreOptions = {}): Promise<void> {
    this.#inFlight++
    const settled = this.#tail.then(() => this.#run(frame, options)).finally(() => this.#inFlight--)
    this.#tail = settled.catch(() => undefined)
    return settled
  }

  async #run(frame: Frame, options: ScoreOptions): Promise<void> {
    this.begin(frame)
    const skip = skippedModels(options.skip ?? [])
    const processOptions = { stateOnly: options.stateOnly ?? false, skip: [...skip.keys()], explain: options.explain }
    // Mostly quick, now and then as slow as several polls.
    const pauseMs = this.#prng.below(20) === 0 ? 200 : 3
    const run: RunSession = async (session, feeds, fetches) => {
      await this.#clock.sleep(this.#prng.below(pauseMs))
      return await step(session, feeds, fetches)
    }
    const outcome = await this.#processor.process(frame, 0, 1, processOptions, { run, beginModel: () => undefined })
    this.finish(frame, [outcome], processOptions.stateOnly, skip, thrownBy([outcome]))
  }

  replaceModel(): Promise<void> {
    return Promise.reject(new Error('no simulation replaces a model'))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
