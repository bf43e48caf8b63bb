import { HarrierError } from '../../base/errors.js'
import { FeaturePort } from '../feature-port.js'
import { withBatch } from '../graph.js'
import { ScoreReader } from '../model-runner.js'
import { Tensor } from '../tensor.js'
import { numbersOf } from '../tensor-port.js'
import type { InferAnswer, InferRequest, ServedModel } from './served-model.js'
import { batchAxisOf, batchLayout, elementsOf, holderOf, type TensorValue } from './tensor-value.js'

/** Sequences of one request, and rows of one sequence. */
export const sequencesMax = 4096
export const sequenceRowsMax = 4096

export type WaitOptions = Pick<InferRequest, 'priority' | 'timeoutMs' | 'signal'>

/**
 * Scores sequences of feature rows, each [1 … T, F] with the event itself last, as the stream scores an entity that has seen just
 * these: a row model takes the last row, a window model the last W, a recurrent model steps over all of them from zero.
 * NaN where a model gave nothing finite. Errors: REQUEST_INVALID, OVERLOADED, MODEL_FAILED.
 */
export async function scoreSequences(model: ServedModel, sequences: readonly (readonly Float32Array[])[], wait: WaitOptions): Promise<Float32Array> {
  const { manifest } = model.model
  check(sequences, manifest.features.length)
  if (manifest.kind === 'recurrent') return await stepOver(model, sequences, wait)
  const window = manifest.kind === 'window' ? manifest.window! : 1
  const scores = new Float32Array(sequences.length)
  const { graph } = model.opened
  // a graph of a fixed batch size takes no more at once
  const piece = graph.fixedBatch ?? sequences.length
  for (let from = 0; from < sequences.length; from += piece) {
    const part = sequences.slice(from, from + piece)
    const answer = await model.infer({ ...wait, inputs: feed(model, part, window), outputs: [graph.score.name] })
    scores.set(scoresOf(model, answer, part.length), from)
  }
  return scores
}

function check(sequences: readonly (readonly Float32Array[])[], features: number): void {
  const invalid = (message: string): never => {
    throw new HarrierError('REQUEST_INVALID', message)
  }
  if (sequences.length === 0) invalid('there is no row to score')
  if (sequences.length > sequencesMax) invalid(`${sequences.length} rows or sequences: at most ${sequencesMax} go into one request`)
  for (const rows of sequences) {
    if (rows.length === 0) invalid('a sequence has no row')
    if (rows.length > sequenceRowsMax) invalid(`a sequence has ${rows.length} rows, at most ${sequenceRowsMax} are taken`)
    const wrong = rows.find((row) => row.length !== features)
    if (wrong) invalid(`a row has ${wrong.length} numbers, the model reads ${features} features`)
  }
}

/** Gathers rows as a stage would, and lets the ports of the graph take from them what it wants to see. */
function feed({ model: { manifest }, opened }: ServedModel, sequences: readonly (readonly Float32Array[])[], window: number): TensorValue[] {
  const rows = sequences.length
  const features = manifest.features.length
  const gathered = new Float32Array(rows * window * features)
  const lengths = new Int32Array(rows)
  sequences.forEach((sequence, index) => {
    const seen = sequence.slice(-window)
    lengths[index] = seen.length
    const first = manifest.padding === 'right' ? 0 : window - seen.length
    seen.forEach((row, step) => gathered.set(row, (index * window + first + step) * features))
  })
  const bits = new Int32Array(gathered.buffer)
  return opened.graph.inputs.map((input) => {
    const port = new FeaturePort(input, manifest, rows)
    port.fill({ bits, at: 0, lengths: window === 1 && manifest.kind !== 'window' ? null : lengths, lengthsAt: 0 }, rows, rows)
    const { data } = port.tensor(rows)
    return { name: input.name, type: input.type, dims: withBatch(input.shape, rows), data: data as Float32Array }
  })
}

/** Steps over all sequences at once, the shorter ones leaving first: step k holds the k-th row of each. */
async function stepOver(model: ServedModel, sequences: readonly (readonly Float32Array[])[], wait: WaitOptions): Promise<Float32Array> {
  const { graph } = model.opened
  const scores = new Float32Array(sequences.length)
  const piece = graph.fixedBatch ?? sequences.length
  for (let from = 0; from < sequences.length; from += piece) {
    // longest first, so that those still to step are always the first rows
    const order = Array.from({ length: Math.min(piece, sequences.length - from) }, (_, index) => from + index).sort((a, b) => sequences[b]!.length - sequences[a]!.length)
    let states: TensorValue[] = graph.states.map(({ input, type, shape }) => {
      const dims = withBatch(shape, order.length)
      return { name: input, type, dims, data: new (holderOf(type)!)(elementsOf(dims)) }
    })
    for (let step = 0, active = order.length; active > 0; step++) {
      const inputs = [...feed(model, order.slice(0, active).map((index) => [sequences[index]![step]!]), 1), ...states]
      const answer = await model.infer({ ...wait, inputs, outputs: null })
      const given = scoresOf(model, answer, active)
      const still = order.slice(0, active).filter((index) => sequences[index]!.length > step + 1).length
      for (let row = still; row < active; row++) scores[order[row]!] = given[row]!
      states = graph.states.map(({ input, output, type, shape, outer, inner }) => {
        const { data } = answer.outputs.find(({ name }) => name === output)!
        const next = new (holderOf(type)!)(outer * still * inner)
        for (let o = 0; o < outer; o++) (next as Float32Array).set(data.subarray(o * active * inner, (o * active + still) * inner) as Float32Array, o * still * inner)
        return { name: input, type, dims: withBatch(shape, still), data: next }
      })
      active = still
    }
  }
  return scores
}

function scoresOf({ model: { manifest }, opened }: ServedModel, answer: InferAnswer, rows: number): Float32Array {
  const { name, type, dims, data } = answer.outputs.find((each) => each.name === opened.graph.score.name)!
  const axis = batchAxisOf(opened.outputs.find((each) => each.name === name)!, dims, rows)
  if (batchLayout(dims, axis).outer !== 1) throw new HarrierError('MODEL_INVALID', `the score of ${opened.outputs[0]!.name} does not have its rows first`)
  const scores = new Float32Array(rows)
  new ScoreReader(manifest).readAll(numbersOf(new Tensor(type as 'float32', data as Float32Array, dims)), rows, rows, scores, Int32Array.from({ length: rows }, (_, row) => row), 0)
  return scores
}
