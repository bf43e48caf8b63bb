import { Tensor, type InferenceSession } from 'onnxruntime-node'
import type { Frame } from './frame.js'
import { CARRIED, ZERO, type FrameWalk, type HiddenGather } from './frame-walk.js'
import { batchRowsOf, bitsOf, paddedRows, ScoreReader, type ModelRunner, type RunCounts, type RunnableModel } from './model-runner.js'
import { copyFeatures, copyWords } from './ring.js'
import { withBatch } from './graph.js'
import type { Feeds, RunSession } from './session.js'
import { HIDDEN_HEAD, type HiddenSlab, type SequenceMemory } from './sequence-memory.js'

/** Exponent bits of a float32: all set in NaN and infinity. */
const EXPONENT = 0x7f800000

interface StateBuffers {
  /** Axes before the batch axis, multiplied: 1 for [B, H]. */
  readonly outer: number
  readonly inner: number
  /** Where this state begins in a slot's hidden floats. */
  readonly at: number
  readonly input: Float32Array
  readonly inputBits: Int32Array
  readonly output: Float32Array
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
  readonly #x: Float32Array
  readonly #xBits: Int32Array
  readonly #states: StateBuffers[]
  readonly #score: Float32Array
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
    this.#x = new Float32Array(batch * gather.features)
    this.#xBits = bitsOf(this.#x)
    let at = 0
    this.#states = model.graph.states.map(({ outer, inner }) => {
      const input = new Float32Array(batch * outer * inner)
      const output = new Float32Array(batch * outer * inner)
      const buffers = { outer, inner, at, input, inputBits: bitsOf(input), output, outputBits: bitsOf(output) }
      at += outer * inner
      return buffers
    })
    const { shape } = model.graph.score
    this.#scoreStride = shape === null ? 0 : withBatch(shape, 1).reduce((product, size) => product * size, 1)
    this.#score = new Float32Array(batch * this.#scoreStride)
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
        const output = await this.#run(batch, run)
        counts.runs++
        counts.notFinite += this.#scatterWave(frame, walk, from, rows, batch, output, scores)
      }
    }
    return counts
  }

  #gatherWave(frame: Frame, walk: FrameWalk, from: number, rows: number, batch: number): void {
    const { features, map, source } = this.#gather
    const memory = this.#memory
    const rowFloats = frame.shape.features
    const { floats, stride } = this.#slab
    for (let b = 0; b < rows; b++) {
      const own = walk.byWave[from + b]!
      const row = walk.rows[own]!
      copyFeatures(this.#xBits, b * features, frame.rowsBits, row * rowFloats, features, map)
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
  #scatterWave(frame: Frame, walk: FrameWalk, from: number, rows: number, batch: number, output: Float32Array, scores: Float32Array): number {
    const memory = this.#memory
    const { stride } = this.#slab
    const outputStride = output.length / batch
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
        await this.#run(batch, run)
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
    this.#xBits.fill(0, rows * this.#gather.features, batch * this.#gather.features)
    for (let b = rows; b < batch; b++) this.#zeroState(b, batch)
  }

  async #run(batch: number, run: RunSession): Promise<Float32Array> {
    let tensors = this.#tensors.get(batch)
    if (!tensors) this.#tensors.set(batch, (tensors = this.#makeTensors(batch)))
    const { graph, session } = this.#model
    const outputs = await run(session, tensors.feeds, tensors.fetches)
    return outputs[graph.score.name]!.data as Float32Array
  }

  #makeTensors(batch: number): { feeds: Feeds; fetches: InferenceSession.NullableOnnxValueMapType } {
    const { graph } = this.#model
    const x = new Tensor('float32', this.#x.subarray(0, batch * this.#gather.features), withBatch(graph.features.shape, batch))
    const feeds: Feeds = { [graph.features.name]: x }
    const { shape, name } = graph.score
    const score = shape === null ? null : new Tensor('float32', this.#score.subarray(0, batch * this.#scoreStride), withBatch(shape, batch))
    const fetches: Record<string, Tensor | null> = { [name]: score }
    graph.states.forEach((state, index) => {
      const { input, output, outer, inner } = this.#states[index]!
      const dims = withBatch(state.shape, batch)
      feeds[state.input] = new Tensor('float32', input.subarray(0, batch * outer * inner), dims)
      fetches[state.output] = new Tensor('float32', output.subarray(0, batch * outer * inner), dims)
    })
    return { feeds, fetches }
  }
}
