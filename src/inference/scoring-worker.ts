import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../base/assert.js'
import { systemClock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { Frame } from './frame.js'
import { FrameProcessor } from './frame-processor.js'
import { checkModelFiles } from './loaded-model.js'
import { openingKey, openModel, type OpenModel } from './open-model.js'
import { Control, WorkerState, type ErrorMessage, type FromWorker, type ToWorker, type WorkerInit } from './protocol.js'
import { SequenceMemory } from './sequence-memory.js'
import type { RunSession } from './session.js'

// The entry of a scoring worker: see protocol.ts for the messages and for who may touch the sequence memory.

assert(parentPort, 'this file runs as a worker')
const port = parentPort
const first = workerData as WorkerInit
const control = new Int32Array(first.control)
const { worker } = first
let init: Omit<WorkerInit, 'control'> = first
let memory = new SequenceMemory(init.layout)
for (const chunk of init.chunks) memory.attach(chunk)
const frames = new Map<number, Frame>()

const post = (message: FromWorker): void => port.postMessage(message)

/** All that it has ever opened, by key: sessions are never replaced within a thread. */
const open = new Map<string, OpenModel>()

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
  const sessions = [...open.values()]
  open.clear()
  for (const { session } of sessions) await session.release()
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

/** The models of `init`, of sessions that are open. */
function processorOf(): FrameProcessor {
  const models = init.models.map(({ model, epoch }) => ({ open: { ...open.get(openingKey(model))!, epoch }, model }))
  return new FrameProcessor(memory, models, init.features, init.frameShape.rowsMax, systemClock, init.categories)
}

function ready(): void {
  post({ kind: 'ready', models: init.models.map(({ model }) => open.get(openingKey(model))!).map(({ device, deviceNote, rowsMultiple, openedBytes }) => ({ device, deviceNote, rowsMultiple, openedBytes })) })
}

async function start(): Promise<void> {
  try {
    for (const model of init.models) open.set(openingKey(model.model), await openModel(model))
  } catch (error) {
    post({ kind: 'not-ready', error: errorMessage(error) })
    return end()
  }
  let processor: FrameProcessor | null = processorOf()
  /** Whatever has become of the files since it opened them: what is not there any more is refused, as at a start. */
  const renew = async (next: Omit<WorkerInit, 'control'>): Promise<void> => {
    try {
      for (const { model } of next.models) checkModelFiles(model)
    } catch (error) {
      post({ kind: 'not-ready', error: errorMessage(error) })
      return end()
    }
    init = next
    memory = new SequenceMemory(init.layout)
    processor = processorOf()
    ready()
  }
  const rest = (): void => {
    processor = null
    memory = new SequenceMemory({ ...init.layout, hidden: [] })
    frames.clear()
  }
  let tail = Promise.resolve()
  const score = async ({ id, frame, options }: Extract<ToWorker, { kind: 'score' }>): Promise<void> => {
    await pass(WorkerState.idle, WorkerState.mutating)
    const outcome = await processor!.process(frames.get(frame)!, worker, init.workers, options, { run, beginModel })
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
    if (message.kind === 'chunks') tail = tail.then(() => message.chunks.forEach((chunk) => memory.attach(chunk)))
    else if (message.kind === 'frame') tail = tail.then(() => void frames.set(message.index, new Frame(init.frameShape, message.index, message.memory)))
    else if (message.kind === 'score') tail = tail.then(() => score(message)).catch(fail)
    else if (message.kind === 'rest') tail = tail.then(rest)
    else if (message.kind === 'renew') tail = tail.then(() => renew(message.init)).catch(fail)
    else tail = tail.then(end).catch(fail)
  })
  ready()
}

await start()
