import { assert } from '../base/assert.js'
import type { Explanation } from './explainer.js'
import type { ScoringModels } from './scorer.js'
import type { HiddenSlab } from './sequence-memory.js'

/** The entity is new or has expired: its ring and hidden states are empty before this row. */
export const RESET = 1
/** A late event: scored from the sequence as it stands with this row appended; the memory stays as it is. */
export const NO_UPDATE = 2

/** What became of a model in a frame. */
export const ModelStatus = { pending: 0, scored: 1, failed: 2, notRun: 3 } as const
export type ModelStatus = (typeof ModelStatus)[keyof typeof ModelStatus]

export type FailureKind = 'threw' | 'timed-out' | 'set-aside' | 'skipped'

export interface ModelFailure {
  readonly model: number
  readonly kind: FailureKind
  readonly message: string
}

export interface FrameShape {
  readonly rowsMax: number
  /** F: floats of a feature row. */
  readonly features: number
  /** Models whose scores it carries. */
  readonly models: number
  /** Floats of the hidden state of each recurrent model. */
  readonly hiddenFloats: readonly number[]
}

export const rowsMaxDefault = 2000
export const rowsMaxLimit = 16_384

/** The before-images of a frame's rows: what `undo` needs to restore the sequence memory exactly. */
export interface UndoColumns {
  /** 1 = the row has been taken into the memory and not been undone. */
  readonly taken: Uint8Array
  readonly ringCount: Int32Array
  readonly ringHead: Int32Array
  /** Where in event-time order the row was put; -1 = not put. */
  readonly place: Int32Array
  readonly overwrittenTime: Float64Array
  /** [rowsMax, F] */
  readonly overwrittenBits: Int32Array
  readonly hidden: readonly HiddenUndoColumns[]
}

export interface HiddenUndoColumns {
  readonly floats: number
  /** 1 = this row was the first of the frame to touch the hidden state of its slot, and saved it. */
  readonly saved: Uint8Array
  /** [epoch, flags] for each row */
  readonly meta: Int32Array
  /** [rowsMax, H] */
  readonly bits: Int32Array
}

/**
 * The rows of one batch on their way through inference, as columns in shared memory. The main thread fills `count`,
 * `rows`, `slot`, `flags`, `keyHash` and `eventTime`, calls `Scorer.score`, and reads `scores` and `status`. Its columns are others after
 * `reshape`, which comes between two batches: nobody keeps them longer.
 */
export class Frame {
  shape!: FrameShape
  memory!: SharedArrayBuffer
  /** Its number in the scorer's pool. */
  readonly index: number
  /** Feature rows, [rowsMax, F]. */
  rows!: Float32Array
  /** The same rows as bits: copying them is exact. */
  rowsBits!: Int32Array
  slot!: Int32Array
  flags!: Uint8Array
  /** Hash of the entity's key: who decides goes by it. */
  keyHash!: Uint32Array
  /** Event times, ms since 1970. */
  eventTime!: Float64Array
  /** Scores by model, [rowsMax] each; NaN where a model gave none. */
  scores!: readonly Float32Array[]
  /** One `ModelStatus` for each model. */
  status!: Uint8Array
  undo!: UndoColumns
  /** The models that score it, or have. Kept on the main thread only. */
  models: ScoringModels = { release: 0, models: [] }
  /** The hidden states that it changes, in the order of `undo.hidden`; null: those of the memory. Kept on the main thread only. */
  slabs: readonly HiddenSlab[] | null = null
  /** Why models failed in this frame. Kept on the main thread only. */
  failures: ModelFailure[] = []
  /** By row: why the model that decides it gave it its score, where that was asked for. Kept on the main thread only. */
  readonly explanations = new Map<number, Explanation>()
  #count!: Int32Array

  constructor(shape: FrameShape, index = 0, memory?: SharedArrayBuffer) {
    this.index = index
    this.#carve(shape, memory)
  }

  /** For other models: rows, slots, flags, hashes and event times stay, what models leave in a frame is empty. */
  reshape(shape: FrameShape): void {
    const { count, rows, slot, flags, keyHash, eventTime } = this
    this.#carve(shape)
    this.count = count
    this.rows.set(rows.subarray(0, count * shape.features))
    this.slot.set(slot.subarray(0, count))
    this.flags.set(flags.subarray(0, count))
    this.keyHash.set(keyHash.subarray(0, count))
    this.eventTime.set(eventTime.subarray(0, count))
  }

  #carve(shape: FrameShape, memory?: SharedArrayBuffer): void {
    const { rowsMax, features, models, hiddenFloats } = shape
    assert(rowsMax > 0 && rowsMax <= rowsMaxLimit, `a frame has 1 to ${rowsMaxLimit} rows`)
    const carve = new Carver()
    const eventTimeAt = carve.take(rowsMax * 8)
    const overwrittenTimeAt = carve.take(rowsMax * 8)
    const countAt = carve.take(4)
    const rowsAt = carve.take(rowsMax * features * 4)
    const slotAt = carve.take(rowsMax * 4)
    const flagsAt = carve.take(rowsMax)
    const keyHashAt = carve.take(rowsMax * 4)
    const scoresAt = Array.from({ length: models }, () => carve.take(rowsMax * 4))
    const statusAt = carve.take(models)
    const takenAt = carve.take(rowsMax)
    const ringCountAt = carve.take(rowsMax * 4)
    const ringHeadAt = carve.take(rowsMax * 4)
    const placeAt = carve.take(rowsMax * 4)
    const overwrittenAt = carve.take(rowsMax * features * 4)
    const hiddenAt = hiddenFloats.map((floats) => {
      return { saved: carve.take(rowsMax), meta: carve.take(rowsMax * 8), bits: carve.take(rowsMax * floats * 4) }
    })
    this.shape = shape
    this.memory = memory ?? new SharedArrayBuffer(carve.bytes)
    const buffer = this.memory
    this.#count = new Int32Array(buffer, countAt, 1)
    this.rows = new Float32Array(buffer, rowsAt, rowsMax * features)
    this.rowsBits = new Int32Array(buffer, rowsAt, rowsMax * features)
    this.slot = new Int32Array(buffer, slotAt, rowsMax)
    this.flags = new Uint8Array(buffer, flagsAt, rowsMax)
    this.keyHash = new Uint32Array(buffer, keyHashAt, rowsMax)
    this.eventTime = new Float64Array(buffer, eventTimeAt, rowsMax)
    this.scores = scoresAt.map((at) => new Float32Array(buffer, at, rowsMax))
    this.status = new Uint8Array(buffer, statusAt, models)
    this.undo = {
      taken: new Uint8Array(buffer, takenAt, rowsMax),
      ringCount: new Int32Array(buffer, ringCountAt, rowsMax),
      ringHead: new Int32Array(buffer, ringHeadAt, rowsMax),
      place: new Int32Array(buffer, placeAt, rowsMax),
      overwrittenTime: new Float64Array(buffer, overwrittenTimeAt, rowsMax),
      overwrittenBits: new Int32Array(buffer, overwrittenAt, rowsMax * features),
      hidden: hiddenFloats.map((floats, model) => ({
        floats,
        saved: new Uint8Array(buffer, hiddenAt[model]!.saved, rowsMax),
        meta: new Int32Array(buffer, hiddenAt[model]!.meta, rowsMax * 2),
        bits: new Int32Array(buffer, hiddenAt[model]!.bits, rowsMax * floats),
      })),
    }
  }

  /** What a row is about, beside its features. `eventTime`: ms since 1970. */
  put(row: number, slot: number, flags: number, keyHash: number, eventTime: number): void {
    this.slot[row] = slot
    this.flags[row] = flags
    this.keyHash[row] = keyHash
    this.eventTime[row] = eventTime
  }

  /** Rows in use. */
  get count(): number {
    return this.#count[0]!
  }

  set count(count: number) {
    assert(count >= 0 && count <= this.shape.rowsMax, `a frame holds at most ${this.shape.rowsMax} rows`)
    this.#count[0] = count
  }

  /** Indexes of the models that failed in this frame: what lineage records and a replay passes as `skip`. */
  get failedModels(): number[] {
    return this.failures.map((failure) => failure.model).sort((a, b) => a - b)
  }
}

/** Gives out 8-byte aligned places in one buffer. */
class Carver {
  bytes = 0

  take(bytes: number): number {
    const at = this.bytes
    this.bytes = at + Math.ceil(bytes / 8) * 8
    return at
  }
}
