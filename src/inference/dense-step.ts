import { FeaturePort, type GatheredRows } from './feature-port.js'
import { withBatch } from './graph.js'
import { batchRowsOf, paddedRows, ScoreReader, type RunnableModel } from './model-runner.js'
import type { Feeds, RunSession } from './session.js'
import { numbersOf, TensorPort } from './tensor-port.js'

/** One dense run of a row model or a window model, with the buffers around it. */
export class DenseStep {
  readonly #model: RunnableModel
  /** Most rows of a run. */
  readonly batchRows: number
  readonly #reader: ScoreReader
  readonly #ports: readonly FeaturePort[]
  /** Null = the run allocates it. */
  readonly #output: TensorPort | null

  constructor(model: RunnableModel) {
    const { manifest, graph } = model
    this.#model = model
    this.batchRows = batchRowsOf(model)
    this.#reader = new ScoreReader(manifest)
    this.#ports = graph.inputs.map((input) => new FeaturePort(input, manifest, this.batchRows))
    const { shape, type } = graph.score
    const size = shape === null ? 0 : withBatch(shape, this.batchRows).reduce((product, each) => product * each, 1)
    this.#output = size > 0 && type === 'float32' ? new TensorPort(type, size) : null
  }

  /** Memory of the only input where that takes gathered rows as they are, so that one can gather into it; null = there is none. */
  get plainBits(): Int32Array | null {
    const [first] = this.#ports
    return this.#ports.length === 1 && first!.isPlain ? first!.port.bits : null
  }

  /** Scores of `rows` gathered rows, to the places that `places` names from `from` on; returns how many are not finite. */
  async run(gathered: GatheredRows, rows: number, run: RunSession, scores: Float32Array, places: Int32Array, from: number): Promise<number> {
    const { graph, session, rowsMultiple } = this.#model
    const batch = paddedRows(rows, rowsMultiple)
    const feeds: Feeds = {}
    for (const port of this.#ports) feeds[port.name] = port.over(gathered, rows, batch)
    const shape = this.#output === null ? null : withBatch(graph.score.shape!, batch)
    const fetch = shape === null ? null : this.#output!.tensor(shape.reduce((product, each) => product * each, 1), shape)
    const outputs = await run(session, feeds, { [graph.score.name]: fetch })
    return this.#reader.readAll(numbersOf(outputs[graph.score.name]!), batch, rows, scores, places, from)
  }
}
