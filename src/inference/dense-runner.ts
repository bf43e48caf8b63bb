import { Tensor } from 'onnxruntime-node'
import type { Frame } from './frame.js'
import type { FrameWalk, WindowGather } from './frame-walk.js'
import { batchRowsOf, bitsOf, paddedRows, ScoreReader, type ModelRunner, type RunCounts, type RunnableModel } from './model-runner.js'
import { copyFeatures, type FeatureMap } from './ring.js'
import { withBatch, type GraphInput } from './graph.js'
import type { Feeds, RunSession } from './session.js'

/** Runs a row model or a window model over all rows of a walk, in dense chunks. */
export class DenseRunner implements ModelRunner {
  readonly #model: RunnableModel
  readonly #map: FeatureMap
  readonly #gather: WindowGather | null
  readonly #batchRows: number
  readonly #reader: ScoreReader
  /** Input of one chunk, in the model's own layout. */
  readonly #input: Float32Array
  readonly #inputBits: Int32Array
  readonly #output: Float32Array
  readonly #rowFloats: number

  /** `gather` null = a row model. */
  constructor(model: RunnableModel, map: FeatureMap, gather: WindowGather | null) {
    this.#model = model
    this.#map = map
    this.#gather = gather
    this.#batchRows = batchRowsOf(model)
    this.#reader = new ScoreReader(model.manifest)
    this.#rowFloats = model.manifest.features.length * (model.manifest.window ?? 1)
    this.#input = new Float32Array(this.#batchRows * this.#rowFloats)
    this.#inputBits = bitsOf(this.#input)
    const { shape } = model.graph.score
    this.#output = new Float32Array(shape === null ? 0 : withBatch(shape, this.#batchRows).reduce((product, size) => product * size, 1))
  }

  async score(frame: Frame, walk: FrameWalk, scores: Float32Array, run: RunSession): Promise<RunCounts> {
    const counts: RunCounts = { rows: walk.count, runs: 0, notFinite: 0 }
    const { graph, session, rowsMultiple } = this.#model
    for (let from = 0; from < walk.count; from += this.#batchRows) {
      const rows = Math.min(this.#batchRows, walk.count - from)
      const batch = paddedRows(rows, rowsMultiple)
      const shape = graph.score.shape === null ? null : withBatch(graph.score.shape, batch)
      const size = shape === null ? 0 : shape.reduce((product, each) => product * each, 1)
      const fetch = shape === null ? null : new Tensor('float32', this.#output.subarray(0, size), shape)
      const outputs = await run(session, this.#feeds(frame, walk, from, rows, batch), { [graph.score.name]: fetch })
      const data = outputs[graph.score.name]!.data as Float32Array
      counts.runs++
      const stride = data.length / batch
      for (let row = 0; row < rows; row++) {
        const score = this.#reader.read(data, row, stride)
        if (score !== score) counts.notFinite++
        scores[walk.rows[from + row]!] = score
      }
    }
    return counts
  }

  #feeds(frame: Frame, walk: FrameWalk, from: number, rows: number, batch: number): Feeds {
    const { graph, manifest } = this.#model
    const floats = this.#rowFloats
    const gather = this.#gather
    if (gather === null) this.#gatherRows(frame, walk, from, rows)
    else if (manifest.layout === 'time-major') transpose(this.#inputBits, gather.bits, from * floats, rows, batch, gather.window, gather.features)
    else this.#inputBits.set(gather.bits.subarray(from * floats, (from + rows) * floats))
    if (manifest.layout !== 'time-major' || gather === null) this.#inputBits.fill(0, rows * floats, batch * floats)
    const tensor = new Tensor('float32', this.#input.subarray(0, batch * floats), withBatch(graph.features.shape, batch))
    const feeds: Feeds = { [graph.features.name]: tensor }
    for (const extra of graph.extras) feeds[extra.name] = extraTensor(extra, gather!, from, rows, batch, manifest.layout === 'time-major')
    return feeds
  }

  #gatherRows(frame: Frame, walk: FrameWalk, from: number, rows: number): void {
    const { features } = frame.shape
    for (let row = 0; row < rows; row++) {
      copyFeatures(this.#inputBits, row * this.#rowFloats, frame.rowsBits, walk.rows[from + row]! * features, this.#rowFloats, this.#map)
    }
  }
}

/** [B, W, F] -> [W, batch, F], with zeros for the padding rows. */
function transpose(to: Int32Array, from: Int32Array, fromAt: number, rows: number, batch: number, window: number, features: number): void {
  for (let step = 0; step < window; step++) {
    for (let row = 0; row < rows; row++) {
      const writeAt = (step * batch + row) * features
      const readAt = fromAt + (row * window + step) * features
      for (let i = 0; i < features; i++) to[writeAt + i] = from[readAt + i]!
    }
    to.fill(0, (step * batch + rows) * features, (step + 1) * batch * features)
  }
}

/** Lengths [B], or a mask [B, W] (or [W, B]) with 1 for a real row. A padding row of the batch has length 1. */
function extraTensor(input: GraphInput, gather: WindowGather, from: number, rows: number, batch: number, timeMajor: boolean): Tensor {
  const { window } = gather
  const length = (row: number): number => (row < rows ? gather.lengths[from + row]! : 1)
  const shape = withBatch(input.shape, batch)
  if (input.what === 'lengths') {
    const lengths = Int32Array.from({ length: batch }, (_, row) => length(row))
    return input.type === 'int64' ? new Tensor('int64', BigInt64Array.from(lengths, BigInt), shape) : new Tensor('int32', lengths, shape)
  }
  const mask = new Float32Array(batch * window)
  for (let row = 0; row < batch; row++) {
    for (let step = window - length(row); step < window; step++) mask[timeMajor ? step * batch + row : row * window + step] = 1
  }
  return input.type === 'bool' ? new Tensor('bool', Uint8Array.from(mask), shape) : new Tensor('float32', mask, shape)
}
