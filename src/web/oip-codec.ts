import type { Tensor } from 'onnxruntime-node'
import { HarrierError } from '../base/errors.js'
import { fromFloat16, toFloat16 } from '../inference/float16.js'
import { priorities, priorityDefault } from '../inference/serving/request-queue.js'
import { clipped, elementsOf, holderOf, type TensorData, type TensorValue } from '../inference/serving/tensor-value.js'
import { parseUntrusted } from './safe-json.js'

// Requests and answers of the Open Inference Protocol v2, with its binary tensor extension: JSON, followed by the raw bytes of
// tensors whose parameters say `binary_data_size`. https://github.com/kserve/open-inference-protocol

const datatypes: Readonly<Partial<Record<Tensor.Type, string>>> = { float32: 'FP32', float64: 'FP64', float16: 'FP16', int64: 'INT64', int32: 'INT32', bool: 'BOOL' }
const typesOf = new Map(Object.entries(datatypes).map(([type, datatype]) => [datatype, type as Tensor.Type]))

export function datatypeOf(type: Tensor.Type): string {
  return datatypes[type] ?? 'BYTES'
}

export interface OipRequest {
  readonly id: string | undefined
  readonly inputs: readonly TensorValue[]
  readonly outputs: readonly { readonly name: string; readonly binary: boolean }[] | null
  /** Outputs that are not named, or say nothing of their own, are binary. */
  readonly binaryOutput: boolean
  readonly priority: number
  /** Infinity = as long as the service lets it wait. */
  readonly timeoutMs: number
}

/** Of a tensor. */
const dimensionsMax = 16

type Json = Readonly<Record<string, unknown>>

function invalid(message: string, remedy?: string): never {
  throw new HarrierError('REQUEST_INVALID', message, remedy === undefined ? {} : { remedy })
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** `headerBytes`: what `Inference-Header-Content-Length` says. Errors: REQUEST_INVALID. */
export function readOipRequest(body: Uint8Array, headerBytes: string | undefined, depthMax: number): OipRequest {
  const jsonBytes = headerBytes === undefined ? body.length : Number(headerBytes)
  if (!Number.isSafeInteger(jsonBytes) || jsonBytes < 0 || jsonBytes > body.length) return invalid('Inference-Header-Content-Length is no length within the body')
  const request = parseUntrusted(body.subarray(0, jsonBytes), depthMax)
  if (!isObject(request)) return invalid('the body is no JSON object')
  const { id, inputs, outputs, parameters } = request
  if (id !== undefined && (typeof id !== 'string' || id.length > 256)) return invalid('id is no text of at most 256 characters')
  if (!Array.isArray(inputs)) return invalid('inputs is no list of tensors')
  const binary = new BinaryPart(body.subarray(jsonBytes))
  const tensors = inputs.map((input: unknown, index) => readTensor(input, `inputs[${index}]`, binary))
  binary.end()
  const settings = parametersOf(parameters, 'parameters')
  const binaryOutput = settings.binary_data_output === true
  return { id, inputs: tensors, outputs: readOutputs(outputs, binaryOutput), binaryOutput, priority: priorityOf(settings.priority), timeoutMs: timeoutOf(settings.timeout) }
}

function parametersOf(parameters: unknown, where: string): Json {
  if (parameters === undefined) return {}
  return isObject(parameters) ? parameters : invalid(`${where} is no JSON object`)
}

/** As Triton has it: 0 = the default, 1 the highest. */
function priorityOf(value: unknown): number {
  if (value === undefined || value === 0) return priorityDefault
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= priorities ? value : invalid(`parameters.priority is not 1 (first) to ${priorities}`)
}

/** As Triton has it: microseconds; 0 = none of its own. */
function timeoutOf(value: unknown): number {
  if (value === undefined || value === 0) return Infinity
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value / 1000 : invalid('parameters.timeout is no number of microseconds')
}

function readOutputs(outputs: unknown, binaryOutput: boolean): OipRequest['outputs'] {
  if (outputs === undefined) return null
  if (!Array.isArray(outputs)) return invalid('outputs is no list')
  if (outputs.length === 0) return null
  const seen = new Set<string>()
  return outputs.map((output: unknown, index) => {
    if (!isObject(output) || typeof output.name !== 'string') return invalid(`outputs[${index}] has no name`)
    if (seen.size === seen.add(output.name).size) return invalid(`outputs[${index}] (${clipped(output.name)}) is asked for twice`)
    const { binary_data: binary, classification } = parametersOf(output.parameters, `outputs[${index}].parameters`)
    if (classification !== undefined) return invalid(`outputs[${index}]: the classification extension is not there`)
    return { name: output.name, binary: typeof binary === 'boolean' ? binary : binaryOutput }
  })
}

/** What follows the JSON, taken a tensor at a time. */
class BinaryPart {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  take(size: number, where: string): Uint8Array {
    if (this.#at + size > this.#bytes.length) return invalid(`${where}: binary_data_size is ${size}, and only ${this.#bytes.length - this.#at} bytes are left`)
    this.#at += size
    return this.#bytes.subarray(this.#at - size, this.#at)
  }

  end(): void {
    if (this.#at !== this.#bytes.length) invalid(`${this.#bytes.length - this.#at} bytes follow the last tensor`)
  }
}

function readTensor(input: unknown, where: string, binary: BinaryPart): TensorValue {
  if (!isObject(input) || typeof input.name !== 'string') return invalid(`${where} has no name`)
  const { name, datatype, shape, data } = input
  const type = typeof datatype === 'string' ? typesOf.get(datatype) : undefined
  if (type === undefined) return invalid(`${where} (${clipped(name)}): datatype ${shown(datatype)} is none of ${[...typesOf.keys()].join(', ')}`)
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && (size as number) >= 0)) return invalid(`${where} (${clipped(name)}): shape is no list of sizes`)
  const dims = shape as number[]
  if (dims.length > dimensionsMax) return invalid(`${where} (${clipped(name)}): shape has ${dims.length} sizes, at most ${dimensionsMax} are taken`)
  const count = elementsOf(dims)
  const { binary_data_size: size } = parametersOf(input.parameters, `${where}.parameters`)
  if (size !== undefined) {
    if (data !== undefined) return invalid(`${where} (${clipped(name)}) has data and binary_data_size`)
    return { name, type, dims, data: fromBytes(type, count, binary, size, `${where} (${clipped(name)})`) }
  }
  if (!Array.isArray(data)) return invalid(`${where} (${clipped(name)}) has no data`)
  return { name, type, dims, data: fromJson(type, count, data, `${where} (${clipped(name)})`) }
}

/** For messages: a value of a stranger, which may have no text at all. */
function shown(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? clipped(String(value)) : value === null ? 'null' : typeof value
}

function fromBytes(type: Tensor.Type, count: number, binary: BinaryPart, size: unknown, where: string): TensorData {
  const Holder = holderOf(type)!
  const elementBytes = (Holder as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT
  const wanted = count * elementBytes
  if (size !== wanted) return invalid(`${where}: binary_data_size is ${shown(size)}, the shape needs ${wanted}`)
  const bytes = binary.take(wanted, where)
  // A copy where they begin between two multiples of the size of a value.
  return bytes.byteOffset % elementBytes === 0 ? new Holder(bytes.buffer as ArrayBuffer, bytes.byteOffset, count) : new Holder(new Uint8Array(bytes).buffer)
}

/** Flat or nested by rows, as both are met. */
function fromJson(type: Tensor.Type, count: number, data: readonly unknown[], where: string): TensorData {
  const values = Array.isArray(data[0]) ? (data.flat(Infinity) as unknown[]) : data
  if (values.length !== count) return invalid(`${where}: ${values.length} values, the shape needs ${count}`)
  const into = new (holderOf(type)!)(count)
  const wrong = (at: number, wanted: string): never => invalid(`${where}: value ${at} is not ${wanted}`)
  for (let at = 0; at < count; at++) {
    const value = values[at]
    if (type === 'bool') into[at] = typeof value === 'boolean' || value === 0 || value === 1 ? Number(value) : wrong(at, 'true or false')
    else if (typeof value !== 'number') wrong(at, 'a number')
    else if (type === 'int64') into[at] = Number.isSafeInteger(value) ? BigInt(value) : wrong(at, 'a whole number within 2^53; send larger ones as binary data')
    else if (type === 'int32') into[at] = Number.isInteger(value) && value === (value | 0) ? value : wrong(at, 'a whole number of 32 bits')
    else into[at] = type === 'float16' ? toFloat16(value) : value
  }
  return into
}

export interface OipReply {
  readonly body: Buffer | string
  /** Bytes of the JSON at the beginning where tensors follow it. */
  readonly headerBytes: number | undefined
}

/** Errors: REQUEST_INVALID for values that JSON cannot carry. */
export function writeOipReply(head: { readonly model_name: string; readonly model_version: string; readonly id?: string | undefined; readonly parameters?: Json }, outputs: readonly TensorValue[], request: Pick<OipRequest, 'outputs' | 'binaryOutput'>): OipReply {
  const parts: Buffer[] = []
  const described = outputs.map(({ name, type, dims, data }) => {
    const isBinary = request.outputs?.find((each) => each.name === name)?.binary ?? request.binaryOutput
    const tensor = { name, datatype: datatypeOf(type), shape: dims }
    if (!isBinary) return { ...tensor, data: toJson(name, type, data) }
    parts.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
    return { ...tensor, parameters: { binary_data_size: data.byteLength } }
  })
  const json = JSON.stringify({ ...head, outputs: described })
  if (parts.length === 0) return { body: json, headerBytes: undefined }
  const header = Buffer.from(json)
  return { body: Buffer.concat([header, ...parts]), headerBytes: header.length }
}

function toJson(name: string, type: Tensor.Type, data: TensorData): unknown[] {
  const binaryInstead = 'ask for binary output (parameters.binary_data_output), and look at the inputs'
  if (type === 'bool') return Array.from(data as Uint8Array, Boolean)
  const numbers = type === 'float16' ? Array.from(data as Uint16Array, fromFloat16) : Array.from(data as Float32Array, Number)
  if (type === 'int64' && !numbers.every(Number.isSafeInteger)) return invalid(`output "${name}" has whole numbers beyond 2^53, which JSON would round`, binaryInstead)
  return numbers.every(Number.isFinite) ? numbers : invalid(`output "${name}" is not finite, and JSON has no such number`, binaryInstead)
}
