import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { inspectModel, type ModelFacts } from '../../src/inference/inspect-model.js'
import type { Categories } from '../../src/inference/recodes.js'
import { GraphBuilder } from './onnx-maker.js'

const INT64 = 7
const BOOL = 9

// torch.onnx.export without dynamic_axes writes the sizes of its sample into the graph: no axis says that it is the batch.
describe('the proposed manifest of a graph in which every size is fixed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-proposal-'))
  after(() => rmSync(folder, { recursive: true, force: true }))

  const inspect = async (graph: GraphBuilder, stage: { features?: string[]; categories?: Categories } = {}): Promise<ModelFacts> => {
    const file = join(folder, 'model.onnx')
    writeFileSync(file, graph.model())
    const facts = await inspectModel(file, stage)
    assert.equal(facts.problem, null, facts.manifest)
    return facts
  }
  const has = ({ manifest }: ModelFacts, ...lines: string[]): void => lines.forEach((line) => assert.ok(manifest.split('\n').includes(line), `"${line}" in\n${manifest}`))

  test('of a window takes the size that every input and output has for the batch, wherever it stands', async () => {
    const graph = new GraphBuilder()
    const [rows, batch] = [5, 4]
    graph.input('series', [rows, batch, 3])
    graph.input('channel', [rows, batch], INT64)
    graph.input('mask', [batch, rows], BOOL)
    graph.input('len', [batch], INT64)
    graph.input('last', [batch, 2])
    const float = (name: string): string => graph.op('Cast', [name], { to: 1n })
    const flat = (name: string, perm: bigint[], size: number): string => graph.op('Reshape', [perm.length > 0 ? graph.op('Transpose', [name], { perm }) : name, graph.ints([batch, size])])
    const parts = [flat('series', [1n, 0n, 2n], 15), flat(float('channel'), [1n, 0n], 5), float('mask'), flat(float('len'), [], 1), 'last']
    graph.output(graph.op('MatMul', [graph.op('Concat', parts, { axis: 1n }), graph.weights(28, 3)]), 'logits', [batch, 3])
    const stage = { features: ['a', 'b', 'c', 'd', 'channel'], categories: new Map([['channel', ['WEB', 'ATM']]]) as Categories }
    has(
      await inspect(graph, stage),
      'window: 5', 'layout: time-major', 'padding: right',
      '# All shapes are fixed; 4 is taken for the batch, so rows are scored 4 at a time.',
      '- {name: channel, what: features, columns: [channel]}', '- {name: mask, what: mask}', '- {name: len, what: lengths}',
      '  channel: {values: [WEB, ATM]}',
    )
  })

  test('of a window exported for one sample takes it for a window, not for a step', async () => {
    const graph = new GraphBuilder()
    graph.input('x', [1, 16, 7])
    graph.output(graph.op('Sigmoid', [graph.op('MatMul', [graph.op('Reshape', ['x', graph.ints([1, 112])]), graph.weights(112, 1)])]), 'score', [1, 1])
    const facts = await inspect(graph)
    has(facts, 'kind: window', 'window: 16')
    assert.match(facts.manifest, /1 is taken for the batch, so rows are scored one by one\. Exported with a free batch it is faster/)
  })

  test('of a step carries its state', async () => {
    const graph = new GraphBuilder()
    graph.input('x', [2, 3])
    graph.input('h', [2, 6])
    const next = graph.op('Tanh', [graph.op('Add', [graph.dense('x', 3, 6), graph.dense('h', 6, 6)])])
    graph.output(graph.op('Sigmoid', [graph.dense(next, 6, 1)]), 'score', [2, 1])
    graph.output(next, 'h_next', [2, 6])
    has(await inspect(graph), 'kind: recurrent', "- {name: h, what: 'state:0'}", '- {shape: [6]}')
  })
})

test('an integer input is never fed with a number of the stage that happens to stand there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-proposal-'))
  try {
    const graph = new GraphBuilder()
    graph.input('x', ['B', 2])
    graph.input('kind_index', ['B', 1], INT64)
    graph.output(graph.dense(graph.op('Concat', ['x', graph.op('Cast', ['kind_index'], { to: 1n })], { axis: 1n }), 3, 1), 'score', ['B', 1])
    const file = join(folder, 'model.onnx')
    writeFileSync(file, graph.model())
    const categories: Categories = new Map([['kind', ['a', 'b']]])
    const numbers = await inspectModel(file, { features: ['one', 'two', 'three', 'kind'], categories })
    assert.match(numbers.manifest, /name: x, what: features, columns: \[f1, f2\]/)
    assert.match(numbers.manifest, /name: kind_index, what: features, columns: \[kind\]/)
    const none = await inspectModel(file, { features: ['one', 'two', 'three'] })
    assert.match(none.manifest, /name: kind_index, what: features, columns: \[kind_index\]/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
