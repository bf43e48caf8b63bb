import type { HarrierError } from '../base/errors.js'
import type { DeviceInUse } from './device.js'
import type { FrameShape } from './frame.js'
import type { FrameOutcome, ProcessOptions } from './frame-processor.js'
import type { ModelToOpen } from './open-model.js'
import type { Categories } from './recodes.js'
import type { ScorerModel } from './scorer.js'
import type { SequenceChunk, SequenceLayout } from './sequence-memory.js'

/**
 * The protocol between the main thread and a scoring worker. No tensor and no row is in a message: they lie in shared
 * memory. Messages of one direction keep their order; `id` ties an answer to its request.
 */
export interface WorkerInit {
  readonly worker: number
  readonly workers: number
  readonly models: readonly ModelToOpen[]
  readonly features: readonly string[]
  readonly categories: Categories
  readonly layout: SequenceLayout
  readonly chunks: readonly SequenceChunk[]
  readonly frameShape: FrameShape
  readonly control: SharedArrayBuffer
}

export type ToWorker =
  | { readonly kind: 'chunks'; readonly chunks: readonly SequenceChunk[] }
  /** A frame that the worker has not seen, or that has other memory since. */
  | { readonly kind: 'frame'; readonly index: number; readonly memory: SharedArrayBuffer }
  | { readonly kind: 'score'; readonly id: number; readonly frame: number; readonly options: ProcessOptions }
  /** Others score: it lets go of the sequence memory and of frames, and keeps its sessions. */
  | { readonly kind: 'rest' }
  /** It scores again, with models that it has open; answered as the start is. Its control buffer stays what it was. */
  | { readonly kind: 'renew'; readonly init: Omit<WorkerInit, 'control'> }
  | { readonly kind: 'close' }

export type FromWorker =
  | { readonly kind: 'ready'; readonly models: readonly (DeviceInUse & Pick<ScorerModel, 'rowsMultiple' | 'openedBytes'>)[] }
  | { readonly kind: 'not-ready'; readonly error: ErrorMessage }
  | { readonly kind: 'scored'; readonly id: number; readonly outcome: FrameOutcome }

/** An error on its way between threads. `code` null = not a HarrierError. */
export interface ErrorMessage {
  readonly code: HarrierError['code'] | null
  readonly message: string
  readonly remedy: string | null
}

/**
 * Who may touch the sequence memory: one word that worker and main thread change by compare-and-swap only.
 *
 *     idle --(worker: frame begins)--> mutating --(before a run)--> running --(after it)--> mutating --(frame ends)--> idle
 *                                                                   running --(main: time-out)--> condemned
 *
 * 1. A worker changes the sequence memory only while mutating, the main thread a worker's slots only while it is idle or condemned.
 * 2. A condemned worker touches nothing again and ends; its frame is undone for its slots and given to a fresh worker.
 */
export const WorkerState = { idle: 0, mutating: 1, running: 2, condemned: 3 } as const

/** Words of the control buffer. */
export const Control = { state: 0, model: 1, phase: 2, words: 3 } as const
