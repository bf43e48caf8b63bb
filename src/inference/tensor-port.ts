import type { Tensor as RuntimeTensor } from 'onnxruntime-node'
import { fromFloat16, toFloat16 } from './float16.js'
import { Tensor, type TensorType } from './tensor.js'

type Data = Float32Array | Float64Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array

/** How the values of one tensor type are held and converted. Numbers go in and out as float32. */
interface Holder {
  make(size: number): Data
  /** Whole numbers are cut towards zero, NaN is 0; a bool is true unless it is 0 or NaN. */
  load(data: Data, floats: Float32Array, count: number): void
  store(data: Data, floats: Float32Array | Float64Array, count: number): void
}

const copy = (from: ArrayLike<number>, to: { [index: number]: number }, count: number): void => {
  for (let i = 0; i < count; i++) to[i] = from[i]!
}

const plain = (make: (size: number) => Exclude<Data, BigInt64Array>): Holder => ({
  make,
  load: (data, floats, count) => copy(floats, data as Float32Array, count),
  store: (data, floats, count) => copy(data as Float32Array, floats, count),
})

const holders = {
  float32: plain((size) => new Float32Array(size)),
  float64: plain((size) => new Float64Array(size)),
  int32: plain((size) => new Int32Array(size)),
  int64: {
    make: (size) => new BigInt64Array(size),
    load: (data, floats, count) => {
      for (let i = 0; i < count; i++) data[i] = BigInt(Number.isFinite(floats[i]) ? Math.trunc(floats[i]!) : 0)
    },
    store: (data, floats, count) => {
      for (let i = 0; i < count; i++) floats[i] = Number(data[i])
    },
  },
  bool: {
    ...plain((size) => new Uint8Array(size)),
    load: (data, floats, count) => {
      for (let i = 0; i < count; i++) data[i] = floats[i] ? 1 : 0
    },
  },
  float16: {
    make: (size) => new Uint16Array(size),
    load: (data, floats, count) => {
      for (let i = 0; i < count; i++) data[i] = toFloat16(floats[i]!)
    },
    store: (data, floats, count) => {
      for (let i = 0; i < count; i++) floats[i] = fromFloat16(data[i] as number)
    },
  },
} satisfies Record<string, Holder>

type HeldType = keyof typeof holders

export const inputTypes: readonly TensorType[] = ['float32', 'float16', 'int64', 'int32', 'bool']
export const stateTypes: readonly TensorType[] = ['float32', 'float16']
export const scoreTypes: readonly TensorType[] = ['float32', 'float16', 'float64', 'int64', 'int32', 'bool']

/**
 * A buffer that a tensor is made over. Its owner reads and writes `floats`; for a float32 tensor these are the tensor's own
 * memory, for another type `load` converts before a run and `store` after it.
 */
export class TensorPort {
  readonly type: HeldType
  readonly floats: Float32Array
  /** The same memory as 32-bit words: copies through it keep every bit. */
  readonly bits: Int32Array
  readonly #data: Data
  readonly #converts: boolean

  constructor(type: TensorType, size: number) {
    this.type = type as HeldType
    this.#data = holders[this.type].make(size)
    this.#converts = type !== 'float32'
    this.floats = this.#converts ? new Float32Array(size) : (this.#data as Float32Array)
    this.bits = new Int32Array(this.floats.buffer, this.floats.byteOffset, size)
  }

  load(count: number): void {
    if (this.#converts) holders[this.type].load(this.#data, this.floats, count)
  }

  store(count: number): void {
    if (this.#converts) holders[this.type].store(this.#data, this.floats, count)
  }

  /** A tensor over the first `count` numbers. */
  tensor(count: number, dims: readonly number[]): RuntimeTensor {
    return new Tensor(this.type as 'float32', this.#data.subarray(0, count) as Float32Array, dims)
  }
}

/** A float32 tensor over words that lie ready. */
export function tensorOver(bits: Int32Array, at: number, count: number, dims: readonly number[]): RuntimeTensor {
  return new Tensor('float32', new Float32Array(bits.buffer, bits.byteOffset + at * bits.BYTES_PER_ELEMENT, count), dims)
}

/** What a tensor holds, as numbers: its own memory unless the type must be converted. */
export function numbersOf(tensor: RuntimeTensor): Float32Array | Float64Array | Int32Array | Uint8Array {
  const { type, data } = tensor
  if (type !== 'int64' && type !== 'float16') return data as Float32Array
  const numbers = new Float64Array(tensor.size)
  holders[type].store(data as BigInt64Array | Uint16Array, numbers, tensor.size)
  return numbers
}
