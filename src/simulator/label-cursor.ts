import { secondsPerDay } from './parameters.js'
import type { DayRange, TransactionChunk, TransactionSource } from './transaction-source.js'

/** Which transactions get a label. */
export type LabelChoice = 'all' | 'fraud' | 'none'

/**
 * Reads the source a second time, some days behind the transactions: the labels in the order in which they become known,
 * with no memory of what was sent.
 */
export class LabelCursor {
  readonly #chunks: Iterator<TransactionChunk>
  readonly #choice: LabelChoice
  readonly #delaySeconds: number
  readonly #firstSeconds: number
  #chunk: TransactionChunk | undefined
  #row = 0
  #passed = 0
  #ended = false

  constructor(source: TransactionSource, range: DayRange, choice: LabelChoice, delaySeconds: number) {
    this.#chunks = source.chunks(range)[Symbol.iterator]()
    this.#choice = choice
    this.#delaySeconds = delaySeconds
    this.#firstSeconds = range.fromDay * secondsPerDay + delaySeconds
  }

  /**
   * Whether there is a label that is known at this second, of one of the first `sent` transactions. `working`: the source
   * has not said yet; ask again after a turn of the event loop.
   */
  next(eventSeconds: number, sent: number): 'due' | 'none' | 'working' {
    // Nothing is read before it can be due: a generator would draw a whole day for it.
    if (this.#choice === 'none' || eventSeconds < this.#firstSeconds) return 'none'
    while (this.#passed < sent) {
      if (!this.#chunk || this.#row === this.#chunk.count) {
        if (this.#ended) return 'none'
        this.#nextChunk()
        if (!this.#chunk || this.#chunk.count === 0) return 'working'
      }
      if (this.#chunk.seconds[this.#row]! + this.#delaySeconds > eventSeconds) return 'none'
      if (this.#choice === 'all' || this.#chunk.isFraud[this.#row] === 1) return 'due'
      this.advance()
    }
    return 'none'
  }

  /** The chunk and row of the label that is due. */
  get chunk(): TransactionChunk {
    return this.#chunk!
  }

  get row(): number {
    return this.#row
  }

  advance(): void {
    this.#passed++
    this.#row++
  }

  #nextChunk(): void {
    const next = this.#chunks.next()
    this.#row = 0
    this.#chunk = next.done ? undefined : next.value
    this.#ended = next.done === true
  }
}
