import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { HarrierError } from '../base/errors.js'
import { manifestReference, type Manifest } from './manifest.js'

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
}

/** A state: [outer, B, inner], where outer is 1 unless the batch axis is not the first. */
export interface GraphState {
  readonly input: string
  readonly output: string
  readonly shape: ShapeTemplate
  readonly outer: number
  readonly inner: number
}

/** What runners need to know of a graph. */
export interface Graph {
  readonly features: GraphInput
  /** `lengths` and `mask` inputs, if any. */
  readonly extras: readonly GraphInput[]
  readonly states: readonly GraphState[]
  /** Shape null = known only after a run. */
  readonly score: { readonly name: string; readonly shape: ShapeTemplate | null }
  /** The batch size that the graph insists on; null = free. */
  readonly fixedBatch: number | null
}

/** Compares a session's inputs and outputs with the manifest. Errors: MODEL_INVALID, naming the input or output. */
export function readGraph(session: InferenceSession, manifest: Manifest): Graph {
  const reference = manifestReference(manifest)
  const wrong = (message: string): never => {
    throw new HarrierError('MODEL_INVALID', `${reference}: ${message}`, { remedy: 'correct the manifest, or export the model again' })
  }
  const describe = (shape: readonly (number | string)[]): string => `[${shape.join(', ')}]`
  const metadata = (list: readonly InferenceSession.ValueMetadata[], name: string, side: string): InferenceSession.TensorValueMetadata => {
    const found = list.find((each) => each.name === name)
    if (!found) return wrong(`the graph has no ${side} "${name}", only ${list.map((each) => each.name).join(', ')}`)
    if (!found.isTensor) return wrong(`${side} "${name}" is not a tensor`)
    return found
  }
  const batchSizes = new Set<number>()
  /** Checks the shape against the template of the manifest. */
  const fits = (shape: readonly (number | string)[], template: ShapeTemplate): boolean =>
    shape.length === template.length &&
    shape.every((size, axis) => {
      if (typeof size === 'string') return true
      if (template[axis] !== null) return size === template[axis]
      batchSizes.add(size)
      return true
    })
  const choose = (name: string, shape: readonly (number | string)[], templates: readonly ShapeTemplate[]): ShapeTemplate => {
    const template = templates.find((each) => fits(shape, each))
    const expected = templates.map((each) => describe(each.map((size) => size ?? 'B'))).join(' or ')
    return template ?? wrong(`"${name}" has shape ${describe(shape)}, expected ${expected}`)
  }
  const unnamed = session.inputNames.filter((name) => !manifest.inputs.some((input) => input.name === name))
  if (unnamed.length > 0) wrong(`the manifest does not name the inputs ${unnamed.join(', ')}`)
  const inputs = manifest.inputs.map(({ name, what }): GraphInput => {
    const { type, shape } = metadata(session.inputMetadata, name, 'input')
    const wanted = inputTypes[what === 'lengths' || what === 'mask' ? what : 'float']
    if (!wanted.includes(type)) wrong(`input "${name}" is ${type}, expected ${wanted.join(' or ')}`)
    return { name, what, type, shape: choose(name, shape, inputTemplates(manifest, what)) }
  })
  const states = manifest.states.map((state, index) => {
    const input = inputs.find((each) => each.what === `state:${index}`)!
    const output = manifest.outputs.find((each) => each.what === `next-state:${index}`)!.name
    if (metadata(session.outputMetadata, output, 'output').type !== 'float32') wrong(`output "${output}" is not float32`)
    const outer = state.batchAxis === 0 ? 1 : state.shape[0]!
    return { input: input.name, output, shape: input.shape, outer, inner: state.shape.reduce((product, size) => product * size, 1) / outer }
  })
  const scoreName = manifest.outputs.find((each) => each.what === 'score')!.name
  const score = metadata(session.outputMetadata, scoreName, 'output')
  if (score.type !== 'float32') wrong(`output "${scoreName}" is ${score.type}, expected float32`)
  if (batchSizes.size > 1) wrong(`its inputs have different fixed batch sizes: ${[...batchSizes].join(', ')}`)
  const fixedBatch = [...batchSizes][0] ?? null
  return {
    features: inputs.find((each) => each.what === 'features')!,
    extras: inputs.filter((each) => each.what === 'lengths' || each.what === 'mask'),
    states,
    score: { name: scoreName, shape: scoreShape(score.shape, fixedBatch) },
    fixedBatch,
  }
}

const inputTypes: Record<'float' | 'lengths' | 'mask', readonly Tensor.Type[]> = {
  float: ['float32'],
  lengths: ['int64', 'int32'],
  mask: ['float32', 'bool'],
}

function inputTemplates(manifest: Manifest, what: string): ShapeTemplate[] {
  const features = manifest.features.length
  const batchMajor = manifest.layout === 'batch-major'
  const window = manifest.window ?? 0
  const state = /^state:(\d+)$/.exec(what)
  if (state) {
    const { shape, batchAxis } = manifest.states[Number(state[1])]!
    return [batchAxis === 0 ? [null, ...shape] : [shape[0]!, null, ...shape.slice(1)]]
  }
  if (what === 'lengths') return [[null], [null, 1]]
  if (what === 'mask') return batchMajor ? [[null, window], [null, window, 1]] : [[window, null], [window, null, 1]]
  if (manifest.kind === 'window') {
    return batchMajor ? [[null, window, features], [null, 1, window, features], [null, window * features]] : [[window, null, features]]
  }
  return batchMajor ? [[null, features], [null, 1, features]] : [[null, features], [1, null, features]]
}

/** The score's shape where exactly one axis is open, or one has the fixed batch size. */
function scoreShape(shape: readonly (number | string)[], fixedBatch: number | null): ShapeTemplate | null {
  const open = shape.map((size, axis) => (typeof size === 'string' ? axis : -1)).filter((axis) => axis >= 0)
  if (open.length === 1) return shape.map((size) => (typeof size === 'string' ? null : size))
  const fixed = fixedBatch === null ? -1 : shape.indexOf(fixedBatch)
  return open.length === 0 && fixed >= 0 ? shape.map((size, axis) => (axis === fixed ? null : (size as number))) : null
}
