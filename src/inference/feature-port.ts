import type { Tensor } from 'onnxruntime-node'
import { withBatch, type GraphInput } from './graph.js'
import type { Manifest } from './manifest.js'
import { TensorPort, tensorOver } from './tensor-port.js'

/** Rows of a model's features as they are gathered: [rows, W, F], W = 1 for row and recurrent models. */
export interface GatheredRows {
  readonly bits: Int32Array
  /** Where the first row's words begin. */
  readonly at: number
  /** Real rows of each window, and where the first of them stands; null = W is 1. */
  readonly lengths: Int32Array | null
  readonly lengthsAt: number
}

/**
 * One input of a graph that is not a state: takes what the graph wants to see from gathered rows into its own tensor. A
 * padding row of the batch is all zeros, of length 1.
 */
export class FeaturePort {
  readonly name: string
  readonly port: TensorPort
  /** True where the tensor is the gathered rows themselves: of a row model, one could gather into `port` at once. */
  readonly isPlain: boolean
  readonly #input: GraphInput
  readonly #features: number
  readonly #window: number
  readonly #timeMajor: boolean
  readonly #right: boolean
  readonly #columns: Int32Array
  /** Numbers of one row of the batch. */
  readonly #rowFloats: number

  constructor(input: GraphInput, { features, window, padding }: Manifest, batchRows: number) {
    this.name = input.name
    this.#input = input
    this.#features = features.length
    this.#window = window ?? 1
    this.#timeMajor = window !== undefined && input.shape[0] !== null
    this.#right = padding === 'right'
    this.#columns = input.columns ?? Int32Array.from(features, (_, index) => index)
    const { what } = input
    const steps = what === 'lengths' || what === 'last-row' ? 1 : this.#window
    this.#rowFloats = steps * (what === 'features' || what === 'last-row' ? this.#columns.length : 1)
    this.isPlain = what === 'features' && input.columns === null && input.type === 'float32' && !this.#timeMajor
    this.port = new TensorPort(input.type, batchRows * this.#rowFloats)
  }

  /** Fills the tensor's first `batch` rows, of which `rows` are real. */
  fill(gathered: GatheredRows, rows: number, batch: number): void {
    const { bits } = this.port
    const { what } = this.#input
    if (this.isPlain) {
      if (gathered.bits !== bits) bits.set(gathered.bits.subarray(gathered.at, gathered.at + rows * this.#rowFloats))
      bits.fill(0, rows * this.#rowFloats, batch * this.#rowFloats)
    } else if (what === 'features') this.#fillSteps(gathered, rows, batch)
    else if (what === 'last-row') this.#fillLast(gathered, rows, batch)
    else this.#fillLengths(gathered, rows, batch)
    this.port.load(batch * this.#rowFloats)
  }

  tensor(batch: number): Tensor {
    return this.port.tensor(batch * this.#rowFloats, withBatch(this.#input.shape, batch))
  }

  /** A tensor of `batch` rows, of which `rows` are real: over the gathered rows themselves where those are what the graph wants. */
  over(gathered: GatheredRows, rows: number, batch: number): Tensor {
    if (this.isPlain && rows === batch) return tensorOver(gathered.bits, gathered.at, batch * this.#rowFloats, withBatch(this.#input.shape, batch))
    this.fill(gathered, rows, batch)
    return this.tensor(batch)
  }

  #fillSteps({ bits: from, at }: GatheredRows, rows: number, batch: number): void {
    const { bits: to } = this.port
    const columns = this.#columns
    const width = columns.length
    const steps = this.#window
    const features = this.#features
    to.fill(0, 0, batch * this.#rowFloats)
    for (let row = 0; row < rows; row++) {
      for (let step = 0; step < steps; step++) {
        const readAt = at + (row * steps + step) * features
        const writeAt = (this.#timeMajor ? step * batch + row : row * steps + step) * width
        for (let i = 0; i < width; i++) to[writeAt + i] = from[readAt + columns[i]!]!
      }
    }
  }

  #fillLast({ bits: from, at, lengths, lengthsAt }: GatheredRows, rows: number, batch: number): void {
    const { bits: to } = this.port
    const columns = this.#columns
    const width = columns.length
    to.fill(0, rows * width, batch * width)
    for (let row = 0; row < rows; row++) {
      const step = this.#right ? lengths![lengthsAt + row]! - 1 : this.#window - 1
      const readAt = at + (row * this.#window + step) * this.#features
      for (let i = 0; i < width; i++) to[row * width + i] = from[readAt + columns[i]!]!
    }
  }

  #fillLengths({ lengths, lengthsAt }: GatheredRows, rows: number, batch: number): void {
    const { floats } = this.port
    const { what } = this.#input
    const window = this.#window
    if (what !== 'lengths') floats.fill(what === 'mask' ? 0 : 1, 0, batch * window)
    const real = what === 'mask' ? 1 : 0
    for (let row = 0; row < batch; row++) {
      const length = row < rows ? lengths![lengthsAt + row]! : 1
      if (what === 'lengths') {
        floats[row] = length
        continue
      }
      const first = this.#right ? 0 : window - length
      for (let step = first; step < first + length; step++) floats[this.#timeMajor ? step * batch + row : row * window + step] = real
    }
  }
}
