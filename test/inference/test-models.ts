import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import { loadModelFolder } from '../../src/inference/model-store.js'
import { addTraps, GraphBuilder } from './onnx-maker.js'

/** F of the test stage, its features, and H of the recurrent models. */
export const F = 5
export const features = ['f0', 'f1', 'f2', 'f3', 'f4']
export const H = 12

export interface TestModel {
  readonly bytes: Uint8Array
  readonly manifest: Record<string, unknown>
}

const score = { name: 'score', what: 'score' }
const x = { name: 'x', what: 'features' }
const h = { name: 'h', what: 'state:0' }
const next0 = { name: 'h_next', what: 'next-state:0' }

function head(graph: GraphBuilder, hidden: string, size: number): string {
  return graph.op('Sigmoid', [graph.dense(hidden, size, 1)])
}

/** A GRU step of Gemm, Sigmoid and Tanh: x [B, F], h [B, H]. With traps when `trapped`. */
export function gruStep(seed = 1, trapped = false): TestModel {
  const graph = new GraphBuilder(seed)
  graph.input('x', ['B', F])
  graph.input('h', ['B', H])
  const gate = (): string => graph.op('Sigmoid', [graph.op('Add', [graph.dense('x', F, H), graph.dense('h', H, H)])])
  const update = gate()
  const candidate = graph.op('Tanh', [graph.op('Add', [graph.dense('x', F, H), graph.op('Mul', [gate(), graph.dense('h', H, H)])])])
  const next = graph.op('Add', [candidate, graph.op('Mul', [update, graph.op('Sub', ['h', candidate])])])
  const value = head(graph, next, H)
  graph.output(trapped ? addTraps(graph, 'x', value) : value, 'score', ['B', 1])
  graph.output(next, 'h_next', ['B', H])
  return { bytes: graph.model(), manifest: { kind: 'recurrent', features, inputs: [x, h], outputs: [score, next0], states: [{ shape: [H] }] } }
}

/** The GRU operator, two states stacked as one tensor [2, B, H] (batch axis 1), reading features 3, 1 and 0; the score is a logit. */
export function gruOperator(seed = 2): TestModel {
  const graph = new GraphBuilder(seed)
  graph.input('x', [1, 'B', 3])
  graph.input('h', [2, 'B', H])
  const split = graph.ints([0])
  const layer = (input: string, inputs: number, index: number): string => {
    const state = graph.op('Slice', ['h', graph.ints([index]), graph.ints([index + 1]), split])
    const weights = (rows: number, columns: number): string => graph.op('Unsqueeze', [graph.weights(rows, columns), split])
    const inputsOf = [input, weights(3 * H, inputs), weights(3 * H, H), graph.weights(1, 6 * H), '', state]
    return graph.op('GRU', inputsOf, { hidden_size: BigInt(H), linear_before_reset: 1n }, 2)
  }
  const first = layer('x', 3, 0)
  const second = layer(first, H, 1)
  graph.output(graph.dense(graph.op('Squeeze', [second, split]), H, 1), 'score', ['B', 1])
  graph.output(graph.op('Concat', [first, second], { axis: 0n }), 'h_next', [2, 'B', H])
  const shape = { kind: 'recurrent', layout: 'time-major', features: ['f3', 'f1', 'f0'], states: [{ shape: [2, H], batchAxis: 1 }] }
  return { bytes: graph.model(), manifest: { ...shape, inputs: [x, h], outputs: [score, next0], score: { meaning: 'logit' } } }
}

/** A state that becomes NaN when feature 0 is below -3, and a score that is NaN when feature 1 is below -3. */
export function poisonable(): TestModel {
  const graph = new GraphBuilder(3)
  graph.input('x', ['B', F])
  graph.input('h', ['B', H])
  const add = (a: string, b: string): string => graph.op('Add', [a, b])
  const column = (feature: number): string => graph.op('Gather', ['x', graph.ints([feature])], { axis: 1n })
  const log = (feature: number): string => graph.op('Log', [add(column(feature), graph.floats([], [3]))])
  const poison = graph.op('Mul', [log(0), graph.floats([], [0.1])])
  const next = graph.op('Tanh', [add(add(graph.dense('x', F, H), graph.dense('h', H, H)), poison)])
  graph.output(graph.op('Add', [head(graph, next, H), log(1)]), 'score', ['B', 1])
  graph.output(next, 'h_next', ['B', H])
  return { bytes: graph.model(), manifest: gruStep().manifest }
}

/** Window of 4, batch-major: flatten and Gemm, with a mask [B, 4] as a second input; sees padding and order. */
export function windowDense(seed = 4, trapped = false): TestModel {
  const graph = new GraphBuilder(seed)
  graph.input('x', ['B', 4, F])
  graph.input('mask', ['B', 4])
  const flat = graph.op('Concat', [graph.op('Flatten', ['x'], { axis: 1n }), 'mask'], { axis: 1n })
  const value = head(graph, graph.op('Tanh', [graph.dense(flat, 4 * F + 4, H)]), H)
  graph.output(trapped ? addTraps(graph, 'x', value) : value, 'score', ['B', 1])
  return { bytes: graph.model(), manifest: { kind: 'window', window: 4, features, inputs: [x, { name: 'mask', what: 'mask' }], outputs: [score] } }
}

/** Window of 8, time-major [8, B, 2]: the GRU operator, with lengths; two classes, of which the second is read. */
export function windowGru(seed = 5): TestModel {
  const graph = new GraphBuilder(seed)
  graph.input('x', [8, 'B', 2])
  graph.input('lengths', ['B'], 7)
  const zero = graph.ints([0])
  const weights = (rows: number, columns: number): string => graph.op('Unsqueeze', [graph.weights(rows, columns), zero])
  const last = graph.op('GRU', ['x', weights(3 * H, 2), weights(3 * H, H)], { hidden_size: BigInt(H) }, 2)
  const lengths = graph.op('Unsqueeze', [graph.op('Cast', ['lengths'], { to: 1n }), graph.ints([1])])
  const both = graph.op('Concat', [graph.op('Squeeze', [last, zero]), graph.op('Mul', [lengths, graph.floats([], [0.1])])], { axis: 1n })
  graph.output(graph.op('Softmax', [graph.dense(both, H + 1, 2)], { axis: 1n }), 'score', ['B', 2])
  const inputs = [x, { name: 'lengths', what: 'lengths' }]
  const shape = { kind: 'window', window: 8, layout: 'time-major', features: ['f4', 'f2'] }
  return { bytes: graph.model(), manifest: { ...shape, inputs, outputs: [score], score: { column: 1 } } }
}

/** A row model; with Log in it, whose bits may depend on a value's place in a vector, when `log`. */
export function rowModel(seed = 6, log = false): TestModel {
  const graph = new GraphBuilder(seed)
  graph.input('x', ['B', F])
  const hidden = graph.op('Tanh', [graph.dense('x', F, H)])
  const value = log ? graph.op('Log', [graph.op('Add', [graph.op('Abs', [hidden]), graph.floats([], [0.1])])]) : hidden
  graph.output(head(graph, value, H), 'score', ['B', 1])
  return { bytes: graph.model(), manifest: { kind: 'row', features, inputs: [x], outputs: [score] } }
}

/** Writes test models into a folder and loads them. */
export class TestStore {
  readonly root = mkdtempSync(join(tmpdir(), 'harrier-models-'))

  add(name: string, { bytes, manifest }: TestModel, more: Record<string, unknown> = {}): LoadedModel {
    const folder = join(this.root, name, '1')
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'model.onnx'), bytes)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    writeFileSync(join(folder, 'model.yaml'), stringify({ name, version: 1, file: 'model.onnx', sha256, ...manifest, ...more }))
    return loadModelFolder(folder)
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}
