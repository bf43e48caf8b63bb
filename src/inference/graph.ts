import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { HarrierError } from '../base/errors.js'
import type { Manifest } from './manifest.js'
import { inputTypes, scoreTypes, stateTypes } from './tensor-port.js'

/** A shape with the batch's place left open; `null` stands for it. */
export type ShapeTemplate = readonly (number | null)[]

export function withBatch(template: ShapeTemplate, batch: number): number[] {
  return template.map((size) => size ?? batch)
}

export interface GraphInput {
  readonly name: string
  readonly what: string
  readonly type: Tensor.Type
  readonly shape: ShapeTemplate
  /** Which of the manifest's features it reads; null = all of them, in order. */
  readonly columns: Int32Array | null
}

/** A state: [outer, B, inner], where outer is 1 unless the batch axis is not the first. */
export interface GraphState {
  readonly input: string
  readonly output: string
  readonly type: Tensor.Type
  readonly shape: ShapeTemplate
  readonly outer: number
  readonly inner: number
}

/** What runners need to know of a graph. */
export interface Graph {
  /** All inputs but states. */
  readonly inputs: readonly GraphInput[]
  readonly states: readonly GraphState[]
  /** Shape null = known only after a run. */
  readonly score: { readonly name: string; readonly type: Tensor.Type; readonly shape: ShapeTemplate | null }
  /** The batch size that the graph insists on; null = free. */
  readonly fixedBatch: number | null
}

type Metadata = InferenceSession.TensorValueMetadata

/**
 * Compares a session's inputs and outputs with the manifest.
 * Errors: MODEL_INVALID, naming the file, the field, what is wrong, and what to write instead.
 */
export function readGraph(session: InferenceSession, manifest: Manifest, file = 'model.yaml'): Graph {
  return new GraphReader(session, manifest, file).read()
}

class GraphReader {
  readonly #session: InferenceSession
  readonly #manifest: Manifest
  readonly #file: string
  /** Fixed sizes that stand where the batch should be, by who has them. */
  readonly #batchSizes = new Map<number, string>()

  constructor(session: InferenceSession, manifest: Manifest, file: string) {
    this.#session = session
    this.#manifest = manifest
    this.#file = file
  }

  read(): Graph {
    const manifest = this.#manifest
    const unnamed = this.#session.inputNames.filter((name) => !manifest.inputs.some((input) => input.name === name))
    if (unnamed.length > 0) {
      this.#wrong('inputs', `the manifest does not name the inputs ${unnamed.join(', ')}`, `add - {name: ${unnamed[0]}, what: …}`)
    }
    const inputs = manifest.inputs.map((input, index) => this.#input(input, `inputs[${index}]`))
    const score = this.#score()
    const states = manifest.states.map((_, index) => this.#state(index, inputs))
    if (this.#batchSizes.size > 1) {
      const sizes = [...this.#batchSizes].map(([size, name]) => `${name} ${size}`).join(', ')
      this.#wrong('inputs', `they have different fixed batch sizes: ${sizes}`, 'export the model with one batch size, or with a free one')
    }
    const fixedBatch = [...this.#batchSizes.keys()][0] ?? null
    return {
      inputs: inputs.filter((each) => !each.what.startsWith('state:')),
      states,
      score: { name: score.name, type: score.type, shape: scoreShape(score.shape, fixedBatch) },
      fixedBatch,
    }
  }

  #wrong(field: string, message: string, write: string): never {
    throw new HarrierError('MODEL_INVALID', `${this.#file}: ${field}: ${message}; ${write}`, { remedy: 'correct the manifest, or export the model again' })
  }

  #metadata(list: readonly InferenceSession.ValueMetadata[], name: string, field: string, side: string): Metadata {
    const found = list.find((each) => each.name === name)
    if (!found) return this.#wrong(`${field}.name`, `the graph has no ${side} "${name}"`, `write one of: ${list.map((each) => each.name).join(', ')}`)
    if (!found.isTensor) {
      const zipMap = "export again with options={id(model): {'zipmap': False}} (skl2onnx), or zipmap=False (onnxmltools)"
      return this.#wrong(`${field}.name`, `${side} "${name}" is no tensor but a sequence or a map`, zipMap)
    }
    return found
  }

  #input({ name, what, columns }: Manifest['inputs'][number], field: string): GraphInput {
    const { features } = this.#manifest
    const { type, shape } = this.#metadata(this.#session.inputMetadata, name, field, 'input')
    const types = what.startsWith('state:') ? stateTypes : inputTypes
    if (!types.includes(type)) this.#wrong(field, `input "${name}" is ${type}`, `export it as one of ${types.join(', ')}`)
    const chosen = columns ? Int32Array.from(columns, (column) => features.indexOf(column)) : null
    const inOrder = chosen?.length === features.length && chosen.every((at, index) => at === index)
    return { name, what, type, shape: this.#choose(name, field, shape, this.#templates(what, columns?.length ?? features.length)), columns: inOrder ? null : chosen }
  }

  #state(index: number, inputs: readonly GraphInput[]): GraphState {
    const { states, outputs } = this.#manifest
    const state = states[index]!
    const input = inputs.find((each) => each.what === `state:${index}`)!
    const at = outputs.findIndex((each) => each.what === `next-state:${index}`)
    const output = outputs[at]!.name
    const { type } = this.#metadata(this.#session.outputMetadata, output, `outputs[${at}]`, 'output')
    if (type !== input.type) this.#wrong(`outputs[${at}]`, `output "${output}" is ${type}, the state that it follows is ${input.type}`, 'export both with the same type')
    const outer = state.batchAxis === 0 ? 1 : state.shape[0]!
    const inner = state.shape.reduce((product, size) => product * size, 1) / outer
    return { input: input.name, output, type, shape: input.shape, outer, inner }
  }

  #score(): Metadata {
    const { outputs, score } = this.#manifest
    const at = outputs.findIndex((each) => each.what === 'score')
    const found = this.#metadata(this.#session.outputMetadata, outputs[at]!.name, `outputs[${at}]`, 'output')
    if (!scoreTypes.includes(found.type)) this.#wrong(`outputs[${at}]`, `output "${found.name}" is ${found.type}`, `export it as one of ${scoreTypes.join(', ')}`)
    const classes = found.shape.at(-1)
    if (found.shape.length >= 2 && typeof classes === 'number' && score.column >= classes) {
      const highest = classes === 1 ? '0' : `0 to ${classes - 1}`
      this.#wrong('score.column', `output "${found.name}" has shape ${describe(found.shape)}, so there is no class ${score.column}`, `write ${highest}`)
    }
    if (score.meaning === 'logits' && classes === 1) {
      this.#wrong('score.meaning', `output "${found.name}" has one number for each row, and a softmax of one number is 1`, 'write logit')
    }
    return found
  }

  #choose(name: string, field: string, shape: readonly (number | string)[], templates: readonly ShapeTemplate[]): ShapeTemplate {
    const fitting = templates.filter((each) => fits(shape, each))
    // where two fit, one of them would take the other's window for a fixed batch
    const template = fitting.find((each) => each.every((size, axis) => size !== null || typeof shape[axis] === 'string')) ?? fitting[0]
    shape.forEach((size, axis) => typeof size === 'number' && template?.[axis] === null && this.#batchSizes.set(size, name))
    const expected = templates.map((each) => describe(each.map((size) => size ?? 'B'))).join(' or ')
    return template ?? this.#wrong(field, `"${name}" has shape ${describe(shape)}, expected ${expected}`, this.#hint(shape))
  }

  /** What in the manifest could explain a shape. */
  #hint(shape: readonly (number | string)[]): string {
    const { features, window, kind, layout } = this.#manifest
    const width = shape.at(-1)
    if (shape.length > 1 && typeof width === 'number' && width !== features.length) return `correct features (${features.length} now), columns, window or states`
    if (kind === 'row' && shape.length === 3) return `write kind: window and window: ${typeof shape[1] === 'number' ? shape[1] : '<rows>'}`
    if (kind === 'window' && shape.length === 3 && shape[0] === window && layout === 'batch-major') return 'write layout: time-major'
    return 'correct features, columns, window, layout or states'
  }

  /** Shapes that an input may have; `width`: how many features it reads. */
  #templates(what: string, width: number): ShapeTemplate[] {
    const { kind, layout, states } = this.#manifest
    const batchMajor = layout === 'batch-major'
    const window = this.#manifest.window ?? 0
    const state = /^state:(\d+)$/.exec(what)
    const flat: ShapeTemplate[] = width === 1 ? [[null]] : []
    if (state) {
      const { shape, batchAxis } = states[Number(state[1])]!
      return [batchAxis === 0 ? [null, ...shape] : [shape[0]!, null, ...shape.slice(1)]]
    }
    if (what === 'lengths') return [[null], [null, 1]]
    if (what === 'mask' || what === 'padding-mask') {
      // frameworks that put time first keep masks the other way round, some of them
      const masks: ShapeTemplate[][] = [[[null, window], [null, window, 1], [null, 1, 1, window]], [[window, null], [window, null, 1]]]
      return (batchMajor ? masks : masks.reverse()).flat()
    }
    if (kind !== 'window' || what === 'last-row') return [[null, width], ...(batchMajor ? [[null, 1, width]] : [[1, null, width]]), ...flat]
    const series: ShapeTemplate[] = width === 1 ? [batchMajor ? [null, window] : [window, null]] : []
    if (!batchMajor) return [[window, null, width], ...series]
    return [[null, window, width], [null, 1, window, width], [null, window * width], ...series]
  }
}

function fits(shape: readonly (number | string)[], template: ShapeTemplate): boolean {
  return shape.length === template.length && shape.every((size, axis) => typeof size === 'string' || size === (template[axis] ?? size))
}

function describe(shape: readonly (number | string)[]): string {
  return `[${shape.map((size) => (size === '' ? '?' : size)).join(', ')}]`
}

/** The score's shape where exactly one axis is open, or one has the fixed batch size. */
function scoreShape(shape: readonly (number | string)[], fixedBatch: number | null): ShapeTemplate | null {
  const open = shape.map((size, axis) => (typeof size === 'string' ? axis : -1)).filter((axis) => axis >= 0)
  if (open.length === 1) return shape.map((size) => (typeof size === 'string' ? null : size))
  const fixed = fixedBatch === null ? -1 : shape.indexOf(fixedBatch)
  return open.length === 0 && fixed >= 0 ? shape.map((size, axis) => (axis === fixed ? null : (size as number))) : null
}
