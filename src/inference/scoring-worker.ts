import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../base/assert.js'
import { systemClock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { Frame } from './frame.js'
import { FrameProcessor } from './frame-processor.js'
import { openModel, type OpenModel } from './open-model.js'
import { Control, WorkerState, type ErrorMessage, type FromWorker, type ToWorker, type WorkerInit } from './protocol.js'
import { SequenceMemory } from './sequence-memory.js'
import type { RunSession } from './session.js'

// The entry of a scoring worker: see protocol.ts for the messages and for who may touch the sequence memory.

assert(parentPort, 'this file runs as a worker')
const port = parentPort
const init = workerData as WorkerInit
const control = new Int32Array(init.control)
const memory = new SequenceMemory(init.layout)
for (const chunk of init.chunks) memory.attach(chunk)
const frames = new Map<number, Frame>()

const post = (message: FromWorker): void => port.postMessage(message)

const open: OpenModel[] = []

/** Moves on from one state to the next, or never returns: a condemned worker ends here. */
async function pass(from: number, to: number): Promise<void> {
  if (Atomics.compareExchange(control, Control.state, from, to) === from) return
  await end()
  await new Promise<never>(() => undefined)
}

/** Lets the thread end by itself. Sessions first: those alive at the end of a thread have crashed processes (onnxruntime#24486). */
async function end(): Promise<void> {
  port.removeAllListeners('message')
  port.close()
  for (const { session } of open.splice(0)) await session.release()
}

const run: RunSession = async (session, feeds, fetches) => {
  await pass(WorkerState.mutating, WorkerState.running)
  try {
    return await session.run(feeds, fetches)
  } finally {
    await pass(WorkerState.running, WorkerState.mutating)
  }
}

function beginModel(model: number): void {
  Atomics.store(control, Control.model, model)
  Atomics.add(control, Control.phase, 1)
}

function errorMessage(error: unknown): ErrorMessage {
  if (error instanceof HarrierError) return { code: error.code, message: error.message, remedy: error.remedy }
  return { code: null, message: messageOf(error), remedy: null }
}

async function start(): Promise<void> {
  try {
    for (const model of init.models) open.push(await openModel(model))
  } catch (error) {
    post({ kind: 'not-ready', error: errorMessage(error) })
    return end()
  }
  const models = open.map((each, index) => ({ open: each, model: init.models[index]!.model }))
  const processor = new FrameProcessor(memory, models, init.features, init.frameShape.rowsMax, systemClock, init.categories)
  let tail = Promise.resolve()
  const score = async ({ id, frame, options }: Extract<ToWorker, { kind: 'score' }>): Promise<void> => {
    await pass(WorkerState.idle, WorkerState.mutating)
    const outcome = await processor.process(frames.get(frame)!, init.worker, init.workers, options, { run, beginModel })
    await pass(WorkerState.mutating, WorkerState.idle)
    Atomics.add(control, Control.phase, 1)
    post({ kind: 'scored', id, outcome })
  }
  const fail = (error: unknown): void => {
    // a bug: let the main thread see it as the worker's 'error'
    setImmediate(() => {
      throw error
    })
  }
  port.on('message', (message: ToWorker) => {
    if (message.kind === 'chunks') for (const chunk of message.chunks) memory.attach(chunk)
    else if (message.kind === 'frame') tail = tail.then(() => void frames.set(message.index, new Frame(init.frameShape, message.index, message.memory)))
    else if (message.kind === 'score') tail = tail.then(() => score(message)).catch(fail)
    else tail = tail.then(end).catch(fail)
  })
  post({ kind: 'ready', models: open.map(({ device, deviceNote, rowsMultiple, openedBytes }) => ({ device, deviceNote, rowsMultiple, openedBytes })) })
}

await start()
