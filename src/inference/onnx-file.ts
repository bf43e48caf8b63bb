import { HarrierError, messageOf } from '../base/errors.js'
import { ProtobufFile, type ProtobufField } from './protobuf-file.js'

/** What stands in an ONNX file besides what a session tells: nothing of its weights is read. */
export interface OnnxFile {
  readonly irVersion: number
  /** `pytorch 2.15.0`; empty when the exporter left it out. */
  readonly producer: string
  /** Operator sets by domain; `ai.onnx` is the standard one. */
  readonly opsets: readonly { readonly domain: string; readonly version: number }[]
  /** How often each operator stands in the graph, its subgraphs and functions; those of other domains as `domain:name`. */
  readonly operators: ReadonlyMap<string, number>
  /** Elements of all initializers that hold floats or quantised weights. */
  readonly parameters: number
  /** Nodes of tree ensembles. */
  readonly treeNodes: number
  /** Files that initializers take their data from, as the model names them. */
  readonly externalFiles: readonly string[]
  /** The operator that makes each output of a node of the main graph, with its inputs and text attributes. */
  readonly producers: ReadonlyMap<string, OnnxNode>
}

export interface OnnxNode {
  readonly operator: string
  readonly inputs: readonly string[]
  readonly attributes: ReadonlyMap<string, string>
}

// Field numbers of onnx.proto3.
const Model = { irVersion: 1, producerName: 2, producerVersion: 3, graph: 7, opsets: 8, functions: 25 }
const Opset = { domain: 1, version: 2 }
const Graph = { node: 1, initializer: 5 }
const FunctionProto = { node: 7 }
const Node = { input: 1, output: 2, operator: 4, attribute: 5, domain: 7 }
const Attribute = { name: 1, text: 4, tensor: 5, graph: 6, integers: 8, graphs: 11 }
const TensorProto = { dims: 1, type: 2, external: 13 }
const Entry = { key: 1, value: 2 }

/** Types of a tensor that are no weights: int32, int64, string, bool. */
const otherTypes = new Set([6, 7, 8, 9])

/** Reads the structure of an ONNX file, whatever its size. Errors: MODEL_INVALID when it is none. */
export function readOnnxFile(path: string): OnnxFile {
  let file: ProtobufFile | undefined
  try {
    file = new ProtobufFile(path)
    return new OnnxWalk(file).read()
  } catch (error) {
    if (!file) throw new HarrierError('MODEL_INVALID', `${path} cannot be read: ${messageOf(error)}`, { cause: error, remedy: 'give the path of an .onnx file' })
    throw new HarrierError('MODEL_INVALID', `${path} is no ONNX file: ${messageOf(error)}`, { cause: error, remedy: 'export the model as .onnx' })
  } finally {
    file?.close()
  }
}

class OnnxWalk {
  readonly #file: ProtobufFile
  readonly #operators = new Map<string, number>()
  readonly #external = new Set<string>()
  readonly #producers = new Map<string, OnnxNode>()
  #parameters = 0
  #treeNodes = 0

  constructor(file: ProtobufFile) {
    this.#file = file
  }

  read(): OnnxFile {
    const opsets: { domain: string; version: number }[] = []
    const head = { irVersion: 0, name: '', version: '' }
    let hasGraph = false
    for (const field of this.#file.fields()) {
      if (field.number === Model.irVersion) head.irVersion = field.value
      else if (field.number === Model.producerName) head.name = this.#file.text(field)
      else if (field.number === Model.producerVersion) head.version = this.#file.text(field)
      else if (field.number === Model.opsets) opsets.push(this.#opset(field))
      else if (field.number === Model.functions) this.#nodes(field, FunctionProto.node, false)
      else if (field.number === Model.graph) {
        hasGraph = true
        this.#graph(field, true)
      }
    }
    if (!hasGraph) throw new Error('it has no graph')
    return {
      irVersion: head.irVersion,
      producer: `${head.name} ${head.version === 'None' ? '' : head.version}`.trim(),
      opsets,
      operators: new Map([...this.#operators].sort(([a], [b]) => a.localeCompare(b, 'en'))),
      parameters: this.#parameters,
      treeNodes: this.#treeNodes,
      externalFiles: [...this.#external].sort(),
      producers: this.#producers,
    }
  }

  #opset(field: ProtobufField): { domain: string; version: number } {
    const opset = { domain: 'ai.onnx', version: 0 }
    for (const inner of this.#file.fields(field)) {
      if (inner.number === Opset.domain) opset.domain = this.#file.text(inner) || 'ai.onnx'
      else if (inner.number === Opset.version) opset.version = inner.value
    }
    return opset
  }

  #graph(graph: ProtobufField, isMain: boolean): void {
    this.#nodes(graph, Graph.node, isMain)
    for (const field of this.#file.fields(graph)) if (field.number === Graph.initializer) this.#tensor(field, true)
  }

  #nodes(parent: ProtobufField, number: number, isMain: boolean): void {
    for (const field of this.#file.fields(parent)) if (field.number === number) this.#node(field, isMain)
  }

  #node(node: ProtobufField, isMain: boolean): void {
    const inputs: string[] = []
    const outputs: string[] = []
    const attributes = new Map<string, string>()
    let operator = ''
    let domain = ''
    for (const field of this.#file.fields(node)) {
      if (field.number === Node.input) inputs.push(this.#file.text(field))
      else if (field.number === Node.output) outputs.push(this.#file.text(field))
      else if (field.number === Node.operator) operator = this.#file.text(field)
      else if (field.number === Node.domain) domain = this.#file.text(field)
      else if (field.number === Node.attribute) this.#attribute(field, attributes)
    }
    const name = domain === '' || domain === 'ai.onnx' ? operator : `${domain}:${operator}`
    this.#operators.set(name, (this.#operators.get(name) ?? 0) + 1)
    if (isMain) for (const output of outputs) this.#producers.set(output, { operator, inputs, attributes })
  }

  #attribute(attribute: ProtobufField, attributes: Map<string, string>): void {
    let name = ''
    let integers = 0
    for (const field of this.#file.fields(attribute)) {
      if (field.number === Attribute.name) name = this.#file.text(field)
      else if (field.number === Attribute.text) attributes.set(name, this.#file.text(field))
      else if (field.number === Attribute.graph || field.number === Attribute.graphs) this.#graph(field, false)
      else if (field.number === Attribute.tensor) this.#tensor(field, false)
      else if (field.number === Attribute.integers) integers += this.#file.varints(field).length
    }
    if (name === 'nodes_treeids') this.#treeNodes += integers
  }

  #tensor(tensor: ProtobufField, counts: boolean): void {
    const dims: number[] = []
    let type = 0
    for (const field of this.#file.fields(tensor)) {
      if (field.number === TensorProto.dims) dims.push(...this.#file.varints(field))
      else if (field.number === TensorProto.type) type = field.value
      else if (field.number === TensorProto.external) this.#externalEntry(field)
    }
    if (counts && !otherTypes.has(type)) this.#parameters += dims.reduce((product, size) => product * size, 1)
  }

  #externalEntry(entry: ProtobufField): void {
    let key = ''
    let value = ''
    for (const field of this.#file.fields(entry)) {
      if (field.number === Entry.key) key = this.#file.text(field)
      else if (field.number === Entry.value) value = this.#file.text(field)
    }
    if (key === 'location') this.#external.add(value)
  }
}
