import { Tensor } from 'onnxruntime-node'
import { systemClock } from '../src/base/clock.js'
import { Prng } from '../src/base/prng.js'
import { readModelFile } from '../src/inference/loaded-model.js'
import { ModelStore } from '../src/inference/model-store.js'
import { readGraph, withBatch } from '../src/inference/graph.js'
import { createSession, type Feeds } from '../src/inference/session.js'
import { modelsFolder } from '../src/topology/open-scorer.js'

/**
 * Rows per second of a model in a bare onnxruntime session on one thread, with inputs that lie ready: the most that any
 * engine could reach with that thread.
 */
export async function rawOnnxRowsPerSecond(reference: string, batch: number, seconds: number, folder = modelsFolder): Promise<number> {
  const model = new ModelStore(folder).load(reference)
  const session = await createSession(readModelFile(model), reference, 'cpu')
  const graph = readGraph(session, model.manifest)
  const prng = new Prng(1)
  const feeds: Feeds = {}
  for (const input of graph.inputs) feeds[input.name] = filled(input.type, withBatch(input.shape, batch), prng)
  for (const state of graph.states) feeds[state.input] = filled('float32', withBatch(state.shape, batch), prng)
  for (let warm = 0; warm < 20; warm++) await session.run(feeds)
  const startMs = systemClock.monotonicMs()
  let runs = 0
  while (systemClock.monotonicMs() - startMs < seconds * 1000) {
    for (let i = 0; i < 10; i++) await session.run(feeds)
    runs += 10
  }
  const rows = (runs * batch * 1000) / (systemClock.monotonicMs() - startMs)
  await session.release()
  return rows
}

function filled(type: Tensor.Type, dims: number[], prng: Prng): Tensor {
  const size = dims.reduce((product, length) => product * length, 1)
  if (type === 'float32') return new Tensor('float32', Float32Array.from({ length: size }, () => prng.uniform()), dims)
  if (type === 'int64') return new Tensor('int64', BigInt64Array.from({ length: size }, () => 32n), dims)
  return new Tensor('bool', new Uint8Array(size).fill(1), dims)
}
