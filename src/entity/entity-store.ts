import { SlotTable } from './slot-table.js'
import type { UndoLog } from './undo-log.js'
import { lastTimeWord, lengthWord, WindowLog, windowsWord } from './window-log.js'
import type { LabelOutcome, WindowLogOptions } from './window-log-options.js'

export interface EntityStoreOptions extends WindowLogOptions {
  readonly keyBytesMax: number
  /** An entity whose last event lies further back than this, in event time, starts anew. */
  readonly ttlMs: number
  /** Slots know up to which day they have been turned; see topology/day-turns.ts. */
  readonly turnsDays?: boolean
}

const eventsWord = 5
/** Sequence + 1 of the first batch whose change is not on the changelog; 0: clean. */
const dirtySinceWord = 6
/** Sequence + 1 of the newest batch that the slot reflects; while a restore folds, that its changelog record reflects. 0: none. */
const asOfWord = 7
/** Partition + 1 of the task that owns the slot. */
const ownerWord = 8
/** Words before the windows in an export: last time, events, length of the log. */
const exportHeadWords = 3

/**
 * The fixed and growing state of every entity of one stage, but for its sequence memory: numbers in slabs, no object
 * for an entity. Windows are in window-log.ts; here are life, expiry, dirtiness and undo.
 */
export class EntityStore {
  readonly slots: SlotTable
  readonly log: WindowLog
  readonly #ttlMs: number
  /** The word of the day mark, the last of a slot; -1: there is none. */
  readonly #dayWord: number
  /** Slots of tasks that are gone and that have not been given back yet. */
  readonly #abandoned: Iterator<number>[] = []

  constructor(options: EntityStoreOptions) {
    this.#ttlMs = options.ttlMs
    // A turned day looks at the log from a moment that lies behind.
    this.log = new WindowLog(options.turnsDays ? { ...options, historyEntries: undefined } : options)
    const words = this.log.coreWords
    this.#dayWord = options.turnsDays ? words : -1
    this.slots = new SlotTable({ keyBytesMax: options.keyBytesMax, coreWords: options.turnsDays ? words + 1 : words })
  }

  /** Bytes of slots and logs. */
  get bytes(): number {
    return this.slots.made * this.slots.bytesPerSlot + this.log.bytes
  }

  /** True when the slot has no live entity at this stream time: never used, or expired in event time. */
  isFresh(slot: number, streamTimeMs: number): boolean {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    return core[word + eventsWord] === 0 || core[word + lastTimeWord]! + this.#ttlMs < streamTimeMs
  }

  /** Marks the slot dirty as of batch `sequence`. True when it was clean. */
  markDirty(slot: number, sequence: number): boolean {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot) + dirtySinceWord
    if (core[word] !== 0) return false
    core[word] = sequence + 1
    return true
  }

  /** Sequence of the first batch whose change to the slot is not on the changelog; Infinity when it is clean. */
  dirtySince(slot: number): number {
    const since = this.slots.coreOf(slot)[this.slots.wordOf(slot) + dirtySinceWord]!
    return since === 0 ? Infinity : since - 1
  }

  setOwner(slot: number, partition: number): void {
    this.slots.coreOf(slot)[this.slots.wordOf(slot) + ownerWord] = partition + 1
  }

  /** Partition of the task that owns the slot; -1: none. */
  owner(slot: number): number {
    return this.slots.coreOf(slot)[this.slots.wordOf(slot) + ownerWord]! - 1
  }

  markClean(slot: number): void {
    this.slots.coreOf(slot)[this.slots.wordOf(slot) + dirtySinceWord] = 0
  }

  /** Batches up to this sequence are in the slot already; -1: none. */
  asOf(slot: number): number {
    return this.slots.coreOf(slot)[this.slots.wordOf(slot) + asOfWord]! - 1
  }

  /** The batch has changed the slot. Undone with the rest of its words. */
  touch(slot: number, sequence: number): void {
    this.slots.coreOf(slot)[this.slots.wordOf(slot) + asOfWord] = sequence + 1
  }

  /**
   * Takes an event at `log.moment` into the entity's windows and leaves the windows at its time in `log.counts`, `log.sums`,
   * `log.previousTimeMs`. The event is not late: its time >= stream time - grace. True when the entity started anew.
   */
  fold(slot: number, values: Float64Array, undo: UndoLog | null): boolean {
    const { log } = this
    const timeMs = log.moment[0]!
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    undo?.slot(slot, core, word, this.slots.coreWords)
    const fresh = this.isFresh(slot, log.moment[1]!)
    if (fresh) this.#clear(core, word, undo)
    const inOrder = fresh || timeMs >= core[word + lastTimeWord]!
    log.previousTimeMs = core[word + eventsWord] === 0 ? -1 : core[word + lastTimeWord]!
    if (!log.isKept) {
      undo?.noEntry()
      if (!inOrder) log.previousTimeMs = -1
    } else if (inOrder) log.append(core, word, values, undo)
    else log.insert(core, word, values, undo)
    if (inOrder) core[word + lastTimeWord] = timeMs
    core[word + eventsWord]!++
    return fresh
  }

  /**
   * An event of a live entity has turned out to be fraud or not: in effect from here on. A label that says the same again
   * changes nothing; one that says something else than before wins; one of an event that the log does not know, or no longer
   * by itself, is kept out. Only for stores with `labels`. The caller marks the slot dirty where it was changed.
   */
  label(slot: number, idHash: number, isFraud: boolean, undo: UndoLog | null): LabelOutcome {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    undo?.slot(slot, core, word, this.slots.coreWords)
    return this.log.label(core, word, idHash, isFraud, undo)
  }

  /** The entity is erased on request: its slot is as if it had never been used. */
  forget(slot: number, undo: UndoLog | null): void {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    undo?.slot(slot, core, word, this.slots.coreWords)
    this.#clear(core, word, undo)
    undo?.noEntry()
  }

  /** True when the slot holds nothing: never used, cleared or forgotten. */
  isEmpty(slot: number): boolean {
    return this.slots.coreOf(slot)[this.slots.wordOf(slot) + eventsWord] === 0
  }

  /** The windows as they would be with this event, leaving the state as it is (late events). Slot 0: no entity. */
  peek(slot: number, timeMs: number, values: Float64Array, streamTimeMs: number): void {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    if (slot === 0 || this.isFresh(slot, streamTimeMs) || core[word + lengthWord] === 0) {
      this.log.previousTimeMs = -1
      this.log.fillWith(values)
      this.log.history.lookAtNothing()
      return
    }
    const position = this.log.positionAfter(core, word, timeMs)
    this.log.lookFrom(core, word, position)
    this.log.scan(core, word, position, timeMs, values)
  }

  /** A number of the slot's own that goes where its other words go: into an undo, the changelog, a restore; 0 for a new entity. */
  dayMark(slot: number): number {
    return this.slots.coreOf(slot)[this.slots.wordOf(slot) + this.#dayWord]!
  }

  setDayMark(slot: number, mark: number, undo: UndoLog | null): void {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    undo?.slot(slot, core, word, this.slots.coreWords)
    undo?.noEntry()
    core[word + this.#dayWord] = mark
  }

  /** Event time of the newest event of the entity, ms. */
  newestMs(slot: number): number {
    return this.slots.coreOf(slot)[this.slots.wordOf(slot) + lastTimeWord]!
  }

  /** Event time of the entity's youngest event at or before t, whatever its time to live says; -Infinity where there is none. */
  youngestUntil(slot: number, timeMs: number): number {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    const position = this.log.positionAfter(core, word, timeMs)
    return position > 0 ? this.log.timeAt(core, word, position - 1) : -Infinity
  }

  /** Event time of the entity's oldest event after t; Infinity where there is none. */
  oldestAfter(slot: number, timeMs: number): number {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    const position = this.log.positionAfter(core, word, timeMs)
    return position < core[word + lengthWord]! ? this.log.timeAt(core, word, position) : Infinity
  }

  /** Leaves the windows at a moment that is no event's where `fold` leaves those of an event. The state stays as it is. */
  lookAt(slot: number, timeMs: number): void {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    const position = this.log.positionAfter(core, word, timeMs)
    this.log.scan(core, word, position, timeMs, null)
    this.log.lookFrom(core, word, position)
    this.log.history.isOfOthers = false
  }

  /** Forgets the images: the transaction has committed. */
  commit(undo: UndoLog): void {
    this.log.commit(undo)
    undo.clear()
  }

  /** Puts everything back as it was before the batch. */
  rollback(undo: UndoLog): void {
    const { steps, words } = undo
    while (steps.length > 0) {
      const position = steps.pop()
      const handle = steps.pop()
      const sizeClass = steps.pop()
      const slot = steps.pop()
      if (sizeClass >= 0) this.log.restoreEntry(undo, sizeClass, handle, position)
      words.takeInto(this.slots.coreOf(slot), this.slots.wordOf(slot), this.slots.coreWords)
    }
    this.log.rolledBack(undo)
    undo.clear()
  }

  /** A slot for a new entity; in exchange one that was abandoned is given back. */
  allocate(): number {
    const next = this.#abandoned[0]?.next()
    if (next?.done === true) this.#abandoned.shift()
    else if (next) this.release(next.value)
    return this.slots.allocate()
  }

  /**
   * Slots that nobody will look into any more. They are given back one by one as new ones are wanted: a quarter of a million
   * at once would be a pause of more than 100 ms. Until then they keep their owner.
   */
  abandon(slots: Iterable<number>): void {
    this.#abandoned.push(slots[Symbol.iterator]())
  }

  /** Gives a slot and its log back; it must be in no undo log. */
  release(slot: number): void {
    this.#clear(this.slots.coreOf(slot), this.slots.wordOf(slot), null)
    this.markClean(slot)
    this.setOwner(slot, -1)
    this.slots.release(slot)
  }

  /** Words that `exportWords` gives for this slot now. */
  exportLength(slot: number): number {
    const length = this.slots.coreOf(slot)[this.slots.wordOf(slot) + lengthWord]!
    return exportHeadWords + this.slots.coreWords - windowsWord + length * this.log.strideWords
  }

  /** Everything of the entity as words, in an order that does not depend on where it lies: for digests and the changelog. */
  exportWords(slot: number): Float64Array {
    const words = new Float64Array(this.exportLength(slot))
    this.writeWords(slot, words, 0)
    return words
  }

  /** As `exportWords`, straight to where they are wanted. */
  writeWords(slot: number, words: Float64Array, at: number): void {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    words[at] = core[word + lastTimeWord]!
    words[at + 1] = core[word + eventsWord]!
    words[at + 2] = core[word + lengthWord]!
    let to = at + exportHeadWords
    for (let from = word + windowsWord; from < word + this.slots.coreWords; from++) words[to++] = core[from]!
    this.log.copyEntries(core, word, words, to)
  }

  /** Fills a slot with `count` exported words that begin at `at`. `asOf` is the sequence of the batch that they reflect. False when they do not fit the layout. */
  importWords(slot: number, words: Float64Array, asOf: number, at = 0, count = words.length): boolean {
    const core = this.slots.coreOf(slot)
    const word = this.slots.wordOf(slot)
    this.#clear(core, word, null)
    core[word + asOfWord] = asOf + 1
    if (count === 0) return true
    const entries = exportHeadWords + this.slots.coreWords - windowsWord
    const length = words[at + 2]!
    if (count !== entries + length * this.log.strideWords) return false
    core[word + lastTimeWord] = words[at]!
    core[word + eventsWord] = words[at + 1]!
    let from = at + exportHeadWords
    for (let to = word + windowsWord; to < word + this.slots.coreWords; to++) core[to] = words[from++]!
    this.log.prepare(core, word, length)
    this.log.writeEntries(core, word, length, words, from)
    return true
  }

  #clear(core: Float64Array, word: number, undo: UndoLog | null): void {
    this.log.clear(core, word, undo)
    const dirtySince = core[word + dirtySinceWord]!
    const asOf = core[word + asOfWord]!
    const owner = core[word + ownerWord]!
    core.fill(0, word, word + this.slots.coreWords)
    core[word + dirtySinceWord] = dirtySince
    core[word + asOfWord] = asOf
    core[word + ownerWord] = owner
  }
}
