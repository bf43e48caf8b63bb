import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { systemClock } from '../../src/base/clock.js'
import { testGolden } from '../../src/inference/golden.js'
import type { LoadedModel } from '../../src/inference/loaded-model.js'
import { loadModelFolder } from '../../src/inference/model-store.js'
import { repositoryRoot } from './repository-root.js'

/** The golden rows of `training/train.py --golden`: sequences of feature rows, [S][T][F]. */
interface GoldenRows {
  readonly features: readonly string[]
  readonly sequences: readonly { readonly entity: string; readonly rows: readonly (readonly number[])[] }[]
}

/** PyTorch's scores of the golden rows, [S][T], for the model file with this sha256. */
interface GoldenScores {
  readonly model: string
  readonly sha256: string
  readonly tolerance: number
  readonly scores: readonly (readonly number[])[]
}

const batchSizes = [1, 2, 3, 7, 8, 16, 31, 64, 256, 1000]
const root = repositoryRoot()
const golden = join(root, 'test', 'golden', 'models')
/** The models of a topology's last stage see rows of that stage. */
const goldenSets = { rows: ['card-gru', 'card-attention', 'card-cnn', 'card-row'], 'terminal-rows': ['card-terminal', 'terminal-attention', 'terminal-cnn', 'terminal-row', 'terminal-boost'], 'account-rows': ['account-risk', 'account-loss', 'account-row'] }

for (const [name, rows] of Object.entries(goldenSets).flatMap(([set, names]) => names.map((each) => [each, readJson<GoldenRows>(set)] as const))) {
  const allRows = rows.sequences.flatMap((sequence) => sequence.rows)

  test(`${name} gives its framework's scores in onnxruntime`, async () => {
    const model = loadModelFolder(join(root, 'models', name, '1'))
    const expected = readJson<GoldenScores>(name)
    assert.equal(model.manifest.sha256, expected.sha256, 'the golden scores belong to another file: run training/train.py with --golden')
    assert.deepEqual(model.manifest.features, rows.features)
    const actual = await scoreSequences(model, rows)
    const differences = expected.scores.flatMap((scores, s) => scores.map((score, t) => Math.abs(score - (actual[s]?.[t] ?? Number.NaN))))
    assert.equal(differences.length, allRows.length)
    assert.ok(Math.max(...differences) <= expected.tolerance, `differs by ${Math.max(...differences)}, tolerance ${expected.tolerance}`)
  })

  test(`${name} passes the golden rows in its own folder, through the engine`, async () => {
    const report = await testGolden(join(root, 'models', name, '1'), { device: 'cpu', clock: systemClock })
    assert.equal(report.compared, 120)
    assert.deepEqual([report.misses, report.dependent, report.passed], [[], 0, true])
  })

  test(`${name} gives each row the same bits at every batch size`, async () => {
    const model = loadModelFolder(join(root, 'models', name, '1'))
    const session = await open(model)
    const total = Math.max(...batchSizes)
    const inputs = batchEqualityInputs(model, allRows, total)
    const whole = await runBatch(session, model, inputs, 0, total)
    for (const size of batchSizes) {
      for (let from = 0; from < total; from += size) {
        const to = Math.min(from + size, total)
        const part = await runBatch(session, model, inputs, from, to)
        part.forEach((output, o) => {
          const floats = output.length / (to - from)
          const expected = whole[o]?.slice(from * floats, to * floats)
          assert.ok(expected && Buffer.from(expected.buffer).equals(Buffer.from(output.buffer, output.byteOffset, output.byteLength)), `rows ${from}.. at batch size ${size}`)
        })
      }
    }
  })
}

/** Scores [S][T]: at time t one batch holds the t-th row of every sequence. A sequence begins with nothing before it. */
async function scoreSequences(model: LoadedModel, rows: GoldenRows): Promise<number[][]> {
  const session = await open(model)
  const { kind } = model.manifest
  const count = rows.sequences.length
  const scores = rows.sequences.map((): number[] => [])
  let state: Float32Array = new Float32Array(count * stateFloats(model))
  const steps = Math.max(...rows.sequences.map((sequence) => sequence.rows.length))
  for (let t = 0; t < steps; t++) {
    const histories = rows.sequences.map((sequence) => sequence.rows.slice(0, t + 1))
    const x = concatenate(histories.map((history) => (kind === 'window' ? windowOf(history, model) : Float32Array.from(history.at(-1) ?? []))))
    const [score, next] = await runBatch(session, model, kind === 'recurrent' ? [x, state] : [x], 0, count)
    score?.forEach((value, s) => scores[s]?.push(value))
    if (next) state = next
  }
  return scores
}

/** Rows of the golden set, repeated as often as needed; hidden states within the range of a tanh. */
function batchEqualityInputs(model: LoadedModel, allRows: readonly (readonly number[])[], total: number): Float32Array[] {
  const { kind, window = 0 } = model.manifest
  const at = (i: number): number => (i * 37) % allRows.length
  const x = concatenate(
    Array.from({ length: total }, (_, i) => {
      const history = allRows.slice(Math.max(0, at(i) - (i % (window + 1))), at(i) + 1)
      return kind === 'window' ? windowOf(history, model) : Float32Array.from(allRows[at(i)] ?? [])
    }),
  )
  return kind === 'recurrent' ? [x, Float32Array.from({ length: total * stateFloats(model) }, (_, i) => Math.sin(i * 1.7))] : [x]
}

/** The outputs of rows `from` to `to` of the inputs, each flat. */
async function runBatch(session: InferenceSession, model: LoadedModel, inputs: readonly Float32Array[], from: number, to: number): Promise<Float32Array[]> {
  const { manifest } = model
  const rowShape = manifest.kind === 'window' ? [manifest.window ?? 0, manifest.features.length] : [manifest.features.length]
  const feeds: Record<string, Tensor> = {}
  manifest.inputs.forEach((input, i) => {
    const shape = input.what === 'features' ? rowShape : (manifest.states[0]?.shape ?? [])
    const floats = shape.reduce((product, size) => product * size, 1)
    feeds[input.name] = new Tensor('float32', (inputs[i] ?? new Float32Array()).slice(from * floats, to * floats), [to - from, ...shape])
  })
  const result = await session.run(feeds)
  return manifest.outputs.map((output) => result[output.name]?.data as Float32Array)
}

/** [W, F], left padded with zeros. */
function windowOf(history: readonly (readonly number[])[], { manifest }: LoadedModel): Float32Array {
  const window = manifest.window ?? 0
  const features = manifest.features.length
  const out = new Float32Array(window * features)
  const last = history.slice(-window)
  last.forEach((row, i) => out.set(row, (window - last.length + i) * features))
  return out
}

function stateFloats(model: LoadedModel): number {
  return model.manifest.states.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0)
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

async function open(model: LoadedModel): Promise<InferenceSession> {
  return InferenceSession.create(model.file, { executionProviders: ['cpu'], intraOpNumThreads: 1, interOpNumThreads: 1 })
}

function readJson<T>(name: string): T {
  return JSON.parse(readFileSync(join(golden, `${name}.json`), 'utf8')) as T
}
