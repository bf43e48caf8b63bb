import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../base/assert.js'
import { systemClock } from '../../base/clock.js'
import { HarrierError, messageOf } from '../../base/errors.js'
import { batchRowsOf, paddedRows } from '../model-runner.js'
import { openModel, type OpenModel } from '../open-model.js'
import type { Feeds } from '../session.js'
import { Tensor } from '../tensor.js'
import type { FromServing, ServingInit, ToServing } from './serving-protocol.js'
import { batchAxisOf, batchLayout, elementsOf, holderOf, putRows, takeRows, type ServedTensor, type TensorData, type TensorValue } from './tensor-value.js'

// The entry of a thread that serves one model version: see serving-protocol.ts.

assert(parentPort, 'this file runs as a worker')
const port = parentPort
const { model } = workerData as ServingInit
const post = (message: FromServing, transfer: readonly ArrayBuffer[] = []): void => port.postMessage(message, transfer)

function inputsOf({ graph }: OpenModel): ServedTensor[] {
  return [...graph.inputs.map(({ name, type, shape }) => ({ name, type, shape })), ...graph.states.map(({ input, type, shape }) => ({ name: input, type, shape }))]
}

/** The outputs that the manifest names. */
function outputsOf({ graph }: OpenModel): ServedTensor[] {
  const { name, type, shape } = graph.score
  return [{ name, type, shape }, ...graph.states.map(({ output, type: stateType, shape: stateShape }) => ({ name: output, type: stateType, shape: stateShape }))]
}

/**
 * Runs rows in pieces of the model's batch size, padded as the probe has found: an answer has the bits that the stream's
 * scores have, whatever else is in the batch. Padding repeats the last row, which every graph takes.
 */
class BatchRun {
  readonly #open: OpenModel
  readonly #inputs: readonly ServedTensor[]
  readonly #outputs: readonly ServedTensor[]
  readonly #batchRows: number

  constructor(open: OpenModel) {
    this.#open = open
    this.#inputs = inputsOf(open)
    this.#outputs = outputsOf(open)
    this.#batchRows = batchRowsOf(open)
  }

  async run({ rows, inputs, outputs }: Extract<ToServing, { kind: 'run' }>): Promise<{ outputs: TensorValue[]; runs: number }> {
    const wanted = this.#outputs.filter(({ name }) => outputs.includes(name))
    const whole = new Map<string, { dims: number[]; data: TensorData; axis: number }>()
    let runs = 0
    for (let at = 0; at < rows; at += this.#batchRows) {
      const count = Math.min(this.#batchRows, rows - at)
      const batch = paddedRows(count, this.#open.rowsMultiple)
      const given = await this.#open.session.run(this.#feeds(inputs, rows, at, count, batch), wanted.map(({ name }) => name))
      runs++
      for (const tensor of wanted) {
        const { dims, data } = given[tensor.name]!
        const axis = batchAxisOf(tensor, dims, batch)
        if (axis < 0) throw new Error(`output "${tensor.name}" has shape [${dims.join(', ')}] for ${batch} rows: none of it is the batch`)
        let into = whole.get(tensor.name)
        if (!into) {
          const wholeDims = dims.map((size, index) => (index === axis ? rows : size))
          whole.set(tensor.name, (into = { dims: wholeDims, data: new (holderOf(tensor.type)!)(elementsOf(wholeDims)), axis }))
        }
        const layout = batchLayout(dims, axis)
        putRows(into.data, rows, at, takeRows(data as TensorData, batch, 0, count, layout), count, layout)
      }
    }
    return { outputs: wanted.map(({ name, type }) => ({ name, type, dims: whole.get(name)!.dims, data: whole.get(name)!.data })), runs }
  }

  #feeds(inputs: readonly TensorValue[], rows: number, at: number, count: number, batch: number): Feeds {
    const feeds: Feeds = {}
    for (const { name, type, dims, data } of inputs) {
      const axis = this.#inputs.find((each) => each.name === name)!.shape!.indexOf(null)
      const layout = batchLayout(dims, axis)
      let piece = count === rows ? data : takeRows(data, rows, at, count, layout)
      if (batch > count) {
        const padded = new (holderOf(type)!)(layout.outer * batch * layout.inner)
        putRows(padded, batch, 0, piece, count, layout)
        const last = takeRows(piece, count, count - 1, 1, layout)
        for (let row = count; row < batch; row++) putRows(padded, batch, row, last, 1, layout)
        piece = padded
      }
      feeds[name] = new Tensor(type as 'float32', piece as Float32Array, dims.map((size, index) => (index === axis ? batch : size)))
    }
    return feeds
  }
}

async function start(): Promise<void> {
  let open: OpenModel
  try {
    open = await openModel(model)
  } catch (error) {
    const isOurs = error instanceof HarrierError
    post({ kind: 'not-ready', error: { code: isOurs ? error.code : null, message: messageOf(error), remedy: isOurs ? error.remedy : null } })
    port.close()
    return
  }
  const batches = new BatchRun(open)
  const run = async (message: Extract<ToServing, { kind: 'run' }>): Promise<void> => {
    const beganMs = systemClock.monotonicMs()
    try {
      const { outputs, runs } = await batches.run(message)
      post({ kind: 'ran', id: message.id, outputs, runs, computeMs: systemClock.monotonicMs() - beganMs }, outputs.map(({ data }) => data.buffer as ArrayBuffer))
    } catch (error) {
      post({ kind: 'failed', id: message.id, message: messageOf(error) })
    }
  }
  let tail = Promise.resolve()
  port.on('message', (message: ToServing) => {
    if (message.kind === 'run') {
      tail = tail.then(() => run(message))
      return
    }
    port.removeAllListeners('message')
    // Sessions that are alive at the end of a thread have crashed processes (onnxruntime#24486).
    tail = tail.then(() => open.session.release()).finally(() => port.close())
  })
  const { graph, device, deviceNote, rowsMultiple, openedBytes } = open
  post({ kind: 'ready', opened: { graph, device, deviceNote, rowsMultiple, openedBytes, inputs: inputsOf(open), outputs: outputsOf(open) } })
}

await start()
