import type { Clock } from '../../src/base/clock.js'
import type { Prng } from '../../src/base/prng.js'
import type { Frame } from '../../src/inference/frame.js'
import { FrameProcessor } from '../../src/inference/frame-processor.js'
import { manifestDigest } from '../../src/inference/manifest.js'
import { parseManifest } from '../../src/inference/manifest-schema.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import type { OpenModel } from '../../src/inference/open-model.js'
import { ScorerBase, skippedModels, thrownBy } from '../../src/inference/scorer-base.js'
import type { ModelSwitch, ModelUse, ScoreOptions, ScorerModel } from '../../src/inference/scorer.js'
import type { RunSession } from '../../src/inference/session.js'
import { sharingOf } from '../../src/inference/sharing.js'

export const simulatedFeatures = ['f0', 'f1', 'f2', 'f3', 'f4']
const framesMax = 8
/** Small, so that slots cross chunks. */
const chunkSlots = 4
/** Opening models takes up to so long. */
const openMsMax = 400

/** Versions of one model, each with weights of its own, and some with more state than others. */
export function simulatedModel(version: number): LoadedModel {
  const manifest = parseManifest(
    `
name: gru
version: ${version}
kind: recurrent
file: model.onnx
sha256: ${(0xa0 + version).toString(16).repeat(32)}
features: [${simulatedFeatures.join(', ')}]
inputs: [{ name: x, what: features }, { name: h, what: 'state:0' }]
outputs: [{ name: score, what: score }, { name: h_next, what: 'next-state:0' }]
states: [{ shape: [${3 + (version % 2)}] }]
`,
    `gru/${version}/model.yaml`,
  )
  return { reference: `gru@${version}`, manifest, folder: `gru/${version}`, file: `gru/${version}/model.onnx` }
}

/** Recurrent models in JavaScript: their state depends on every row and on their order. */
function step(version: number): RunSession {
  return (_, feeds, fetches) => {
    const x = feeds['x']!.data as Float32Array
    const h = feeds['h']!.data as Float32Array
    const score = fetches['score']!.data as Float32Array
    const next = fetches['h_next']!.data as Float32Array
    const floats = h.length / score.length
    for (let row = 0; row < score.length; row++) {
      let sum = 0
      for (let i = 0; i < floats; i++) {
        let value = 0.7 * h[row * floats + i]! + 0.2 * h[row * floats + ((i + 1) % floats)]!
        for (let f = 0; f < simulatedFeatures.length; f++) value += 0.01 * (version + ((i + f) % 3)) * Math.log1p(Math.abs(x[row * simulatedFeatures.length + f]!))
        next[row * floats + i] = Math.tanh(value)
        sum += Math.tanh(value)
      }
      score[row] = 1 / (1 + Math.exp(-sum))
    }
    return Promise.resolve(fetches as Awaited<ReturnType<RunSession>>)
  }
}

function opened({ model: { manifest }, epoch = 1 }: ModelUse): OpenModel {
  const [floats] = manifest.states[0]!.shape as [number]
  const shape = [null, floats]
  const graph = {
    inputs: [{ name: 'x', what: 'features', type: 'float32' as const, shape: [null, simulatedFeatures.length], columns: null }],
    states: [{ input: 'h', output: 'h_next', type: 'float32' as const, shape, outer: 1, inner: floats }],
    score: { name: 'score', type: 'float32' as const, shape: [null, 1] },
    fixedBatch: null,
  }
  return { manifest, session: { step: step(Number(manifest.version)) } as unknown as OpenModel['session'], graph, epoch, device: 'cpu', deviceNote: null, rowsMultiple: 1, openedBytes: 0 }
}

function described({ model: { reference, manifest }, role, epoch = 1, share }: ModelUse): ScorerModel {
  return { reference, sha256: manifest.sha256, manifestDigest: manifestDigest(manifest), role, share: share ?? (role === 'champion' ? 1 : 0), kind: 'recurrent', epoch, device: 'cpu', deviceNote: null, rowsMultiple: 1, fileBytes: 0, openedBytes: 0 }
}

/** The engine's own frame walk, waves, warming and undo over models that take virtual time. */
export class SimulatedScorer extends ScorerBase {
  #processor: FrameProcessor
  readonly #clock: Clock
  readonly #prng: Prng
  #tail: Promise<void> = Promise.resolve()
  readonly #rowsMax: number
  #inFlight = 0

  constructor(clock: Clock, prng: Prng, { window, rowsMax = 64 }: { window: number; rowsMax?: number }, models: readonly ModelUse[] = [{ model: simulatedModel(1), role: 'champion' }], release = 0) {
    super({ features: simulatedFeatures, window, models, release, device: 'cpu', workers: 0, clock, limits: { rowsMax, framesMax }, chunkSlots })
    this.#rowsMax = rowsMax
    this.#clock = clock
    this.#prng = prng
    this.inForce = { release, models: models.map(described) }
    this.#processor = this.#makeProcessor(models)
  }

  #makeProcessor(uses: readonly ModelUse[]): FrameProcessor {
    return new FrameProcessor(this.memory, uses.map((use) => ({ model: use.model, open: opened(use) })), simulatedFeatures, this.#rowsMax, this.#clock)
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
    const processOptions = { stateOnly: options.stateOnly ?? false, skip: [...skip.keys()], explain: options.explain && { ...options.explain, sharing: sharingOf(frame.models.models) } }
    // Mostly quick, now and then as slow as several polls.
    const pauseMs = this.#prng.below(20) === 0 ? 200 : 3
    const run: RunSession = async (session, feeds, fetches) => {
      await this.#clock.sleep(this.#prng.below(pauseMs))
      return await (session as unknown as { step: RunSession }).step(session, feeds, fetches)
    }
    const outcome = await this.#processor.process(frame, 0, 1, processOptions, { run, beginModel: () => undefined })
    this.finish(frame, [outcome], processOptions.stateOnly, skip, thrownBy([outcome]))
  }

  async openModels(uses: readonly ModelUse[], release: number): Promise<ModelSwitch> {
    this.checkUses(uses)
    await this.#clock.sleep(this.#prng.below(openMsMax))
    return {
      takeOver: () => {
        this.#tail = this.#tail.then(() => {
          this.install(uses, uses.map(described), release)
          this.#processor = this.#makeProcessor(uses)
        })
        return this.#tail
      },
      abandon: () => undefined,
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
