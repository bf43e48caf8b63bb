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

/** Scores the rows of one walk with one model. */
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

/** Turns an output into scores: picks the class, turns a logit into a probability, and lets NaN stand for what is not finite. */
export class ScoreReader {
  readonly #column: number
  readonly #logit: boolean

  constructor(manifest: Manifest) {
    this.#column = manifest.score.column
    this.#logit = manifest.score.meaning === 'logit'
  }

  /** The score of row `row` of an output of `stride` numbers a row. */
  read(data: Float32Array, row: number, stride: number): number {
    const value = data[row * stride + this.#column]!
    if (this.#logit) return 1 / (1 + Math.exp(-value))
    return value - value === 0 ? value : NaN
  }
}

/** A view of the same memory as 32-bit words: copies through it keep every bit. */
export function bitsOf(floats: Float32Array): Int32Array<ArrayBuffer> {
  return new Int32Array(floats.buffer as ArrayBuffer, floats.byteOffset, floats.length)
}
