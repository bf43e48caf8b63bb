import { DenseStep } from './dense-step.js'
import type { Frame } from './frame.js'
import type { FrameWalk, WindowGather } from './frame-walk.js'
import type { ModelRunner, RunCounts, RunnableModel } from './model-runner.js'
import { recodeRow, type Recodes } from './recodes.js'
import { copyFeatures, type FeatureMap } from './ring.js'
import type { RunSession } from './session.js'

/** Runs a row model over all rows of a walk, or a window model over those of its last chunk, in dense batches. */
export class DenseRunner implements ModelRunner {
  readonly step: DenseStep
  readonly #map: FeatureMap
  readonly #recodes: Recodes
  readonly #gather: WindowGather | null
  /** Row models: the rows of one batch; the memory of the only input where that takes them as they are. */
  readonly #rows: Int32Array
  readonly #features: number

  /** `gather` null = a row model. */
  constructor(model: RunnableModel, map: FeatureMap, recodes: Recodes, gather: WindowGather | null) {
    this.step = new DenseStep(model)
    this.#map = map
    this.#recodes = recodes
    this.#gather = gather
    this.#features = model.manifest.features.length
    this.#rows = gather !== null ? new Int32Array(0) : (this.step.plainBits ?? new Int32Array(this.step.batchRows * this.#features))
  }

  async score(frame: Frame, walk: FrameWalk, scores: Float32Array, run: RunSession): Promise<RunCounts> {
    const gather = this.#gather
    const { batchRows } = this.step
    const first = gather === null ? 0 : walk.chunkAt
    const counts: RunCounts = { rows: walk.count - first, runs: 0, notFinite: 0 }
    for (let from = first; from < walk.count; from += batchRows) {
      const rows = Math.min(batchRows, walk.count - from)
      if (gather === null) this.#gatherRows(frame, walk, from, rows)
      const gathered =
        gather === null
          ? { bits: this.#rows, at: 0, lengths: null, lengthsAt: 0 }
          : { bits: gather.bits, at: (from - first) * gather.window * this.#features, lengths: gather.lengths, lengthsAt: from - first }
      counts.notFinite += await this.step.run(gathered, rows, run, scores, walk.rows, from)
      counts.runs++
    }
    return counts
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
