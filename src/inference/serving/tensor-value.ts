import type { Tensor } from 'onnxruntime-node'
import type { ShapeTemplate } from '../graph.js'

export type TensorData = Float32Array | Float64Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array

/** A tensor outside the runtime: of a request, of an answer, or on its way to a thread. float16 is held as its bits. */
export interface TensorValue {
  readonly name: string
  readonly type: Tensor.Type
  readonly dims: readonly number[]
  readonly data: TensorData
}

/** An input or an output of a served model. `shape` null = known only after a run; in it null = the batch. */
export interface ServedTensor {
  readonly name: string
  readonly type: Tensor.Type
  readonly shape: ShapeTemplate | null
}

type Holder = new (source: number | ArrayBuffer, at?: number, length?: number) => TensorData

const holders: Readonly<Partial<Record<Tensor.Type, Holder>>> = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array,
}

/** The array that holds values of a type; undefined for types that no served model has. */
export function holderOf(type: Tensor.Type): Holder | undefined {
  return holders[type]
}

export function elementsOf(dims: readonly number[]): number {
  return dims.reduce((product, size) => product * size, 1)
}

/** How a tensor lies around its batch axis: [outer, batch, inner]. */
export interface BatchLayout {
  readonly outer: number
  readonly inner: number
}

export function batchLayout(dims: readonly number[], axis: number): BatchLayout {
  return { outer: elementsOf(dims.slice(0, axis)), inner: elementsOf(dims.slice(axis + 1)) }
}

/** Where the batch stands in an output: its open axis, or the first that is as long as the batch. -1 = nowhere. */
export function batchAxisOf({ shape }: ServedTensor, dims: readonly number[], batch: number): number {
  return shape === null ? dims.indexOf(batch) : shape.indexOf(null)
}

/** Puts [outer, rows, inner] at row `at` of [outer, batch, inner]. */
export function putRows(into: TensorData, batch: number, at: number, from: TensorData, rows: number, { outer, inner }: BatchLayout): void {
  for (let o = 0; o < outer; o++) {
    const part = from.subarray(o * rows * inner, (o + 1) * rows * inner)
    ;(into as Float32Array).set(part as Float32Array, (o * batch + at) * inner)
  }
}

/** Rows [at, at + rows) of [outer, batch, inner]: a view where they lie together, otherwise a copy. */
export function takeRows(from: TensorData, batch: number, at: number, rows: number, { outer, inner }: BatchLayout): TensorData {
  if (outer === 1) return from.subarray(at * inner, (at + rows) * inner)
  const taken = new (from.constructor as Holder)(outer * rows * inner)
  for (let o = 0; o < outer; o++) {
    const part = from.subarray((o * batch + at) * inner, (o * batch + at + rows) * inner)
    ;(taken as Float32Array).set(part as Float32Array, o * rows * inner)
  }
  return taken
}

/** What a message shows of a name that a stranger has given. */
export function clipped(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`
}
