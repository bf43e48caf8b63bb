import type { SimulatorSink } from '../../simulator/live-simulator.js'
import type { TransactionChunk } from '../../simulator/transaction-source.js'

/**
 * A sink that takes no transaction from number `holdAt` on until it is released. So the last transaction of the
 * fast-forward waits until the engine has caught up, and what comes at a pace is not measured behind a backlog.
 */
export class HeldSink implements SimulatorSink {
  readonly #sink: SimulatorSink
  readonly #holdAt: number
  #holding = false
  #released = false

  constructor(sink: SimulatorSink, holdAt: number) {
    this.#sink = sink
    this.#holdAt = holdAt
  }

  /** Everything before `holdAt` has been taken, and the next waits. */
  get holding(): boolean {
    return this.#holding
  }

  get acked(): number {
    return this.#sink.acked
  }

  release(): void {
    this.#released = true
    this.#holding = false
  }

  sendTransaction(chunk: TransactionChunk, row: number): boolean {
    if (!this.#released && chunk.firstId + row >= this.#holdAt) {
      this.#holding = true
      return false
    }
    return this.#sink.sendTransaction(chunk, row)
  }

  sendLabel(chunk: TransactionChunk, row: number): boolean {
    return this.#sink.sendLabel(chunk, row)
  }

  poll(): void {
    this.#sink.poll()
  }

  flush(limitMs: number): Promise<void> {
    return this.#sink.flush(limitMs)
  }

  close(): Promise<void> {
    return this.#sink.close()
  }
}
