import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.js'
import { createScorer } from '../../src/inference/create-scorer.js'
import { RESET } from '../../src/inference/frame.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import type { Categories } from '../../src/inference/recodes.js'
import { GraphBuilder } from './onnx-maker.js'
import { TestStore, type TestModel } from './test-models.js'

// Models whose score is a plain sum of what they were fed, each input with a weight of its own, so that a test can say what it must be.

const FLOAT = 1
const INT32 = 6
const INT64 = 7
const BOOL = 9
const FLOAT16 = 10
const W = 4
const features = ['a', 'b', 'c', 'k']
const score = { name: 'score', what: 'score' }

interface TestInput {
  readonly name: string
  readonly what: string
  readonly type: number
  readonly shape: (number | string)[]
  readonly columns?: string[]
  /** Weight of each number of a row, in the order of the tensor without its batch axis. */
  readonly weight: (index: number) => number
}

/** score [B, 1] = sum over inputs of numbers times weights. `scoreType`: that of the output. */
function sumModel(kind: string, inputs: readonly TestInput[], more: Record<string, unknown> = {}, batch: number | string = 'B', scoreType = FLOAT): TestModel {
  const graph = new GraphBuilder(1)
  const parts = inputs.map(({ name, type, shape, weight }) => {
    graph.input(name, shape.map((size) => (size === 'B' ? batch : size)), type)
    const floats = type === FLOAT ? name : graph.op('Cast', [name], { to: BigInt(FLOAT) })
    const axis = shape.indexOf('B')
    const order = [axis, ...shape.map((_, at) => at).filter((at) => at !== axis)]
    const size = shape.reduce<number>((product, each) => product * (typeof each === 'number' ? each : 1), 1)
    const rows = graph.op('Reshape', [graph.op('Transpose', [floats], { perm: order.map(BigInt) }), graph.ints([-1, size])])
    return graph.op('MatMul', [rows, graph.floats([size, 1], Array.from({ length: size }, (_, at) => weight(at)))])
  })
  const sum = parts.reduce((a, b) => graph.op('Add', [a, b]))
  graph.output(scoreType === FLOAT ? sum : graph.op('Cast', [sum], { to: BigInt(scoreType) }), 'score', [batch, 1], scoreType)
  const names = inputs.map(({ name, what, columns }) => ({ name, what, ...(columns ? { columns } : {}) }))
  const read = features.filter((name) => inputs.some(({ what, columns }) => (what === 'features' || what === 'last-row') && (columns ?? features).includes(name)))
  return { bytes: graph.model(), manifest: { kind, features: read, inputs: names, outputs: [score], ...more } }
}

describe('inputs of a model', () => {
  const store = new TestStore()
  let models = 0
  after(() => store.remove())
  const add = (model: TestModel): LoadedModel => store.add(`m${models++}`, model)

  /** Scores rows of one entity, one after another, in frames of `frameRows`. */
  const scoresOf = async (model: LoadedModel, rows: readonly number[][], { frameRows = 100, categories = new Map() as Categories, ring = W } = {}): Promise<number[]> => {
    const uses = [{ model, role: 'champion' as const }]
    const scorer = await createScorer({ features, categories, window: ring, models: uses, device: 'cpu', workers: 0, clock: systemClock, limits: { rowsMax: 100 }, chunkSlots: 4 })
    try {
      const scores: number[] = []
      for (let from = 0; from < rows.length; from += frameRows) {
        const part = rows.slice(from, from + frameRows)
        const frame = scorer.acquireFrame()!
        frame.count = part.length
        part.forEach((row, at) => {
          frame.rows.set(row, at * features.length)
          frame.slot[at] = 0
          frame.flags[at] = from + at === 0 ? RESET : 0
          frame.eventTime[at] = from + at
        })
        await scorer.score(frame)
        assert.deepEqual(frame.failures, [])
        scores.push(...frame.scores[0]!.subarray(0, part.length))
        scorer.releaseFrame(frame)
      }
      return scores
    } finally {
      await scorer.close()
    }
  }
  const rows = Array.from({ length: 9 }, (_, i) => [i + 1, 10 * (i + 1), i % 3 === 0 ? 0 : 0.25, i % 4])
  const close = (actual: readonly number[], expected: readonly number[]): void => {
    assert.equal(actual.length, expected.length)
    actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]!) <= 1e-4 * Math.max(1, Math.abs(expected[i]!)), `row ${i}: ${value}, expected ${expected[i]}`))
  }

  test('of every type get their columns: float16, int64, int32 and bool beside float32', async () => {
    const model = add(
      sumModel('row', [
        { name: 'x', what: 'features', type: FLOAT, shape: ['B', 2], columns: ['b', 'a'], weight: (at) => [1, 1000][at]! },
        { name: 'half', what: 'features', type: FLOAT16, shape: ['B', 1], columns: ['c'], weight: () => 1e5 },
        { name: 'whole', what: 'features', type: INT64, shape: ['B'], columns: ['k'], weight: () => 1e6 },
        { name: 'small', what: 'features', type: INT32, shape: ['B', 1], columns: ['k'], weight: () => 1e7 },
        { name: 'flag', what: 'features', type: BOOL, shape: ['B', 1], columns: ['c'], weight: () => 1e8 },
      ]),
    )
    const expected = rows.map(([a, b, c, k]) => b! + 1000 * a! + 1e5 * c! + 1e6 * k! + 1e7 * k! + 1e8 * (c === 0 ? 0 : 1))
    for (const frameRows of [100, 1, 4]) close(await scoresOf(model, rows, { frameRows }), expected)
  })

  /** What a window of the rows up to `i` must give: left or right padded. */
  const windowSum = (i: number, right: boolean): number => {
    const seen = rows.slice(Math.max(0, i + 1 - W), i + 1)
    const at = (place: number): number => (right ? place : W - seen.length + place)
    const series = seen.reduce((sum, row, place) => sum + row[0]! * 10 ** at(place) + row[3]! * 1e5 * (at(place) + 1), 0)
    const mask = seen.reduce((sum, _, place) => sum + 0.001 * 2 ** at(place), 0)
    const padding = Array.from({ length: W }, (_, place) => place).filter((place) => !seen.some((__, each) => at(each) === place))
    return series + mask + padding.reduce((sum, place) => sum + 0.1 * 2 ** place, 0) + 1e7 * seen.length + 1e8 * seen.at(-1)![2]!
  }
  for (const layout of ['batch-major', 'time-major'] as const) {
    for (const padding of ['left', 'right'] as const) {
      for (const batch of ['B', 5, 1] as const) {
        test(`of a window ${layout}, padded ${padding}, batch ${batch}: series, category, masks, lengths and the last row`, async () => {
          const time = (...rest: (number | string)[]): (number | string)[] => (layout === 'time-major' ? [W, 'B', ...rest] : ['B', W, ...rest])
          const model = add(
            sumModel(
              'window',
              [
                { name: 'x', what: 'features', type: FLOAT, shape: time(1), columns: ['a'], weight: (at) => 10 ** at },
                { name: 'k', what: 'features', type: INT64, shape: time(), columns: ['k'], weight: (at) => 1e5 * (at + 1) },
                { name: 'mask', what: 'mask', type: FLOAT, shape: time(), weight: (at) => 0.001 * 2 ** at },
                // frameworks that put time first keep this one the other way round
                { name: 'padding', what: 'padding-mask', type: BOOL, shape: ['B', W], weight: (at) => 0.1 * 2 ** at },
                { name: 'lengths', what: 'lengths', type: INT64, shape: ['B'], weight: () => 1e7 },
                { name: 'last', what: 'last-row', type: FLOAT, shape: ['B', 1], columns: ['c'], weight: () => 1e8 },
              ],
              { window: W, layout, padding },
              batch,
            ),
          )
          for (const frameRows of [100, 1, 3]) close(await scoresOf(model, rows, { frameRows }), rows.map((_, i) => windowSum(i, padding === 'right')))
        })
      }
    }
  }

  test('that are categories get the model\'s own numbers, whatever the stage\'s order; padding stays 0', async () => {
    const categories = new Map([['k', ['red', 'green', 'blue']]])
    const model = add(
      sumModel('window', [{ name: 'k', what: 'features', type: INT64, shape: ['B', W], columns: ['k'], weight: (at) => 100 ** at }], {
        window: W,
        categories: { k: { values: ['blue', 'red', 'black'], first: 5, unknown: 9 } },
      }),
    )
    // by the stage's index: unknown, red, green, blue
    const own = [9, 6, 9, 5]
    const expected = rows.map((_, i) => rows.slice(Math.max(0, i + 1 - W), i + 1).reverse().reduce((sum, row, back) => sum + own[row[3]!]! * 100 ** (W - 1 - back), 0))
    for (const frameRows of [100, 1]) close(await scoresOf(model, rows, { frameRows, categories }), expected)
  })

  test('a category without vocabulary in the manifest, and a vocabulary of a number, are refused with what to write', async () => {
    const input = { name: 'k', what: 'features', type: INT64, shape: ['B', 1], columns: ['k'], weight: () => 1 }
    const plain = add(sumModel('row', [input]))
    await assert.rejects(scoresOf(plain, rows, { categories: new Map([['k', ['red', 7]]]) }), {
      code: 'MODEL_INVALID', message: /model\.yaml: categories has no "k"/, remedy: /write categories: \{k: \{values: \[red, 7\]\}\}/,
    })
    const named = add(sumModel('row', [input], { categories: { k: { values: ['red'] } } }))
    await assert.rejects(scoresOf(named, rows), { code: 'MODEL_INVALID', message: /categories\.k: in the stage "k" is a number/ })
  })

  test('a recurrent model may have a category, and its state may be float16', async () => {
    const graph = new GraphBuilder(1)
    graph.input('x', ['B', 2])
    graph.input('k', ['B'], INT64)
    graph.input('h', ['B', 1], FLOAT16)
    const k = graph.op('Unsqueeze', [graph.op('Cast', ['k'], { to: BigInt(FLOAT) }), graph.ints([1])])
    const x = graph.op('MatMul', ['x', graph.floats([2, 1], [1, 0.125])])
    const next = graph.op('Add', [graph.op('Add', [graph.op('Mul', [graph.op('Cast', ['h'], { to: BigInt(FLOAT) }), graph.floats([], [0.5])]), x]), k])
    graph.output(next, 'score', ['B', 1])
    graph.output(graph.op('Cast', [next], { to: BigInt(FLOAT16) }), 'h_next', ['B', 1], FLOAT16)
    const inputs = [{ name: 'x', what: 'features', columns: ['a', 'b'] }, { name: 'k', what: 'features', columns: ['k'] }, { name: 'h', what: 'state:0' }]
    const outputs = [score, { name: 'h_next', what: 'next-state:0' }]
    const manifest = { kind: 'recurrent', features: ['a', 'b', 'k'], categories: { k: { values: ['z', 'y', 'x'] } }, inputs, outputs, states: [{ shape: [1] }] }
    const model = add({ bytes: graph.model(), manifest })
    const small = rows.map(([a, b, , k]) => [a! / 8, b! / 8, 0, k!])
    const expected: number[] = []
    small.reduce((h, [a, b, , k]) => {
      // of the stage's x, y, z
      const value = 0.5 * h + a! + 0.125 * b! + [0, 3, 2, 1][k!]!
      expected.push(value)
      return value
    }, 0)
    const categories = new Map([['k', ['x', 'y', 'z']]])
    for (const frameRows of [100, 1, 4]) {
      const actual = await scoresOf(model, small, { frameRows, categories })
      actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]!) < 0.02, `row ${i}: ${value}, expected ${expected[i]}`))
    }
  })

  for (const [name, type] of [['float16', FLOAT16], ['float64', 11], ['int64', INT64], ['bool', BOOL]] as const) {
    test(`a score of type ${name} is read`, async () => {
      const model = add(sumModel('row', [{ name: 'x', what: 'features', type: FLOAT, shape: ['B', 4], weight: (at) => (at === 0 ? 1 : 0) }], {}, 'B', type))
      close(await scoresOf(model, rows), rows.map(([a]) => (type === BOOL ? 1 : a!)))
    })
  }

  test('logits of several classes become the probability of the wanted one', async () => {
    const graph = new GraphBuilder(1)
    graph.input('x', ['B', 4])
    graph.output(graph.op('MatMul', ['x', graph.floats([4, 3], [1, 0, 0, 0, 0.05, 0, 0, 0, 2, 0, 0, -1])]), 'score', ['B', 3])
    const manifest = { kind: 'row', features, inputs: [{ name: 'x', what: 'features' }], outputs: [score] }
    const model = add({ bytes: graph.model(), manifest: { ...manifest, score: { meaning: 'logits', column: 2 } } })
    const expected = rows.map(([a, b, c, k]) => {
      const [first, second, third] = [a!, 0.05 * b!, 2 * c! - k!].map(Math.exp) as [number, number, number]
      return third / (first + second + third)
    })
    close(await scoresOf(model, rows), expected)
    const outside = add({ bytes: graph.model(), manifest: { ...manifest, score: { column: 3 } } })
    await assert.rejects(scoresOf(outside, rows), { code: 'MODEL_INVALID', message: /score\.column: output "score" has shape \[B, 3\], so there is no class 3; write 0 to 2/ })
  })
})
