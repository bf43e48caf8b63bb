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
  #chunk: TransactionChunk | undefined
  #row = 0
  #passed = 0

  constructor(source: TransactionSource, range: DayRange, choice: LabelChoice, delaySeconds: number) {
    this.#chunks = source.chunks(range)[Symbol.iterator]()
    this.#choice = choice
    this.#delaySeconds = delaySeconds
    this.#nextChunk()
  }

  /** Whether there is a label that is known at this second, of one of the first `sent` transactions. */
  isDue(eventSeconds: number, sent: number): boolean {
    if (this.#choice === 'none') return false
    while (this.#chunk && this.#passed < sent) {
      if (this.#chunk.seconds[this.#row]! + this.#delaySeconds > eventSeconds) return false
      if (this.#choice === 'all' || this.#chunk.isFraud[this.#row] === 1) return true
      this.advance()
    }
    return false
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
    if (++this.#row === this.#chunk!.count) this.#nextChunk()
  }

  #nextChunk(): void {
    this.#row = 0
    do {
      const next = this.#chunks.next()
      this.#chunk = next.done ? undefined : next.value
    } while (this.#chunk?.count === 0)
  }
}
