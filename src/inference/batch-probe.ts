import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { Prng } from '../base/prng.js'
import type { Manifest } from './manifest.js'
import { withBatch, type Graph, type GraphInput } from './graph.js'
import type { Feeds } from './session.js'
import { TensorPort } from './tensor-port.js'

/** Rows whose outputs are compared. */
const probeRows = 24
const probeSeed = 20_231
/** Paddings that are tried, the smallest first. */
const multiples: readonly number[] = [1, 2, 4, 8, 16, 32, 64]
/** Batch sizes that are tried, as far as they are multiples of the padding and within the model's limit. */
const sizes: readonly number[] = [
  1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 192, 255, 256, 384, 511, 512,
]

/**
 * The smallest padding with which a row's outputs have the same bits at every batch size and in every place of the batch.
 *
 * Kernels may take another path at a batch of 1, or handle the end of a vector otherwise than its middle (Log does on some
 * CPUs). Such a model is run in batches of a multiple that avoids it, so that a score never depends on its neighbours. When
 * no padding helps, the model always runs at its full batch size. Costs some tens of runs, once for each model and process.
 */
export async function probeRowsMultiple(session: InferenceSession, graph: Graph, manifest: Manifest): Promise<number> {
  if (graph.fixedBatch !== null) return graph.fixedBatch
  const limit = manifest.limits.batchRowsMax
  const rows = makeProbe(graph, manifest)
  for (const multiple of multiples) {
    if (multiple > limit) break
    const largest = Math.floor(limit / multiple) * multiple
    const tried = [...sizes, largest].filter((size) => size % multiple === 0 && size <= limit)
    if (await agrees(session, graph, rows, new Set(tried))) return multiple
  }
  return limit
}

export interface ProbeInput {
  readonly name: string
  readonly type: Tensor.Type
  /** Shape of one row with the batch's place; its size without it. */
  readonly shape: GraphInput['shape']
  readonly outer: number
  readonly inner: number
  /** [probeRows][outer * inner] */
  readonly values: readonly Float32Array[]
}

/** Rows that look like a stage's, to try a model with. */
export function makeProbe(graph: Graph, manifest: Manifest): ProbeInput[] {
  const prng = new Prng(probeSeed)
  const states = graph.states.map(({ input, type, shape }) => ({ name: input, what: 'state', type, shape, columns: null }))
  return [...graph.inputs, ...states].map(({ name, what, type, shape, columns }) => {
    const axis = shape.indexOf(null)
    const outer = shape.slice(0, axis).reduce<number>((product, size) => product * size!, 1)
    const inner = shape.slice(axis + 1).reduce<number>((product, size) => product * size!, 1)
    const width = columns?.length ?? manifest.features.length
    const value = (_: unknown, at: number): number => {
      if (what === 'state') return prng.normal() / 2
      if (what !== 'features' && what !== 'last-row') return what === 'padding-mask' ? 0 : 1
      const feature = columns ? columns[at % width]! : at % width
      const category = manifest.categories[manifest.features[feature]!]
      if (category) return prng.below(8) === 0 ? category.unknown : category.first + prng.below(category.values.length)
      return type === 'float32' || type === 'float16' ? 2 * prng.normal() : prng.below(2)
    }
    const values = Array.from({ length: probeRows }, () => Float32Array.from({ length: outer * inner }, value))
    return { name, type, shape, outer, inner, values }
  })
}

async function agrees(session: InferenceSession, graph: Graph, probe: ProbeInput[], tried: ReadonlySet<number>): Promise<boolean> {
  const seen: (string | undefined)[] = []
  for (const size of tried) {
    // another rotation for each size: a row meets other places and other neighbours
    const first = size % probeRows
    const outputs = await session.run(feedsOf(probe, size, first))
    for (let b = 0; b < size; b++) {
      const row = (first + b) % probeRows
      const digest = rowBits(outputs, graph, b, size)
      if (seen[row] !== undefined && seen[row] !== digest) return false
      seen[row] = digest
    }
  }
  return true
}

/** Inputs of `batch` rows, the probe's in turn from row `first`. */
export function feedsOf(probe: ProbeInput[], batch: number, first: number): Feeds {
  const feeds: Feeds = {}
  for (const { name, type, shape, outer, inner, values } of probe) {
    const data = new Float32Array(outer * batch * inner)
    for (let b = 0; b < batch; b++) {
      const row = values[(first + b) % probeRows]!
      for (let o = 0; o < outer; o++) data.set(row.subarray(o * inner, (o + 1) * inner), (o * batch + b) * inner)
    }
    const port = new TensorPort(type, data.length)
    port.floats.set(data)
    port.load(data.length)
    feeds[name] = port.tensor(data.length, withBatch(shape, batch))
  }
  return feeds
}

/** The bits of one row's score and next states, as text. */
function rowBits(outputs: InferenceSession.OnnxValueMapType, graph: Graph, b: number, batch: number): string {
  const parts: string[] = []
  const take = (name: string, outer: number): void => {
    const { buffer, byteOffset, byteLength } = outputs[name]!.data as Uint8Array
    const inner = byteLength / batch / outer
    for (let o = 0; o < outer; o++) parts.push(Buffer.from(buffer, byteOffset + (o * batch + b) * inner, inner).toString('latin1'))
  }
  take(graph.score.name, 1)
  for (const state of graph.states) take(state.output, state.outer)
  return parts.join('')
}
