import type { Frame } from './frame.js'
import { CARRIED, ZERO, type FrameWalk, type HiddenGather } from './frame-walk.js'
import { paddedRows, type ModelRunner, type RunCounts, type RunnableModel } from './model-runner.js'
import { recodeRow } from './recodes.js'
import { RecurrentStep } from './recurrent-step.js'
import { copyFeatures, copyWords } from './ring.js'
import type { RunSession } from './session.js'
import { HIDDEN_HEAD, type HiddenSlab, type SequenceMemory } from './sequence-memory.js'

/**
 * Steps a recurrent model over the rows of a walk: first the rows whose state must be warmed, over their rings, then wave
 * by wave. One dense run for each step or wave (in chunks): gather, run, scatter.
 */
export class RecurrentRunner implements ModelRunner {
  readonly step: RecurrentStep
  readonly #gather: HiddenGather
  readonly #memory: SequenceMemory
  readonly #slab: HiddenSlab
  #warmed = new Int32Array(0)
  #warmOrder = new Int32Array(0)

  constructor(model: RunnableModel, gather: HiddenGather, memory: SequenceMemory, hiddenIndex: number) {
    this.step = new RecurrentStep(model)
    this.#gather = gather
    this.#memory = memory
    this.#slab = memory.hidden[hiddenIndex]!
  }

  async score(frame: Frame, walk: FrameWalk, scores: Float32Array, run: RunSession): Promise<RunCounts> {
    const counts: RunCounts = { rows: walk.count, runs: 0, notFinite: 0 }
    await this.#warm(counts, run)
    for (let wave = 0; wave < walk.waves; wave++) {
      const end = walk.waveAt[wave + 1]!
      for (let from = walk.waveAt[wave]!; from < end; from += this.step.batchRows) {
        const rows = Math.min(this.step.batchRows, end - from)
        const batch = paddedRows(rows, this.step.rowsMultiple)
        this.#gatherWave(frame, walk, from, rows, batch)
        const output = await this.step.run(rows, batch, run)
        counts.runs++
        counts.notFinite += this.#scatterWave(frame, walk, from, rows, batch, output, scores)
      }
    }
    return counts
  }

  #gatherWave(frame: Frame, walk: FrameWalk, from: number, rows: number, batch: number): void {
    const { features, map, recodes, source } = this.#gather
    const memory = this.#memory
    const rowFloats = frame.shape.features
    const { floats, stride } = this.#slab
    for (let b = 0; b < rows; b++) {
      const own = walk.byWave[from + b]!
      const row = walk.rows[own]!
      copyFeatures(this.step.xBits, b * features, frame.rowsBits, row * rowFloats, features, map)
      if (recodes !== null) recodeRow(this.step.xBits, b * features, recodes)
      const before = source[own]!
      if (before === CARRIED) {
        const slot = frame.slot[row]!
        this.step.gatherState(b, batch, this.#slab.words[slot >>> memory.shift]!, (slot & memory.mask) * stride + HIDDEN_HEAD)
      } else if (before === ZERO) this.step.zeroState(b, batch)
      else this.step.gatherState(b, batch, this.#warmed, before * floats)
    }
  }

  /** Keeps scores and next states; returns how many scores are not finite. */
  #scatterWave(frame: Frame, walk: FrameWalk, from: number, rows: number, batch: number, output: ArrayLike<number>, scores: Float32Array): number {
    const memory = this.#memory
    const { stride } = this.#slab
    const outputStride = this.step.reader.strideOf(output, batch)
    let notFinite = 0
    for (let b = 0; b < rows; b++) {
      const own = walk.byWave[from + b]!
      const row = walk.rows[own]!
      const score = this.step.reader.read(output, b, outputStride)
      if (score !== score) notFinite++
      scores[row] = score
      if (walk.writes[own] === 0) continue
      const slot = frame.slot[row]!
      this.step.scatterState(b, batch, this.#slab.words[slot >>> memory.shift]!, (slot & memory.mask) * stride + HIDDEN_HEAD)
    }
    return notFinite
  }

  /** Runs the rings of all rows to be warmed, step by step, the longest first so that each step is a dense prefix. */
  async #warm(counts: RunCounts, run: RunSession): Promise<void> {
    const { warmCount, warmLengths, warmBits, features } = this.#gather
    if (warmCount === 0) return
    const { floats } = this.#slab
    const { window } = this.#memory.layout
    if (this.#warmed.length < warmCount * floats) this.#warmed = new Int32Array(warmCount * floats)
    else this.#warmed.fill(0, 0, warmCount * floats)
    if (this.#warmOrder.length < warmCount) this.#warmOrder = new Int32Array(warmCount)
    const order = this.#warmOrder.subarray(0, warmCount)
    for (let i = 0; i < warmCount; i++) order[i] = i
    order.sort((a, b) => warmLengths[b]! - warmLengths[a]! || a - b)
    for (let from = 0; from < warmCount; from += this.step.batchRows) {
      let rows = Math.min(this.step.batchRows, warmCount - from)
      for (let step = 0; step < warmLengths[order[from]!]!; step++) {
        while (warmLengths[order[from + rows - 1]!]! <= step) rows--
        const batch = paddedRows(rows, this.step.rowsMultiple)
        for (let b = 0; b < rows; b++) {
          const warm = order[from + b]!
          copyWords(this.step.xBits, b * features, warmBits, (warm * window + step) * features, features)
          this.step.gatherState(b, batch, this.#warmed, warm * floats)
        }
        await this.step.run(rows, batch, run)
        counts.runs++
        for (let b = 0; b < rows; b++) this.step.scatterState(b, batch, this.#warmed, order[from + b]! * floats)
      }
    }
  }
}
