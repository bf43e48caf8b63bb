import { InferenceSession, type Tensor } from 'onnxruntime-node'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Device } from './device.js'
import { holdingWebgpu } from './device-lock.js'

/** A model's file that the runtime reads itself: one that is large, or keeps its weights in files beside it. */
export interface ModelPath {
  readonly path: string
  /** Use the weights where they lie in the mapped files. Otherwise each session packs a copy of them, which runs somewhat faster. */
  readonly mapped: boolean
}

export type ModelSource = Uint8Array<ArrayBuffer> | ModelPath

export type Feeds = Record<string, Tensor>
/** Outputs that are wanted; null = allocated by the run. */
export type Fetches = Record<string, Tensor | null>

/** `run` of a session, possibly guarded: see scoring-worker.ts. Output tensors in `fetches` are filled in place. */
export type RunSession = (session: InferenceSession, feeds: Feeds, fetches: Fetches) => Promise<InferenceSession.OnnxValueMapType>

export const runSession: RunSession = (session, feeds, fetches) => session.run(feeds, fetches)

/** One thread, no spinning, only the wanted provider: a node that it cannot run is an error, never a silent fall-back. */
export function sessionOptions(device: Device, mapped = false): InferenceSession.SessionOptions {
  return {
    executionProviders: [device],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // fatal only: what a run or a creation throws is handled, and its text would go to stderr besides
    logSeverityLevel: 4,
    extra: {
      session: {
        intra_op: { allow_spinning: '0' },
        inter_op: { allow_spinning: '0' },
        ...(mapped ? { disable_prepacking: '1' } : {}),
        ...(device === 'cpu' ? {} : { disable_cpu_ep_fallback: '1' }),
      },
    },
  }
}

/** Creates a session on exactly this device. Errors: MODEL_INVALID on the CPU, DEVICE_UNAVAILABLE elsewhere. */
export async function createSession(source: ModelSource, reference: string, device: Device): Promise<InferenceSession> {
  const create = (): Promise<InferenceSession> =>
    'path' in source ? InferenceSession.create(source.path, sessionOptions(device, source.mapped)) : InferenceSession.create(source, sessionOptions(device))
  try {
    return device === 'webgpu' ? inTurns(await holdingWebgpu(create)) : await create()
  } catch (error) {
    const message = `${reference} cannot run on ${device}: ${messageOf(error)}`
    throw new HarrierError(device === 'cpu' ? 'MODEL_INVALID' : 'DEVICE_UNAVAILABLE', message, { cause: error })
  }
}

/** Runs and the release of a session on WebGPU: see device-lock.ts. */
function inTurns(session: InferenceSession): InferenceSession {
  const run = session.run.bind(session) as (feeds: Feeds, fetches: Fetches) => Promise<InferenceSession.OnnxValueMapType>
  const release = session.release.bind(session)
  return Object.assign(session, {
    run: (feeds: Feeds, fetches: Fetches) => holdingWebgpu(() => run(feeds, fetches)),
    release: () => holdingWebgpu(release),
  })
}
