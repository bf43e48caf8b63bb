import { NO_UPDATE, RESET, type Frame } from './frame.js'
import { recodeRow, type Recodes } from './recodes.js'
import { copyFeatures, copyWords, gatherRing, ringInsert, ringPlace, ringVictim, type FeatureMap } from './ring.js'
import { HIDDEN_HEAD, HIDDEN_MARKED, type SequenceMemory } from './sequence-memory.js'
import { touchesMemory } from './undo.js'

/** Where a row's hidden state before it comes from; a number >= 0 is a place among the warmed. */
export const CARRIED = -1
export const ZERO = -2

/** Window models with the same features and window share one gathered input. */
export interface WindowGather {
  /** W of the models; the row itself is the last of it, so the ring needs W - 1 rows. */
  readonly window: number
  readonly features: number
  readonly map: FeatureMap
  readonly recodes: Recodes
  /** True: zeros stand after the rows of a short history, else before them. */
  readonly right: boolean
  /** Of the rows of the walk's last chunk, [rows, W, F], padded with zeros. */
  bits: Int32Array
  /** Real rows of each window of the chunk. */
  readonly lengths: Int32Array
}

/** What the walk finds for one recurrent model. */
export interface HiddenGather {
  readonly epoch: number
  readonly features: number
  readonly map: FeatureMap
  readonly recodes: Recodes
  /** For each own row: CARRIED, ZERO or its place among the warmed. */
  readonly source: Int32Array
  warmCount: number
  /** Rows of the ring to run over, for each warmed. */
  readonly warmLengths: Int32Array
  /** [warmed, W, F] */
  warmBits: Int32Array
}

export interface WalkModels {
  readonly windows: readonly WindowGather[]
  /** In the order of the memory's hidden slabs. */
  readonly hidden: readonly HiddenGather[]
}

/**
 * Takes the rows of a frame into the ring, in order, and gathers what the models need while the ring stands as that row
 * found it. Leaves: `rows` (the frame's rows that belong to this worker), `waveOf`, the gathers, the frame's undo columns.
 * It goes in chunks: the windows of one are run while they are in the cache, before those of the next take their place.
 *
 * Waves: wave k holds rows that need k steps of their entity's hidden state in this frame before them. A row that only
 * reads (late, out-of-order) stands in the wave whose state it reads, before the row that overwrites it.
 */
export class FrameWalk {
  readonly rows: Int32Array
  count = 0
  /** Where the last chunk begins. */
  chunkAt = 0
  waves = 0
  /** Own rows sorted by wave, stably. */
  readonly byWave: Int32Array
  /** Where each wave begins in `byWave`; [waves + 1] in use. */
  readonly waveAt: Int32Array
  /** 1 = the row's next hidden state is kept. By own row. */
  readonly writes: Uint8Array
  warmedRows = 0
  readonly #memory: SequenceMemory
  readonly #models: WalkModels
  readonly #waveOf: Int32Array
  // slot -> (writing rows so far in this frame) * 2 + (hidden states saved): open addressing, emptied by a new stamp
  readonly #slots: Int32Array
  readonly #seen: Int32Array
  readonly #stamps: Int32Array
  readonly #hashShift: number
  #stamp = 0
  /** Row of the frame that is next. */
  #next = 0

  constructor(memory: SequenceMemory, models: WalkModels, rowsMax: number) {
    this.#memory = memory
    this.#models = models
    this.rows = new Int32Array(rowsMax)
    this.byWave = new Int32Array(rowsMax)
    this.waveAt = new Int32Array(rowsMax + 1)
    this.writes = new Uint8Array(rowsMax)
    this.#waveOf = new Int32Array(rowsMax)
    const bits = 33 - Math.clz32(rowsMax)
    this.#hashShift = 32 - bits
    this.#slots = new Int32Array(1 << bits)
    this.#seen = new Int32Array(1 << bits)
    this.#stamps = new Int32Array(1 << bits)
  }

  begin(): void {
    this.count = 0
    this.chunkAt = 0
    this.waves = 0
    this.warmedRows = 0
    this.#next = 0
    this.#stamp++
    for (const hidden of this.#models.hidden) hidden.warmCount = 0
    this.waveAt.fill(0)
  }

  /**
   * Walks the next rows, at most `rowsMax`, of slots with slot % workers = worker; says whether the frame has more. `gathers`: windows
   * are gathered, at their row's place in the chunk.
   */
  walk(frame: Frame, worker: number, workers: number, rowsMax: number, gathers: boolean): boolean {
    const { slot: slots, count: rows } = frame
    this.chunkAt = this.count
    const windows = gathers ? this.#models.windows : []
    for (; this.#next < rows && this.count - this.chunkAt < rowsMax; this.#next++) {
      if (workers > 1 && slots[this.#next]! % workers !== worker) continue
      this.#take(frame, this.#next, windows)
    }
    return this.#next < rows
  }

  /** The waves, once all rows have been walked. */
  end(): void {
    this.#sortByWave()
  }

  #take(frame: Frame, row: number, windows: readonly WindowGather[]): void {
    const memory = this.#memory
    const { window } = memory.layout
    const { undo } = frame
    const own = this.count++
    this.rows[own] = row
    const slot = frame.slot[row]!
    const flags = frame.flags[row]!
    const eventTime = frame.eventTime[row]!
    const chunk = slot >>> memory.shift
    const local = slot & memory.mask
    const words = memory.ringWords[chunk]!
    const at = local * memory.ringStride
    let count = words[at]!
    let head = words[at + 1]!
    undo.ringCount[row] = count
    undo.ringHead[row] = head
    undo.place[row] = -1
    undo.taken[row] = 1
    const late = (flags & NO_UPDATE) !== 0
    if ((flags & RESET) !== 0) words[at] = words[at + 1] = count = head = 0
    const place = ringPlace(memory, slot, count, head, eventTime)
    // a late row is scored as if it were the newest
    const before = late ? count : place
    for (let index = 0; index < windows.length; index++) this.#gatherWindow(windows[index]!, own, frame, row, slot, head, before)
    const inOrder = place === count
    const inserted = !late && window > 0 && (count < window || place > 0)
    const writes = !late && inOrder
    this.writes[own] = writes ? 1 : 0
    const cell = this.#cell(slot)
    const seen = this.#seen[cell]!
    const wave = seen >> 1
    const saves = touchesMemory(flags) && (seen & 1) === 0
    this.#seen[cell] = ((writes ? wave + 1 : wave) << 1) | (seen & 1) | (saves ? 1 : 0)
    this.#waveOf[own] = wave
    this.waveAt[wave + 1]!++
    if (wave >= this.waves) this.waves = wave + 1
    for (let index = 0; index < this.#models.hidden.length; index++) {
      const needsWarming = this.#takeHidden(index, frame, row, own, saves, writes, inserted, inOrder || late)
      if (needsWarming && before > 0) this.#gatherWarm(this.#models.hidden[index]!, own, slot, head, before)
    }
    if (!inserted) return
    const { features } = memory.layout
    const victim = ringVictim(count, head, window)
    undo.place[row] = place
    undo.overwrittenTime[row] = memory.ringTimes[chunk]![at / 2 + 1 + victim]!
    copyWords(undo.overwrittenBits, row * features, words, at + memory.ringRowsAt + victim * features, features)
    ringInsert(memory, slot, place, eventTime, frame.rowsBits, row * features)
  }

  /** Saves, decides where the hidden state before the row comes from, and says whether it must be warmed. */
  #takeHidden(index: number, frame: Frame, row: number, own: number, saves: boolean, writes: boolean, inserted: boolean, newest: boolean): boolean {
    const memory = this.#memory
    const model = this.#models.hidden[index]!
    const slab = memory.hidden[index]!
    const undo = frame.undo.hidden[index]!
    const slot = frame.slot[row]!
    const words = slab.words[slot >>> memory.shift]!
    const at = (slot & memory.mask) * slab.stride
    const epoch = words[at]!
    const flags = words[at + 1]!
    const reset = (frame.flags[row]! & RESET) !== 0
    undo.saved[row] = saves ? 1 : 0
    if (saves) {
      undo.meta[row * 2] = epoch
      undo.meta[row * 2 + 1] = flags
      copyWords(undo.bits, row * slab.floats, words, at + HIDDEN_HEAD, slab.floats)
    }
    if (writes) {
      words[at] = model.epoch
      words[at + 1] = 0
    } else if (inserted || reset) words[at + 1] = flags | HIDDEN_MARKED
    const usable = newest && epoch === model.epoch && (flags & HIDDEN_MARKED) === 0
    model.source[own] = usable && !reset ? CARRIED : ZERO
    return !usable && !reset
  }

  #gatherWarm(model: HiddenGather, own: number, slot: number, head: number, before: number): void {
    const { window } = this.#memory.layout
    const at = model.warmCount * window * model.features
    const end = at + window * model.features
    if (end > model.warmBits.length) {
      const grown = new Int32Array(Math.max(end, model.warmBits.length * 2))
      grown.set(model.warmBits)
      model.warmBits = grown
    }
    gatherRing(this.#memory, slot, head, 0, before, model.warmBits, at, model.features, model.map)
    if (model.recodes !== null) for (let i = 0; i < before; i++) recodeRow(model.warmBits, at + i * model.features, model.recodes)
    model.warmLengths[model.warmCount] = before
    model.source[own] = model.warmCount++
    this.warmedRows++
  }

  #gatherWindow(gather: WindowGather, own: number, frame: Frame, row: number, slot: number, head: number, before: number): void {
    const { window, features, map, recodes, right } = gather
    const rows = Math.min(before, window - 1)
    const place = own - this.chunkAt
    const at = place * window * features
    const end = at + window * features
    if (end > gather.bits.length) {
      const grown = new Int32Array(Math.max(end, gather.bits.length * 2))
      grown.set(gather.bits)
      gather.bits = grown
    }
    const rowsAt = right ? at : at + (window - 1 - rows) * features
    const ownAt = rowsAt + rows * features
    gather.bits.fill(0, at, rowsAt)
    gather.bits.fill(0, ownAt + features, end)
    gatherRing(this.#memory, slot, head, before - rows, before, gather.bits, rowsAt, features, map)
    copyFeatures(gather.bits, ownAt, frame.rowsBits, row * this.#memory.layout.features, features, map)
    if (recodes !== null) for (let i = rowsAt; i <= ownAt; i += features) recodeRow(gather.bits, i, recodes)
    gather.lengths[place] = rows + 1
  }

  /** The place of a slot in the table of this frame's slots. */
  #cell(slot: number): number {
    const mask = this.#slots.length - 1
    let cell = Math.imul(slot, 0x9e3779b1) >>> this.#hashShift
    while (this.#stamps[cell] === this.#stamp && this.#slots[cell] !== slot) cell = (cell + 1) & mask
    if (this.#stamps[cell] !== this.#stamp) {
      this.#stamps[cell] = this.#stamp
      this.#slots[cell] = slot
      this.#seen[cell] = 0
    }
    return cell
  }

  #sortByWave(): void {
    const { waveAt, waves } = this
    for (let wave = 0; wave < waves; wave++) waveAt[wave + 1]! += waveAt[wave]!
    for (let own = 0; own < this.count; own++) this.byWave[waveAt[this.#waveOf[own]!]!++] = own
    // filling moved each start to its end
    for (let wave = waves; wave > 0; wave--) waveAt[wave] = waveAt[wave - 1]!
    waveAt[0] = 0
  }
}
