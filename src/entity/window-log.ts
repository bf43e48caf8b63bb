import { assert } from '../base/assert.js'
import { BlockPool, blockEntriesMin } from './block-pool.js'
import { History } from './history.js'
import type { UndoLog } from './undo-log.js'
import type { LabelOutcome, WindowLogOptions } from './window-log-options.js'

// Words of an entity that describe its log and windows; `EntityStore` has the others.
export const lastTimeWord = 0
const blockWord = 1
const classWord = 2
const startWord = 3
export const lengthWord = 4
/** Words that the store keeps between the log's and the windows'. */
export const windowsWord = 9

/**
 * The event log and the windows of entities whose fixed words lie elsewhere (`core` at `word`).
 *
 * An entity's log holds one entry (event time, count, values…) for each event, in event-time order, in a ring that
 * doubles. Each window keeps the position of its oldest entry, a count and the sums, so an event in order costs O(1)
 * amortised; an out-of-order event is placed in the log and read by a scan. Sums of integers are exact, whatever the
 * order, so that incremental and recomputed windows have the same bits.
 *
 * Invariants: (1) heads and sums describe the windows at `lastTime`; (2) the log keeps all entries younger than
 * stream time - grace - longest window (of those before the grace period at most `historyEntries`), and one older, which
 * tells the time since the previous event; (3) a block that an undo log may need is not written, except for the one entry
 * that the undo log saved.
 */
export class WindowLog {
  readonly coreWords: number
  /** Words of an entry. */
  readonly strideWords: number
  readonly #options: WindowLogOptions
  readonly #pool: BlockPool
  readonly #windowWords: number
  readonly #windowMaxMs: number
  readonly #saved: Float64Array
  /** Words of an entry that come with the event: summed values, then kept ones. */
  readonly #given: number
  /** Place of the hash of the event's id in an entry; -1: the log has no labels. Behind it: labels known, frauds among them. */
  readonly #idWord: number
  /** Features look back over the entries themselves, not only at running counts and sums. */
  readonly #looksBack: boolean
  /** The event that was taken last: where its entity's log lies, and how many entries are no younger, itself included. */
  readonly history: History

  /** Results of the last event. Counts for each window; sums by window, then value. */
  readonly counts: Float64Array
  readonly sums: Float64Array
  /** Event time of the entity's previous event, ms; -1 when there is none. */
  previousTimeMs = -1
  /** Event time and stream time of the event that is taken, ms. Not arguments: numbers that calls hand on may be objects on the heap, for each event. */
  readonly moment = new Float64Array(2)
  /** Resolution of a log that has met its cap, ms: the longest window and grace fit in half of the cap. */
  readonly tileMs: number
  /** How often a log at its cap was thinned out. */
  tiledMerges = 0

  constructor(options: WindowLogOptions) {
    const { windowsMs, valueCount, windowEntriesMax, keptCount = 0, labels = false, historyMs = 0 } = options
    assert(Number.isInteger(Math.log2(windowEntriesMax / blockEntriesMin)), 'the cap of a log is the size of a block')
    this.#options = options
    this.#given = valueCount + keptCount
    this.strideWords = 2 + this.#given + (labels ? 2 : 0)
    this.#idWord = labels ? 1 + this.#given : -1
    this.#looksBack = historyMs > 0
    this.#windowWords = 2 + valueCount
    this.#windowMaxMs = Math.max(historyMs, ...windowsMs)
    this.tileMs = Math.max(1, Math.ceil((this.#windowMaxMs + options.graceMs) / (windowEntriesMax / 2)))
    this.#pool = new BlockPool(this.strideWords)
    this.coreWords = windowsWord + windowsMs.length * this.#windowWords
    this.counts = new Float64Array(windowsMs.length)
    this.sums = new Float64Array(windowsMs.length * valueCount)
    this.#saved = new Float64Array(this.strideWords)
    this.history = new History({ stride: this.strideWords, valueCount, idWord: this.#idWord })
  }

  /** False where no feature looks back: then there is no log. */
  get isKept(): boolean {
    return this.#windowMaxMs > 0
  }

  get hasLabels(): boolean {
    return this.#idWord >= 0
  }

  /** Bytes of log blocks, for metrics. */
  get bytes(): number {
    return this.#pool.bytes
  }

  /** Takes the entity's log away. */
  clear(core: Float64Array, word: number, undo: UndoLog | null): void {
    if (core[word + blockWord] !== 0) this.#retire(core[word + classWord]!, core[word + blockWord]! - 1, undo)
  }

  commit(undo: UndoLog): void {
    this.#releaseAll(undo.retired)
  }

  /** After the steps of a batch have been restored. */
  rolledBack(undo: UndoLog): void {
    this.#releaseAll(undo.allocated)
  }

  /** Puts a saved entry back to where it was overwritten. */
  restoreEntry(undo: UndoLog, sizeClass: number, handle: number, position: number): void {
    undo.words.takeInto(this.#pool.chunkOf(sizeClass, handle), this.#pool.wordOf(sizeClass, handle) + position * this.strideWords, this.strideWords)
  }

  /** Gives an empty log room for `entries` entries, to be filled by `writeEntries`. */
  prepare(core: Float64Array, word: number, entries: number): void {
    assert(core[word + blockWord] === 0, 'only an empty log is prepared')
    if (entries === 0) return
    let sizeClass = 0
    while (this.#pool.entriesOf(sizeClass) < entries) sizeClass++
    core[word + blockWord] = this.#pool.allocate(sizeClass) + 1
    core[word + classWord] = sizeClass
    core[word + startWord] = 0
    core[word + lengthWord] = entries
  }

  writeEntries(core: Float64Array, word: number, entries: number, source: Float64Array, at: number): void {
    if (entries === 0) return
    const sizeClass = core[word + classWord]!
    const handle = core[word + blockWord]! - 1
    const chunk = this.#pool.chunkOf(sizeClass, handle)
    const to = this.#pool.wordOf(sizeClass, handle)
    for (let i = 0; i < entries * this.strideWords; i++) chunk[to + i] = source[at + i]!
  }

  /** Takes the event of `moment`, which is not out of order. */
  append(core: Float64Array, word: number, values: Float64Array, undo: UndoLog | null): void {
    this.#advance(core, word)
    this.#prune(core, word)
    const moved = this.#makeRoom(core, word, undo)
    const length = core[word + lengthWord]!
    const sizeClass = core[word + classWord]!
    const handle = core[word + blockWord]! - 1
    const chunk = this.#pool.chunkOf(sizeClass, handle)
    const position = (core[word + startWord]! + length) & (this.#pool.entriesOf(sizeClass) - 1)
    const at = this.#pool.wordOf(sizeClass, handle) + position * this.strideWords
    if (moved) undo?.noEntry()
    else undo?.entry(chunk, at, this.strideWords, sizeClass, handle, position)
    this.#write(chunk, at, values)
    core[word + lengthWord] = length + 1
    this.#look(core, word, length + 1)
    this.#addToWindows(core, word, values, 0, this.counts.length)
    this.#readWindows(core, word)
  }

  #write(chunk: Float64Array, at: number, values: Float64Array): void {
    chunk[at] = this.moment[0]!
    chunk[at + 1] = 1
    for (let w = 2; w < this.strideWords; w++) chunk[at + w] = w < 2 + this.#given ? values[w - 2]! : 0
  }

  /** `entries`: how many of the log are no younger than the event. */
  #look(core: Float64Array, word: number, entries: number): void {
    this.history.isOfOthers = false
    if (!this.#looksBack) return
    const sizeClass = core[word + classWord]!
    const handle = core[word + blockWord]! - 1
    this.history.set(this.#pool.chunkOf(sizeClass, handle), this.#pool.wordOf(sizeClass, handle), core[word + startWord]!, this.#pool.entriesOf(sizeClass) - 1, entries)
  }

  /** A late event looks back over the `entries` that are no younger; it is none of them itself. */
  lookFrom(core: Float64Array, word: number, entries: number): void {
    this.#look(core, word, entries)
    this.history.isOfOthers = true
  }

  /** What the event with this id turned out to be; the newest entry with it. Undone as an entry that was overwritten. */
  label(core: Float64Array, word: number, idHash: number, isFraud: boolean, undo: UndoLog | null): LabelOutcome {
    assert(this.#idWord >= 0, 'a log with labels')
    const sizeClass = core[word + classWord]!
    const handle = core[word + blockWord]! - 1
    const length = handle < 0 ? 0 : core[word + lengthWord]!
    const chunk = length === 0 ? core : this.#pool.chunkOf(sizeClass, handle)
    for (let e = length - 1, base = length === 0 ? 0 : this.#pool.wordOf(sizeClass, handle); e >= 0; e--) {
      const position = (core[word + startWord]! + e) & (this.#pool.entriesOf(sizeClass) - 1)
      const at = base + position * this.strideWords
      if (chunk[at + this.#idWord] !== idHash) continue
      const known = at + this.#idWord + 1
      const fraud = isFraud ? 1 : 0
      // An entry of several events does not say which of them is meant.
      const outcome = chunk[at + 1]! > 1 ? 'unknown' : chunk[known] === 0 ? 'applied' : chunk[known + 1] === fraud ? 'repeated' : 'conflict'
      if (outcome === 'unknown' || outcome === 'repeated') {
        undo?.noEntry()
        return outcome
      }
      undo?.entry(chunk, at, this.strideWords, sizeClass, handle, position)
      chunk[known] = 1
      chunk[known + 1] = fraud
      return outcome
    }
    undo?.noEntry()
    return 'unknown'
  }

  /** Moves the heads of all windows to the event's time t: entries at or before t - w leave. */
  #advance(core: Float64Array, word: number): void {
    const timeMs = this.moment[0]!
    const length = core[word + lengthWord]!
    if (length === 0) return
    const sizeClass = core[word + classWord]!
    const handle = core[word + blockWord]! - 1
    const chunk = this.#pool.chunkOf(sizeClass, handle)
    const base = this.#pool.wordOf(sizeClass, handle)
    const mask = this.#pool.entriesOf(sizeClass) - 1
    const start = core[word + startWord]!
    const { windowsMs, valueCount } = this.#options
    for (let i = 0; i < windowsMs.length; i++) {
      const window = word + windowsWord + i * this.#windowWords
      const edgeMs = timeMs - windowsMs[i]!
      let head = core[window]!
      while (head < length) {
        const at = base + ((start + head) & mask) * this.strideWords
        if (chunk[at]! > edgeMs) break
        core[window + 1]! -= chunk[at + 1]!
        for (let v = 0; v < valueCount; v++) core[window + 2 + v]! -= chunk[at + 2 + v]!
        head++
      }
      core[window] = head
    }
  }

  /** Drops entries that no event at or after stream time - grace, the oldest that may still come, looks back to. */
  #prune(core: Float64Array, word: number): void {
    const graceMs = this.moment[1]! - this.#options.graceMs
    const length = core[word + lengthWord]!
    if (length < 2) return
    const sizeClass = core[word + classWord]!
    const handle = core[word + blockWord]! - 1
    const chunk = this.#pool.chunkOf(sizeClass, handle)
    const base = this.#pool.wordOf(sizeClass, handle)
    const mask = this.#pool.entriesOf(sizeClass) - 1
    const start = core[word + startWord]!
    let dropped = 0
    const horizonMs = graceMs - this.#windowMaxMs
    const entries = this.#options.historyEntries ?? Infinity
    while (
      (length - dropped > 1 && chunk[base + ((start + dropped + 1) & mask) * this.strideWords]! <= horizonMs)
      || (length - dropped > entries && chunk[base + ((start + dropped + entries) & mask) * this.strideWords]! <= graceMs)
    ) dropped++
    if (dropped === 0) return
    core[word + startWord] = (start + dropped) & mask
    core[word + lengthWord] = length - dropped
    for (let i = 0; i < this.counts.length; i++) core[word + windowsWord + i * this.#windowWords]! -= dropped
  }

  /** Makes room for one more entry. True when the log moved to a new block. */
  #makeRoom(core: Float64Array, word: number, undo: UndoLog | null): boolean {
    const length = core[word + lengthWord]!
    if (core[word + blockWord] === 0) {
      core[word + blockWord] = this.#allocate(0, undo) + 1
      core[word + classWord] = 0
      core[word + startWord] = 0
      return true
    }
    const sizeClass = core[word + classWord]!
    const capacity = this.#pool.entriesOf(sizeClass)
    if (length < capacity) return false
    if (capacity < this.#options.windowEntriesMax) {
      this.#moveTo(core, word, sizeClass + 1, length, undo)
      return true
    }
    this.#thinOut(core, word, this.moment[0]!, undo)
    return true
  }

  /** Copies the log to a new block, leaving a gap before entry `gapAt` when it is less than the length. */
  #moveTo(core: Float64Array, word: number, sizeClass: number, gapAt: number, undo: UndoLog | null): Float64Array {
    const length = core[word + lengthWord]!
    const handle = this.#allocate(sizeClass, undo)
    const chunk = this.#pool.chunkOf(sizeClass, handle)
    const base = this.#pool.wordOf(sizeClass, handle)
    for (let i = 0; i < length; i++) this.copyEntry(core, word, i, chunk, base + (i < gapAt ? i : i + 1) * this.strideWords)
    this.#retire(core[word + classWord]!, core[word + blockWord]! - 1, undo)
    core[word + blockWord] = handle + 1
    core[word + classWord] = sizeClass
    core[word + startWord] = 0
    return chunk
  }

  /**
   * The log is at its cap: neighbours within one tile of `tileMs` (aligned in event time) become one entry at the time
   * of the youngest. From then on a window's count is too high by at most the events of one tile.
   */
  #thinOut(core: Float64Array, word: number, timeMs: number, undo: UndoLog | null): void {
    const length = core[word + lengthWord]!
    const sizeClass = core[word + classWord]!
    const chunk = this.#moveTo(core, word, sizeClass, length, undo)
    const base = this.#pool.wordOf(sizeClass, core[word + blockWord]! - 1)
    const stride = this.strideWords
    const { valueCount } = this.#options
    let last = base
    for (let from = base + stride; from < base + length * stride; from += stride) {
      if (Math.floor(chunk[from]! / this.tileMs) === Math.floor(chunk[last]! / this.tileMs)) {
        chunk[last] = chunk[from]!
        for (let w = 1; w < 2 + valueCount; w++) chunk[last + w]! += chunk[from + w]!
        for (let w = 2 + valueCount; w < 2 + this.#given; w++) chunk[last + w] = chunk[from + w]!
        for (let w = 2 + this.#given; w < stride; w++) chunk[last + w]! += chunk[from + w]!
      } else {
        last += stride
        for (let w = 0; w < stride; w++) chunk[last + w] = chunk[from + w]!
      }
    }
    core[word + lengthWord] = (last - base) / stride + 1
    assert(core[word + lengthWord]! < length, 'a thinned log has room')
    this.tiledMerges++
    this.#recount(core, word, timeMs)
  }

  /** Windows at time t, from the log. */
  #recount(core: Float64Array, word: number, timeMs: number): void {
    core.fill(0, word + windowsWord, word + this.coreWords)
    const length = core[word + lengthWord]!
    const entry = this.#saved
    for (let e = 0; e < length; e++) {
      this.copyEntry(core, word, e, entry, 0)
      for (let i = 0; i < this.counts.length; i++) {
        const window = word + windowsWord + i * this.#windowWords
        if (entry[0]! <= timeMs - this.#options.windowsMs[i]!) core[window]!++
        else for (let w = 1; w < this.#windowWords; w++) core[window + w]! += entry[w]!
      }
    }
  }

  /** An out-of-order event: results by a scan, then into its place in a new block, since an undo may need the old one. */
  insert(core: Float64Array, word: number, values: Float64Array, undo: UndoLog | null): void {
    undo?.noEntry()
    const timeMs = this.moment[0]!
    let position = this.positionAfter(core, word, timeMs)
    this.scan(core, word, position, timeMs, values)
    let sizeClass = core[word + classWord]!
    if (core[word + lengthWord] === this.#pool.entriesOf(sizeClass)) {
      if (this.#pool.entriesOf(sizeClass) < this.#options.windowEntriesMax) sizeClass++
      else this.#thinOut(core, word, core[word + lastTimeWord]!, undo)
      position = this.positionAfter(core, word, timeMs)
    }
    const chunk = this.#moveTo(core, word, sizeClass, position, undo)
    const at = this.#pool.wordOf(sizeClass, core[word + blockWord]! - 1) + position * this.strideWords
    this.#write(chunk, at, values)
    core[word + lengthWord]!++
    this.#look(core, word, position + 1)
    for (let i = 0; i < this.counts.length; i++) {
      if (timeMs > core[word + lastTimeWord]! - this.#options.windowsMs[i]!) this.#addToWindows(core, word, values, i, i + 1)
      else core[word + windowsWord + i * this.#windowWords]!++
    }
  }

  /** How many entries lie at or before t. */
  positionAfter(core: Float64Array, word: number, timeMs: number): number {
    let position = core[word + lengthWord]!
    while (position > 0 && this.timeAt(core, word, position - 1) > timeMs) position--
    return position
  }

  /** Windows (t - w, t] over the entries before `position`, with this event; null: with none. */
  scan(core: Float64Array, word: number, position: number, timeMs: number, values: Float64Array | null): void {
    const { valueCount, windowsMs } = this.#options
    this.fillWith(values)
    this.previousTimeMs = position > 0 ? this.timeAt(core, word, position - 1) : -1
    const entry = this.#saved
    for (let e = position - 1; e >= 0; e--) {
      this.copyEntry(core, word, e, entry, 0)
      if (entry[0]! <= timeMs - this.#windowMaxMs) break
      for (let i = 0; i < windowsMs.length; i++) {
        if (entry[0]! <= timeMs - windowsMs[i]!) continue
        this.counts[i]! += entry[1]!
        for (let v = 0; v < valueCount; v++) this.sums[i * valueCount + v]! += entry[2 + v]!
      }
    }
  }

  /** Windows that hold this event alone; null: nothing. */
  fillWith(values: Float64Array | null): void {
    const { valueCount } = this.#options
    this.counts.fill(values ? 1 : 0)
    for (let s = 0; s < this.sums.length; s++) this.sums[s] = values ? values[s % valueCount]! : 0
  }

  #addToWindows(core: Float64Array, word: number, values: Float64Array, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const window = word + windowsWord + i * this.#windowWords
      core[window + 1]!++
      for (let v = 0; v < this.#options.valueCount; v++) core[window + 2 + v]! += values[v]!
    }
  }

  #readWindows(core: Float64Array, word: number): void {
    const { valueCount } = this.#options
    for (let i = 0; i < this.counts.length; i++) {
      const window = word + windowsWord + i * this.#windowWords
      this.counts[i] = core[window + 1]!
      for (let v = 0; v < valueCount; v++) this.sums[i * valueCount + v] = core[window + 2 + v]!
    }
  }

  /** Event time of an entry, oldest 0, ms. */
  timeAt(core: Float64Array, word: number, entry: number): number {
    const sizeClass = core[word + classWord]!
    const handle = core[word + blockWord]! - 1
    const position = (core[word + startWord]! + entry) & (this.#pool.entriesOf(sizeClass) - 1)
    return this.#pool.chunkOf(sizeClass, handle)[this.#pool.wordOf(sizeClass, handle) + position * this.strideWords]!
  }

  /** All entries, oldest first: at most two runs of the ring. */
  copyEntries(core: Float64Array, word: number, target: Float64Array, at: number): void {
    const length = core[word + lengthWord]!
    if (length === 0) return
    const sizeClass = core[word + classWord]!
    const handle = core[word + blockWord]! - 1
    const chunk = this.#pool.chunkOf(sizeClass, handle)
    const base = this.#pool.wordOf(sizeClass, handle)
    const start = core[word + startWord]!
    const first = Math.min(length, this.#pool.entriesOf(sizeClass) - start)
    let to = at
    for (let from = base + start * this.strideWords; from < base + (start + first) * this.strideWords; from++) target[to++] = chunk[from]!
    for (let from = base; from < base + (length - first) * this.strideWords; from++) target[to++] = chunk[from]!
  }

  copyEntry(core: Float64Array, word: number, entry: number, target: Float64Array, at: number): void {
    const sizeClass = core[word + classWord]!
    const handle = core[word + blockWord]! - 1
    const position = (core[word + startWord]! + entry) & (this.#pool.entriesOf(sizeClass) - 1)
    const chunk = this.#pool.chunkOf(sizeClass, handle)
    const from = this.#pool.wordOf(sizeClass, handle) + position * this.strideWords
    for (let w = 0; w < this.strideWords; w++) target[at + w] = chunk[from + w]!
  }

  #allocate(sizeClass: number, undo: UndoLog | null): number {
    const handle = this.#pool.allocate(sizeClass)
    undo?.allocated.push(sizeClass)
    undo?.allocated.push(handle)
    return handle
  }

  #retire(sizeClass: number, handle: number, undo: UndoLog | null): void {
    if (!undo) return this.#pool.release(sizeClass, handle)
    undo.retired.push(sizeClass)
    undo.retired.push(handle)
  }

  #releaseAll(blocks: UndoLog['retired']): void {
    for (let i = 0; i < blocks.length; i += 2) this.#pool.release(blocks.at(i), blocks.at(i + 1))
    blocks.clear()
  }
}
