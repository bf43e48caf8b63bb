import type { Frame } from './frame.js'
import type { FrameWalk, WindowGather } from './frame-walk.js'
import { FeaturePort } from './feature-port.js'
import { withBatch } from './graph.js'
import { batchRowsOf, paddedRows, ScoreReader, type ModelRunner, type RunCounts, type RunnableModel } from './model-runner.js'
import { recodeRow, type Recodes } from './recodes.js'
import { copyFeatures, type FeatureMap } from './ring.js'
import type { Feeds, RunSession } from './session.js'
import { numbersOf, TensorPort } from './tensor-port.js'

/** Runs a row model or a window model over all rows of a walk, in dense chunks. */
export class DenseRunner implements ModelRunner {
  readonly #model: RunnableModel
  readonly #map: FeatureMap
  readonly #recodes: Recodes
  readonly #gather: WindowGather | null
  readonly #batchRows: number
  readonly #reader: ScoreReader
  readonly #ports: readonly FeaturePort[]
  /** Row models: the rows of one chunk; the memory of the only input where that takes them as they are. */
  readonly #rows: Int32Array
  /** Null = the run allocates it. */
  readonly #output: TensorPort | null
  readonly #features: number

  /** `gather` null = a row model. */
  constructor(model: RunnableModel, map: FeatureMap, recodes: Recodes, gather: WindowGather | null) {
    const { manifest, graph } = model
    this.#model = model
    this.#map = map
    this.#recodes = recodes
    this.#gather = gather
    this.#batchRows = batchRowsOf(model)
    this.#reader = new ScoreReader(manifest)
    this.#ports = graph.inputs.map((input) => new FeaturePort(input, manifest, this.#batchRows))
    this.#features = manifest.features.length
    const [first] = this.#ports
    if (gather !== null) this.#rows = new Int32Array(0)
    else this.#rows = this.#ports.length === 1 && first!.isPlain ? first!.port.bits : new Int32Array(this.#batchRows * this.#features)
    const { shape, type } = graph.score
    const size = shape === null ? 0 : withBatch(shape, this.#batchRows).reduce((product, each) => product * each, 1)
    this.#output = size > 0 && type === 'float32' ? new TensorPort(type, size) : null
  }

  async score(frame: Frame, walk: FrameWalk, scores: Float32Array, run: RunSession): Promise<RunCounts> {
    const counts: RunCounts = { rows: walk.count, runs: 0, notFinite: 0 }
    const { graph, session, rowsMultiple } = this.#model
    for (let from = 0; from < walk.count; from += this.#batchRows) {
      const rows = Math.min(this.#batchRows, walk.count - from)
      const batch = paddedRows(rows, rowsMultiple)
      const shape = this.#output === null ? null : withBatch(graph.score.shape!, batch)
      const fetch = shape === null ? null : this.#output!.tensor(shape.reduce((product, each) => product * each, 1), shape)
      const outputs = await run(session, this.#feeds(frame, walk, from, rows, batch), { [graph.score.name]: fetch })
      counts.runs++
      counts.notFinite += this.#reader.readAll(numbersOf(outputs[graph.score.name]!), batch, rows, scores, walk.rows, from)
    }
    return counts
  }

  #feeds(frame: Frame, walk: FrameWalk, from: number, rows: number, batch: number): Feeds {
    const gather = this.#gather
    if (gather === null) this.#gatherRows(frame, walk, from, rows)
    const gathered =
      gather === null
        ? { bits: this.#rows, at: 0, lengths: null, lengthsAt: 0 }
        : { bits: gather.bits, at: from * gather.window * this.#features, lengths: gather.lengths, lengthsAt: from }
    const feeds: Feeds = {}
    for (const port of this.#ports) {
      port.fill(gathered, rows, batch)
      feeds[port.name] = port.tensor(batch)
    }
    return feeds
  }

  #gatherRows(frame: Frame, walk: FrameWalk, from: number, rows: number): void {
    const rowFloats = frame.shape.features
    const features = this.#features
    const recodes = this.#recodes
    for (let row = 0; row < rows; row++) {
      copyFeatures(this.#rows, row * features, frame.rowsBits, walk.rows[from + row]! * rowFloats, features, this.#map)
      if (recodes !== null) recodeRow(this.#rows, row * features, recodes)
    }
  }
}
