import { HarrierError } from '../base/errors.js'
import type { Batch } from './batch.js'

export interface FoldedBatchesOptions {
  /** Steps 6 and 7 of the batch cycle, without Kafka. */
  readonly encode: (batch: Batch) => void
  /** Writes what leaves before the transaction, and waits until it is acknowledged; absent: nothing does. */
  readonly publish?: ((batch: Batch) => Promise<void>) | undefined
}

interface FoldedBatch {
  readonly batch: Batch
  /** Its outputs are encoded, and those that leave before the transaction are out. */
  readonly ready: Promise<void>
  isReady: boolean
}

/**
 * Batches between fold and commit, in the order in which they were folded: each is scored, encoded and, where outputs leave
 * before their transaction, published, while those before it commit.
 *
 * Owns: the order of these steps. Talks to: nobody; what they do is given.
 * Invariants:
 * 1. A batch is encoded and published only after the one before it.
 * 2. One transaction carries one batch, or, where outputs are out already, all that are ready: they wait for nobody then.
 * 3. After a failure nothing of the batches behind it is published until all have been taken back.
 */
export class FoldedBatches {
  readonly #options: FoldedBatchesOptions
  readonly #entries: FoldedBatch[] = []
  #isHalted = false

  constructor(options: FoldedBatchesOptions) {
    this.#options = options
  }

  get length(): number {
    return this.#entries.length
  }

  *[Symbol.iterator](): Iterator<Batch> {
    for (const { batch } of this.#entries) yield batch
  }

  push(batch: Batch, scored: Promise<void>): void {
    const before = this.#entries.at(-1)?.ready ?? Promise.resolve()
    const entry = { batch, isReady: false, ready: before.then(() => scored).then(() => this.#step(batch)).then(() => void (entry.isReady = true)) }
    // Who waits for the batch sees it.
    entry.ready.catch(() => undefined)
    this.#entries.push(entry)
  }

  async #step(batch: Batch): Promise<void> {
    const { encode, publish } = this.#options
    if (this.#isHalted) throw new HarrierError('TRANSACTION_ABORTED', 'a batch before this one could not commit')
    encode(batch)
    await publish?.(batch)
  }

  /** What the next transaction carries; waits until the first batch is ready. */
  async next(): Promise<readonly Batch[]> {
    await this.#entries[0]!.ready
    if (!this.#options.publish) return [this.#entries[0]!.batch]
    const unready = this.#entries.findIndex(({ isReady }) => !isReady)
    return this.#entries.slice(0, unready < 0 ? undefined : unready).map(({ batch }) => batch)
  }

  /** The oldest has committed. */
  shift(): void {
    this.#entries.shift()
  }

  /** Before all are taken back with `pop`: nothing of them is under way any more. */
  async halt(): Promise<void> {
    this.#isHalted = true
    await Promise.allSettled(this.#entries.map(({ ready }) => ready))
  }

  /** The newest; undefined when there is none left. */
  pop(): Batch | undefined {
    const batch = this.#entries.pop()?.batch
    if (!batch) this.#isHalted = false
    return batch
  }
}
