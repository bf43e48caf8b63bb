import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { TransactionChunk } from './transaction-source.js'
import { fileRefused, transactionColumns, type TransactionWriter } from './transaction-writer.js'

/** Comma-separated values with a header line. `-` as the file is standard output. */
export class CsvWriter implements TransactionWriter {
  readonly #file: string
  readonly #stream: Writable
  readonly #finished: Promise<void>
  #hasReader = true

  constructor(file: string) {
    this.#file = file
    this.#stream = file === '-' ? process.stdout : createWriteStream(file)
    this.#finished = finished(this.#stream)
    this.#finished.catch(() => undefined)
    this.#stream.write(`${transactionColumns.join(',')}\n`)
  }

  get hasReader(): boolean {
    return this.#hasReader
  }

  async write(chunk: TransactionChunk, from: number, to: number): Promise<void> {
    let text = ''
    for (let row = from; row < to; row++) {
      const payment = `${chunk.seconds[row]},${chunk.customer[row]},${chunk.terminal[row]},${chunk.amountCents[row]}`
      text += `${chunk.firstId + row},${payment},${chunk.isFraud[row]},${chunk.scenario[row]}\n`
    }
    if (this.#stream.write(text)) return
    await Promise.race([once(this.#stream, 'drain'), this.#finished]).catch((error: unknown) => this.#refuse(error))
  }

  async close(): Promise<void> {
    // Standard output stays open for others; what is written to it is flushed at the end of the process.
    if (this.#file === '-') return
    this.#stream.end()
    await this.#finished.catch((error: unknown) => this.#refuse(error))
  }

  #refuse(error: unknown): void {
    // A pipe whose reader has seen enough (`| head`) is no failure.
    if (this.#file === '-') {
      this.#hasReader = false
      return
    }
    throw fileRefused(this.#file, error)
  }
}
