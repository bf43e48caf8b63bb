import type { InferenceSession, Tensor } from 'onnxruntime-node'
import type { Frame } from './frame.js'
import { CARRIED, ZERO, type FrameWalk, type HiddenGather } from './frame-walk.js'
import { FeaturePort } from './feature-port.js'
import { batchRowsOf, paddedRows, ScoreReader, type ModelRunner, type RunCounts, type RunnableModel } from './model-runner.js'
import { recodeRow } from './recodes.js'
import { copyFeatures, copyWords } from './ring.js'
import { withBatch } from './graph.js'
import type { Feeds, RunSession } from './session.js'
import { HIDDEN_HEAD, type HiddenSlab, type SequenceMemory } from './sequence-memory.js'
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
 * Steps a recurrent model over the rows of a walk: first the rows whose state must be warmed, over their rings, then wave
 * by wave. One dense run for each step or wave (in chunks): gather, run, scatter.
 *
 * A row whose next state is not finite is not absorbed: the state stays as it was before the row. So one poisoned row
 * cannot spoil an entity for ever, and a state carried on equals a state warmed from the ring.
 */
export class RecurrentRunner implements ModelRunner {
  readonly #model: RunnableModel
  readonly #gather: HiddenGather
  readonly #memory: SequenceMemory
  readonly #slab: HiddenSlab
  readonly #batchRows: number
  readonly #reader: ScoreReader
  readonly #ports: readonly FeaturePort[]
  /** Rows of one run [B, F]; the memory of the only input where that takes them as they are. */
  readonly #xBits: Int32Array
  readonly #states: StateBuffers[]
  /** Null = the run allocates it. */
  readonly #score: TensorPort | null
  readonly #scoreStride: number
  /** Tensors over the buffers above, by batch size: most waves of a frame are small and sizes come again. */
  readonly #tensors = new Map<number, { feeds: Feeds; fetches: InferenceSession.NullableOnnxValueMapType }>()
  #warmed = new Int32Array(0)
  #warmOrder = new Int32Array(0)

  constructor(model: RunnableModel, gather: HiddenGather, memory: SequenceMemory, hiddenIndex: number) {
    this.#model = model
    this.#gather = gather
    this.#memory = memory
    this.#slab = memory.hidden[hiddenIndex]!
    const batch = (this.#batchRows = batchRowsOf(model))
    this.#reader = new ScoreReader(model.manifest)
    this.#ports = model.graph.inputs.map((input) => new FeaturePort(input, model.manifest, batch))
    const [first] = this.#ports
    this.#xBits = this.#ports.length === 1 && first!.isPlain ? first!.port.bits : new Int32Array(batch * gather.features)
    let at = 0
    this.#states = model.graph.states.map(({ outer, inner, type }) => {
      const input = new TensorPort(type, batch * outer * inner)
      const output = new TensorPort(type, batch * outer * inner)
      const buffers = { outer, inner, at, input, inputBits: input.bits, output, outputBits: output.bits }
      at += outer * inner
      return buffers
    })
    const { shape, type } = model.graph.score
    this.#scoreStride = shape === null ? 0 : withBatch(shape, 1).reduce((product, size) => product * size, 1)
    this.#score = this.#scoreStride > 0 && type === 'float32' ? new TensorPort(type, batch * this.#scoreStride) : null
  }

  async score(frame: Frame, walk: FrameWalk, scores: Float32Array, run: RunSession): Promise<RunCounts> {
    const counts: RunCounts = { rows: walk.count, runs: 0, notFinite: 0 }
    await this.#warm(counts, run)
    for (let wave = 0; wave < walk.waves; wave++) {
      const end = walk.waveAt[wave + 1]!
      for (let from = walk.waveAt[wave]!; from < end; from += this.#batchRows) {
        const rows = Math.min(this.#batchRows, end - from)
        const batch = paddedRows(rows, this.#model.rowsMultiple)
        this.#gatherWave(frame, walk, from, rows, batch)
        const output = await this.#run(rows, batch, run)
        counts.runs++
        counts.notFinite += this.#scatterWave(frame, walk, from, rows, batch, output, scores)
      }
    }
    return counts
  }

  #gatherWave(frame: Frame, walk: FrameWalk, from: number, rows: number, batch: number): void {
    const { features, map, recodes, source } = this.#gather
    const memory = this.#memory
    const rowFloats = frame.shape.features
    const { floats, stride } = this.#slab
    for (let b = 0; b < rows; b++) {
      const own = walk.byWave[from + b]!
      const row = walk.rows[own]!
      copyFeatures(this.#xBits, b * features, frame.rowsBits, row * rowFloats, features, map)
      if (recodes !== null) recodeRow(this.#xBits, b * features, recodes)
      const before = source[own]!
      if (before === CARRIED) {
        const slot = frame.slot[row]!
        this.#gatherState(b, batch, this.#slab.words[slot >>> memory.shift]!, (slot & memory.mask) * stride + HIDDEN_HEAD)
      } else if (before === ZERO) this.#zeroState(b, batch)
      else this.#gatherState(b, batch, this.#warmed, before * floats)
    }
    this.#pad(rows, batch)
  }

  /** Keeps scores and next states; returns how many scores are not finite. */
  #scatterWave(frame: Frame, walk: FrameWalk, from: number, rows: number, batch: number, output: ArrayLike<number>, scores: Float32Array): number {
    const memory = this.#memory
    const { stride } = this.#slab
    const outputStride = this.#reader.strideOf(output, batch)
    let notFinite = 0
    for (let b = 0; b < rows; b++) {
      const own = walk.byWave[from + b]!
      const row = walk.rows[own]!
      const score = this.#reader.read(output, b, outputStride)
      if (score !== score) notFinite++
      scores[row] = score
      if (walk.writes[own] === 0) continue
      const slot = frame.slot[row]!
      this.#scatterState(b, batch, this.#slab.words[slot >>> memory.shift]!, (slot & memory.mask) * stride + HIDDEN_HEAD)
    }
    return notFinite
  }

  /** Runs the rings of all rows to be warmed, step by step, the longest first so that each step is a dense prefix. */
  async #warm(counts: RunCounts, run: RunSession): Promise<void> {
    const { warmCount, warmLengths, warmBits, features } = this.#gather
    if (warmCount === 0) return
    const { floats } = this.#slab
    const { window } = this.#memory.layout
    if (this.#warmed.length < warmCount * floats) this.#warmed = new Int32Array(warmCount * floats)
    else this.#warmed.fill(0, 0, warmCount * floats)
    if (this.#warmOrder.length < warmCount) this.#warmOrder = new Int32Array(warmCount)
    const order = this.#warmOrder.subarray(0, warmCount)
    for (let i = 0; i < warmCount; i++) order[i] = i
    order.sort((a, b) => warmLengths[b]! - warmLengths[a]! || a - b)
    for (let from = 0; from < warmCount; from += this.#batchRows) {
      let rows = Math.min(this.#batchRows, warmCount - from)
      for (let step = 0; step < warmLengths[order[from]!]!; step++) {
        while (warmLengths[order[from + rows - 1]!]! <= step) rows--
        const batch = paddedRows(rows, this.#model.rowsMultiple)
        for (let b = 0; b < rows; b++) {
          const warm = order[from + b]!
          copyWords(this.#xBits, b * features, warmBits, (warm * window + step) * features, features)
          this.#gatherState(b, batch, this.#warmed, warm * floats)
        }
        this.#pad(rows, batch)
        await this.#run(rows, batch, run)
        counts.runs++
        for (let b = 0; b < rows; b++) this.#scatterState(b, batch, this.#warmed, order[from + b]! * floats)
      }
    }
  }

  #gatherState(b: number, batch: number, from: Int32Array, fromAt: number): void {
    for (const { outer, inner, at, inputBits } of this.#states) {
      for (let o = 0; o < outer; o++) copyWords(inputBits, (o * batch + b) * inner, from, fromAt + at + o * inner, inner)
    }
  }

  #zeroState(b: number, batch: number): void {
    for (const { outer, inner, inputBits } of this.#states) {
      for (let o = 0; o < outer; o++) inputBits.fill(0, (o * batch + b) * inner, (o * batch + b + 1) * inner)
    }
  }

  #scatterState(b: number, batch: number, to: Int32Array, toAt: number): void {
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

  /** Padding rows are zeros, so that a run never depends on what an earlier one left there. */
  #pad(rows: number, batch: number): void {
    if (rows === batch) return
    for (let b = rows; b < batch; b++) this.#zeroState(b, batch)
  }

  async #run(rows: number, batch: number, run: RunSession): Promise<ArrayLike<number>> {
    let tensors = this.#tensors.get(batch)
    if (!tensors) this.#tensors.set(batch, (tensors = this.#makeTensors(batch)))
    const { graph, session } = this.#model
    for (const port of this.#ports) port.fill({ bits: this.#xBits, at: 0, lengths: null, lengthsAt: 0 }, rows, batch)
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
