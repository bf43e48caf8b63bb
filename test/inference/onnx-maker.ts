import { Prng } from '../../src/base/prng.js'

// A small writer of ONNX files (protobuf by hand), so that tests have models without Python. Field numbers: onnx.proto3.

type Field = [field: number, value: Uint8Array | string | bigint | number]

function varint(value: bigint): number[] {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, value)
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  return [...bytes, Number(rest)]
}

/** A protobuf message. Numbers that are not bigint are float32. */
function message(fields: Field[]): Uint8Array {
  const parts: Uint8Array[] = []
  for (const [field, value] of fields) {
    if (typeof value === 'bigint') parts.push(Uint8Array.from([...varint(BigInt(field) << 3n), ...varint(value)]))
    else if (typeof value === 'number') parts.push(Uint8Array.from(varint((BigInt(field) << 3n) | 5n)), new Uint8Array(Float32Array.of(value).buffer))
    else {
      const bytes = typeof value === 'string' ? Buffer.from(value) : value
      parts.push(Uint8Array.from([...varint((BigInt(field) << 3n) | 2n), ...varint(BigInt(bytes.length))]), bytes)
    }
  }
  return Buffer.concat(parts)
}

type AttributeValue = bigint | number | string | bigint[] | GraphBuilder
export type Shape = (number | string)[]

const FLOAT = 1
const INT64 = 7
const BOOL = 9

function attribute(name: string, value: AttributeValue): Uint8Array {
  if (value instanceof GraphBuilder) return message([[1, name], [6, value.encode()], [20, 5n]])
  if (typeof value === 'bigint') return message([[1, name], [3, value], [20, 2n]])
  if (typeof value === 'number') return message([[1, name], [2, value], [20, 1n]])
  if (typeof value === 'string') return message([[1, name], [4, value], [20, 3n]])
  return message([[1, name], ...value.map((each): Field => [8, each]), [20, 7n]])
}

function valueInfo(name: string, type: number, shape: Shape): Uint8Array {
  const dims = shape.map((size): Field => [1, message([typeof size === 'number' ? [1, BigInt(size)] : [2, size]])])
  return message([[1, name], [2, message([[1, message([[1, BigInt(type)], [2, message(dims)]])]])]])
}

/** Builds one graph: operators are added in order, each returns the name of its output. */
export class GraphBuilder {
  readonly #nodes: Uint8Array[] = []
  readonly #initializers: Uint8Array[] = []
  readonly #inputs: Uint8Array[] = []
  readonly #outputs: Uint8Array[] = []
  readonly #prng: Prng
  readonly #prefix: string
  #names = 0

  constructor(seed = 1, prefix = '') {
    this.#prng = new Prng(seed)
    this.#prefix = prefix
  }

  input(name: string, shape: Shape, type = FLOAT): string {
    this.#inputs.push(valueInfo(name, type, shape))
    return name
  }

  output(from: string, name: string, shape: Shape, type = FLOAT): void {
    this.#nodes.push(message([[1, from], [2, name], [4, 'Identity']]))
    this.#outputs.push(valueInfo(name, type, shape))
  }

  floats(dims: number[], values: number[]): string {
    return this.#tensor(FLOAT, dims, new Uint8Array(Float32Array.from(values).buffer))
  }

  ints(values: number[], dims = [values.length]): string {
    return this.#tensor(INT64, dims, new Uint8Array(BigInt64Array.from(values, BigInt).buffer))
  }

  /** Float weights that lie in a file beside the model. */
  external(dims: number[], location: string, offset: number): string {
    const name = this.#name()
    const entry = (key: string, value: string): Field => [13, message([[1, key], [2, value]])]
    const bytes = dims.reduce((product, size) => product * size, 4)
    const entries = [entry('location', location), entry('offset', String(offset)), entry('length', String(bytes))]
    this.#initializers.push(message([...dims.map((size): Field => [1, BigInt(size)]), [2, BigInt(FLOAT)], [8, name], ...entries, [14, 1n]]))
    return name
  }

  /** Seeded normal weights. */
  weights(...dims: number[]): string {
    const size = dims.reduce((product, each) => product * each, 1)
    const scale = 1 / Math.sqrt(dims[0]!)
    return this.floats(dims, Array.from({ length: size }, () => this.#prng.normal() * scale))
  }

  op(type: string, inputs: string[], attributes: Record<string, AttributeValue> = {}, outputs = 1): string {
    const names = Array.from({ length: outputs }, () => this.#name())
    const fields: Field[] = [...inputs.map((name): Field => [1, name]), ...names.map((name): Field => [2, name]), [4, type]]
    this.#nodes.push(message([...fields, ...Object.entries(attributes).map(([name, value]): Field => [5, attribute(name, value)])]))
    return names.at(-1)!
  }

  dense(x: string, from: number, to: number): string {
    return this.op('Gemm', [x, this.weights(from, to), this.weights(to)])
  }

  encode(): Uint8Array {
    const fields = (field: number, parts: Uint8Array[]): Field[] => parts.map((part): Field => [field, part])
    const values = [...fields(5, this.#initializers), ...fields(11, this.#inputs), ...fields(12, this.#outputs)]
    return message([...fields(1, this.#nodes), [2, 'test'], ...values])
  }

  model(): Uint8Array {
    return message([[1, 8n], [8, message([[1, ''], [2, 17n]])], [7, this.encode()]])
  }

  #tensor(type: number, dims: number[], raw: Uint8Array): string {
    const name = this.#name()
    this.#initializers.push(message([...dims.map((size): Field => [1, BigInt(size)]), [2, BigInt(type)], [8, name], [9, raw]]))
    return name
  }

  #name(): string {
    return `${this.#prefix}t${this.#names++}`
  }
}

/** Feature 0 of a row that makes a trapped model throw, or hang for seconds. */
export const THROW_AT = 1000
export const HANG_AT = 2000

/** Adds 0 to a value, unless some row's feature 0 is about THROW_AT (the run throws) or HANG_AT (the run takes seconds). */
export function addTraps(graph: GraphBuilder, x: string, value: string): string {
  const first = graph.op('Gather', [x, graph.ints([0], [])], { axis: -1n })
  const highest = graph.op('ReduceMax', [first], { keepdims: 0n })
  const number = (of: number): string => graph.floats([], [of])
  const about = (at: number): string =>
    graph.op('And', [graph.op('Greater', [highest, number(at - 100)]), graph.op('Less', [highest, number(at + 100)])])
  const asInt = (flag: string): string => graph.op('Cast', [flag], { to: BigInt(INT64) })
  const zero = graph.op('Gather', [graph.floats([1], [0]), asInt(about(THROW_AT))], { axis: 0n })
  const trips = graph.op('Mul', [asInt(about(HANG_AT)), graph.ints([280_000], [])])
  const body = new GraphBuilder(3, 'body_')
  body.input('trip', [], INT64)
  body.input('going_in', [], BOOL)
  const carried = body.input('carried_in', [48, 48])
  body.output('going_in', 'going', [], BOOL)
  body.output(body.op('Tanh', [body.op('MatMul', [carried, body.weights(48, 48)])]), 'carried', [48, 48])
  const looped = graph.op('Loop', [trips, '', graph.floats([48, 48], Array<number>(48 * 48).fill(0))], { body })
  const nothing = graph.op('Mul', [graph.op('ReduceSum', [looped], { keepdims: 0n }), number(0)])
  return graph.op('Add', [graph.op('Add', [value, zero]), nothing])
}
