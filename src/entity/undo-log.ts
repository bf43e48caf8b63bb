import { IntStack, WordLog } from './growable.js'

/**
 * Before-images of what one batch changed in the entity store, so that an aborted transaction costs no restore.
 * Filled by `EntityStore.fold`; emptied by `EntityStore.commit` or `EntityStore.rollback`. Batches are rolled back
 * newest first.
 */
export class UndoLog {
  /** For each fold: the slot, then class, handle and physical position of the log entry it overwrote (class -1: none). */
  readonly steps = new IntStack()
  /** For each fold: the core words before, then the overwritten entry if there is one. */
  readonly words = new WordLog()
  /** (class, handle) of blocks that the batch allocated: released on rollback. */
  readonly allocated = new IntStack()
  /** (class, handle) of blocks that the batch stopped using: released on commit, since a rollback needs them. */
  readonly retired = new IntStack()

  /** Begins a step: saves the core words of a slot. `entry` or `noEntry` ends it. */
  slot(slot: number, core: Float64Array, word: number, words: number): void {
    this.steps.push(slot)
    this.words.append(core, word, words)
  }

  /** Saves a log entry that is about to be overwritten. */
  entry(chunk: Float64Array, at: number, words: number, sizeClass: number, handle: number, position: number): void {
    this.words.append(chunk, at, words)
    this.steps.push(sizeClass)
    this.steps.push(handle)
    this.steps.push(position)
  }

  /** Nothing of a log was overwritten in this step. */
  noEntry(): void {
    this.steps.push(-1)
    this.steps.push(-1)
    this.steps.push(-1)
  }

  clear(): void {
    this.steps.clear()
    this.words.clear()
    this.allocated.clear()
    this.retired.clear()
  }
}
