import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { FeaturePort } from './feature-port.js'
import { withBatch } from './graph.js'
import { batchRowsOf, ScoreReader, type RunnableModel } from './model-runner.js'
import { copyWords } from './ring.js'
import type { Feeds, RunSession } from './session.js'
import { numbersOf, TensorPort } from './tensor-port.js'

/** Exponent bits of a float32: all set in NaN and infinity. */
const EXPONENT = 0x7f800000

interface StateBuffers {
  /** Axes before the batch axis, multiplied: 1 for [B, H]. */
  readonly outer: number
  readonly inner: number
  /** Where this state begins in a slot's hidden floats. */
  readonly at: number
  readonly input: TensorPort
  readonly inputBits: Int32Array
  readonly output: TensorPort
  readonly outputBits: Int32Array
}

/**
 * One dense run of a recurrent model, with the buffers around it: rows and states in, scores and next states out. Who calls it
 * gathers into row b of the batch, runs, and scatters from row b.
 *
 * A row whose next state is not finite is not absorbed: the state stays as it was before the row. So one poisoned row
 * cannot spoil an entity for ever, and a state carried on equals a state warmed from the ring.
 */
export class RecurrentStep {
  readonly #model: RunnableModel
  /** Most rows of a run. */
  readonly batchRows: number
  readonly rowsMultiple: number
  readonly reader: ScoreReader
  /** Floats of all states of one row. */
  readonly floats: number
  /** Rows of one run [B, F]; the memory of the only input where that takes them as they are. */
  readonly xBits: Int32Array
  readonly #ports: readonly FeaturePort[]
  readonly #states: StateBuffers[]
  /** Null = the run allocates it. */
  readonly #score: TensorPort | null
  readonly #scoreStride: number
  /** Tensors over the buffers above, by batch size: most waves of a frame are small and sizes come again. */
  readonly #tensors = new Map<number, { feeds: Feeds; fetches: InferenceSession.NullableOnnxValueMapType }>()

  constructor(model: RunnableModel) {
    this.#model = model
    const batch = (this.batchRows = batchRowsOf(model))
    this.rowsMultiple = model.rowsMultiple
    this.reader = new ScoreReader(model.manifest)
    this.#ports = model.graph.inputs.map((input) => new FeaturePort(input, model.manifest, batch))
    const [first] = this.#ports
    this.xBits = this.#ports.length === 1 && first!.isPlain ? first!.port.bits : new Int32Array(batch * model.manifest.features.length)
    let at = 0
    this.#states = model.graph.states.map(({ outer, inner, type }) => {
      const input = new TensorPort(type, batch * outer * inner)
      const output = new TensorPort(type, batch * outer * inner)
      const buffers = { outer, inner, at, input, inputBits: input.bits, output, outputBits: output.bits }
      at += outer * inner
      return buffers
    })
    this.floats = at
    const { shape, type } = model.graph.score
    this.#scoreStride = shape === null ? 0 : withBatch(shape, 1).reduce((product, size) => product * size, 1)
    this.#score = this.#scoreStride > 0 && type === 'float32' ? new TensorPort(type, batch * this.#scoreStride) : null
  }

  gatherState(b: number, batch: number, from: Int32Array, fromAt: number): void {
    for (const { outer, inner, at, inputBits } of this.#states) {
      for (let o = 0; o < outer; o++) copyWords(inputBits, (o * batch + b) * inner, from, fromAt + at + o * inner, inner)
    }
  }

  zeroState(b: number, batch: number): void {
    for (const { outer, inner, inputBits } of this.#states) {
      for (let o = 0; o < outer; o++) inputBits.fill(0, (o * batch + b) * inner, (o * batch + b + 1) * inner)
    }
  }

  scatterState(b: number, batch: number, to: Int32Array, toAt: number): void {
    let finite = true
    for (const { outer, inner, at, outputBits } of this.#states) {
      for (let o = 0; o < outer; o++) {
        const readAt = (o * batch + b) * inner
        const writeAt = toAt + at + o * inner
        for (let i = 0; i < inner; i++) {
          const word = outputBits[readAt + i]!
          to[writeAt + i] = word
          if ((word & EXPONENT) === EXPONENT) finite = false
        }
      }
    }
    if (finite) return
    for (const { outer, inner, at, inputBits } of this.#states) {
      for (let o = 0; o < outer; o++) copyWords(to, toAt + at + o * inner, inputBits, (o * batch + b) * inner, inner)
    }
  }

  /** Runs the first `rows` of `batch` gathered rows; gives the score's numbers. Padding rows are zeros, so that a run never depends on what an earlier one left there. */
  async run(rows: number, batch: number, run: RunSession): Promise<ArrayLike<number>> {
    for (let b = rows; b < batch; b++) this.zeroState(b, batch)
    let tensors = this.#tensors.get(batch)
    if (!tensors) this.#tensors.set(batch, (tensors = this.#makeTensors(batch)))
    const { graph, session } = this.#model
    for (const port of this.#ports) port.fill({ bits: this.xBits, at: 0, lengths: null, lengthsAt: 0 }, rows, batch)
    for (const { input, outer, inner } of this.#states) input.load(batch * outer * inner)
    const outputs = await run(session, tensors.feeds, tensors.fetches)
    for (const { output, outer, inner } of this.#states) output.store(batch * outer * inner)
    return numbersOf(outputs[graph.score.name]!)
  }

  #makeTensors(batch: number): { feeds: Feeds; fetches: InferenceSession.NullableOnnxValueMapType } {
    const { graph } = this.#model
    const feeds: Feeds = Object.fromEntries(this.#ports.map((port) => [port.name, port.tensor(batch)]))
    const { shape, name } = graph.score
    const fetches: Record<string, Tensor | null> = { [name]: this.#score === null ? null : this.#score.tensor(batch * this.#scoreStride, withBatch(shape!, batch)) }
    graph.states.forEach((state, index) => {
      const { input, output, outer, inner } = this.#states[index]!
      const dims = withBatch(state.shape, batch)
      feeds[state.input] = input.tensor(batch * outer * inner, dims)
      fetches[state.output] = output.tensor(batch * outer * inner, dims)
    })
    return { feeds, fetches }
  }
}
