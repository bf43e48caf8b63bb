import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { DevicePolicy, DeviceInUse } from './device.js'
import type { ExplainOptions } from './explainer.js'
import type { Frame } from './frame.js'
import type { LoadedModel } from './loaded-model.js'
import type { ModelKind } from './manifest.js'
import type { Categories } from './recodes.js'
import type { SequenceMemory } from './sequence-memory.js'
import type { WorkerRuleLimits } from './worker-rule.js'

export const modelRoles = ['champion', 'challenger', 'shadow', 'fallback'] as const
export type ModelRole = (typeof modelRoles)[number]

/** A model as it really runs: what lineage, metrics and the live view show. */
export interface ScorerModel extends DeviceInUse {
  /** `name@version` */
  readonly reference: string
  readonly sha256: string
  /** Of what its manifest says of inputs, outputs and score. */
  readonly manifestDigest: string
  readonly role: ModelRole
  /** Part of the events that it decides, 0 to 1. */
  readonly share: number
  readonly kind: ModelKind
  /** The release epoch; a hidden state of another epoch is warmed from the ring. */
  readonly epoch: number
  /** Rows of a run are padded to a multiple of this, because the model's scores depend on the batch size otherwise; 1 = free. */
  readonly rowsMultiple: number
  /** Bytes of its files. */
  readonly fileBytes: number
  /**
   * By how much the process grew while the first worker opened it: an estimate, since others go on meanwhile. Each further worker
   * takes as much again, except for mapped weights.
   */
  readonly openedBytes: number
}

/** The models that score together, and by which release. Another one comes as another object. */
export interface ScoringModels {
  /** Revision of the stage's releases; 0: the models that the topology names. */
  readonly release: number
  readonly models: readonly ScorerModel[]
}

export interface ScoreOptions {
  /** Restore: run only what state needs (recurrent models); no window or row models. */
  readonly stateOnly?: boolean
  /** Models that the lineage record says had failed: left out again, with the same effect on state. */
  readonly skip?: readonly number[]
  /** Which of the scores that decide are explained, in `frame.explanations`; absent: none. */
  readonly explain?: ExplainOptions | undefined
}

export interface ModelMetrics {
  readonly reference: string
  readonly rows: number
  readonly runs: number
  /** Time in the model's runs, with gather and scatter, of all workers together. */
  readonly computeMs: number
  readonly failures: Readonly<Record<'threw' | 'timed-out' | 'set-aside' | 'notFinite', number>>
}

export interface ScorerMetrics {
  readonly frames: number
  readonly rows: number
  /** Time from the `score` calls to their end, less the time of the slowest worker in the frame. */
  readonly queueMs: number
  /** Time from beginning to end of the frames in the workers, of all workers together. */
  readonly computeMs: number
  /** Rows whose hidden state was warmed from the ring, summed over models. */
  readonly warmedRows: number
  /** Threads that run models now. */
  readonly workers: number
  readonly workerRestarts: number
  /** Models that `device: auto` runs on the CPU, since no GPU could run them: see `deviceNote`. */
  readonly deviceFallbacks: number
  readonly models: readonly ModelMetrics[]
  /** Scores that were explained, the extra rows of their models, and the time that both took, of all workers together. */
  readonly explained: { readonly events: number; readonly rows: number; readonly computeMs: number }
}

/**
 * Scores frames of feature rows with every model of a stage, and keeps the sequence memory of its entities.
 *
 * 1. Frames take effect in the order of the `score` calls; at most `framesMax` are in flight. `framesMax` is the pool's size.
 * 2. A score does not depend on batch borders, on neighbours in the batch or on the number of workers.
 * 3. `undo` may be called for a frame whose `score` has settled, while no frame is in flight; the newest frame first.
 * 4. A model that fails does not reject `score`: `frame.failures` says so. A rejected `score` means that the scorer is lost.
 * 5. All rows of a frame are scored by the same models, and `frame.models` says by which.
 */
export interface Scorer {
  readonly models: readonly ScorerModel[]
  readonly inForce: ScoringModels
  readonly memory: SequenceMemory
  /** See device-class.ts. */
  readonly deviceClass: string
  /** A free frame of the pool, emptied, or null when all are in use. */
  acquireFrame(): Frame | null
  releaseFrame(frame: Frame): void
  score(frame: Frame, options?: ScoreOptions): Promise<void>
  /** Restores the sequence memory to what it was before the frame, to the bit. */
  undo(frame: Frame): void
  /**
   * Opens other models, by fresh workers while the old ones go on scoring. Errors: MODEL_INVALID, DEVICE_UNAVAILABLE; then everything
   * is as before. A recurrent model of the same file and epoch goes on with its states; all others are warmed from the ring.
   */
  openModels(uses: readonly ModelUse[], release: number): Promise<ModelSwitch>
  metrics(): ScorerMetrics
  close(): Promise<void>
}

/** Models that are open and wait to take over. Whoever has one calls one of the two. */
export interface ModelSwitch {
  /**
   * Between two frames: those that were given out settle first, those that come meanwhile are scored by the new models. The old
   * workers end, and with them their sessions' memory. Rejects when the new ones have ended; then everything is as before.
   * No frame of a restore may be waiting: its `skip` counts the models of now.
   */
  takeOver(): Promise<void>
  abandon(): void
}

/** Limits of a scorer; every one has a default. */
export interface ScorerLimits {
  /** Rows of a frame. */
  readonly rowsMax: number
  /** Frames of the pool: the batch being committed and the one ahead. */
  readonly framesMax: number
  /** Time-outs in a minute after which a model is set aside. */
  readonly workerRestartsPerMinuteMax: number
  /** How long a model that was set aside stays so. */
  readonly modelRetryAfterMs: number
  /** How long a worker may take to load its models. */
  readonly workerStartMsMax: number
  /** How long a worker may take to close before it is terminated. */
  readonly closeMsMax: number
  /** Memory of the models that scored last and stay open for a way back, of all workers together. */
  readonly restingBytesMax: number
}

export const scorerLimitsDefault: ScorerLimits = {
  rowsMax: 2000,
  framesMax: 3,
  workerRestartsPerMinuteMax: 3,
  modelRetryAfterMs: 60_000,
  workerStartMsMax: 60_000,
  closeMsMax: 3_000,
  restingBytesMax: 1 << 30,
}

export interface ModelUse {
  readonly model: LoadedModel
  readonly role: ModelRole
  /** Release epoch; default 1. */
  readonly epoch?: number
  /** Part of the events that it decides; default: the champion all, others none. */
  readonly share?: number
}

export interface ScorerOptions {
  /** Names of the stage's features, in the order of its rows. */
  readonly features: readonly string[]
  /** Which of the features are categories, and their values; default none. */
  readonly categories?: Categories
  /** W: rows of the ring of an entity. */
  readonly window: number
  readonly models: readonly ModelUse[]
  /** Which release these are; default 0. */
  readonly release?: number
  readonly device: DevicePolicy
  /** Worker threads; 0 = on the calling thread, without time-outs (tests and the topology driver). */
  readonly workers: number
  /** The scorer may open so many while its models are what limits it: see `WorkerRule`. Default: `workers`. */
  readonly workersMax?: number
  /** What differs from `workerRuleLimits`. */
  readonly workerRule?: Partial<WorkerRuleLimits>
  readonly clock: Clock
  readonly logger?: Logger
  readonly limits?: Partial<ScorerLimits>
  /** Slots of a chunk of sequence memory; a power of two. */
  readonly chunkSlots?: number
}
