import type { InferenceSession } from 'onnxruntime-node'
import type { Frame } from './frame.js'
import type { FrameWalk } from './frame-walk.js'
import type { Manifest } from './manifest.js'
import type { Graph } from './graph.js'
import type { RunSession } from './session.js'

/** A session with what a runner knows of it. */
export interface RunnableModel {
  readonly manifest: Manifest
  readonly session: InferenceSession
  readonly graph: Graph
  /** Rows of a run are padded to a multiple of this. */
  readonly rowsMultiple: number
}

export interface RunCounts {
  rows: number
  runs: number
  /** Rows whose score was NaN or infinite. */
  notFinite: number
}

/** Scores the rows of one walk, or of its last chunk, with one model. */
export interface ModelRunner {
  score(frame: Frame, walk: FrameWalk, scores: Float32Array, run: RunSession): Promise<RunCounts>
}

/** Most rows of a run: the manifest's limit, or the graph's own batch size, as a multiple of the padding. */
export function batchRowsOf({ manifest, graph, rowsMultiple }: RunnableModel): number {
  if (graph.fixedBatch !== null) return graph.fixedBatch
  return Math.max(rowsMultiple, Math.floor(manifest.limits.batchRowsMax / rowsMultiple) * rowsMultiple)
}

export function paddedRows(rows: number, multiple: number): number {
  return Math.ceil(rows / multiple) * multiple
}

/** Turns an output into scores: picks the class, turns logits into a probability, and lets NaN stand for what is not finite. */
export class ScoreReader {
  readonly #column: number
  readonly #meaning: Manifest['score']['meaning']

  constructor(manifest: Manifest) {
    this.#column = manifest.score.column
    this.#meaning = manifest.score.meaning
  }

  /** The score of row `row` of an output of `stride` numbers a row. */
  read(data: ArrayLike<number>, row: number, stride: number): number {
    const value = data[row * stride + this.#column]!
    if (this.#meaning === 'probability' || this.#meaning === 'value') return value - value === 0 ? value : NaN
    if (this.#meaning === 'logit') return 1 / (1 + Math.exp(-value))
    return softmax(data, row * stride, stride, value)
  }

  /** Scores of the first `rows` of `batch` rows, to the places that `places` names from `from` on; returns how many are not finite. */
  readAll(data: ArrayLike<number>, batch: number, rows: number, scores: Float32Array, places: Int32Array, from: number): number {
    const stride = this.strideOf(data, batch)
    let notFinite = 0
    for (let row = 0; row < rows; row++) {
      const score = this.read(data, row, stride)
      if (score !== score) notFinite++
      scores[places[from + row]!] = score
    }
    return notFinite
  }

  /** Numbers a row. Throws what makes the model fail when the output does not have the class. */
  strideOf(data: ArrayLike<number>, batch: number): number {
    const stride = data.length / batch
    if (Number.isInteger(stride) && this.#column < stride) return stride
    throw new Error(`the score has ${data.length} numbers for ${batch} rows: there is no class ${this.#column} (score.column) in each`)
  }
}

/** e^value / sum of e^x over the row, from the largest down so that nothing overflows. */
function softmax(data: ArrayLike<number>, at: number, count: number, value: number): number {
  let largest = -Infinity
  for (let i = at; i < at + count; i++) if (data[i]! > largest) largest = data[i]!
  let sum = 0
  for (let i = at; i < at + count; i++) sum += Math.exp(data[i]! - largest)
  return Math.exp(value - largest) / sum
}
