import { rm } from 'node:fs/promises'
import { BIGINT, BOOLEAN, DuckDBDataChunk, DuckDBInstance, INTEGER, UTINYINT, type DuckDBAppender, type DuckDBConnection } from '@duckdb/node-api'
import type { TransactionChunk } from './transaction-source.js'
import { fileRefused, transactionColumns, type TransactionWriter } from './transaction-writer.js'

const types = [BIGINT, INTEGER, INTEGER, INTEGER, INTEGER, BOOLEAN, UTINYINT]

export const parquetLimits = {
  /** DuckDB's vectors hold so many rows. */
  vectorRowsMax: 2048,
  memoryBytesMax: '512MB',
  threads: 1,
} as const

/**
 * Parquet by way of a DuckDB database beside the file: rows gather there, compressed and on disk, and are copied out in
 * their order at the end, so that memory stays bounded at any size.
 */
export class ParquetWriter implements TransactionWriter {
  readonly hasReader = true
  readonly #file: string
  readonly #gathering: string
  readonly #instance: DuckDBInstance
  readonly #connection: DuckDBConnection
  readonly #appender: DuckDBAppender

  static async open(file: string): Promise<ParquetWriter> {
    const gathering = `${file}.gathering`
    try {
      await removeDatabase(gathering)
      const instance = await DuckDBInstance.create(gathering, { memory_limit: parquetLimits.memoryBytesMax, threads: String(parquetLimits.threads) })
      const connection = await instance.connect()
      const columns = transactionColumns.map((name, i) => `${name} ${types[i]!.toString()}`)
      await connection.run(`CREATE TABLE transactions (${columns.join(', ')})`)
      return new ParquetWriter(file, gathering, instance, connection, await connection.createAppender('transactions'))
    } catch (error) {
      throw fileRefused(file, error)
    }
  }

  private constructor(file: string, gathering: string, instance: DuckDBInstance, connection: DuckDBConnection, appender: DuckDBAppender) {
    this.#file = file
    this.#gathering = gathering
    this.#instance = instance
    this.#connection = connection
    this.#appender = appender
  }

  write(chunk: TransactionChunk, from: number, to: number): Promise<void> {
    for (let at = from; at < to; at += parquetLimits.vectorRowsMax) {
      const end = Math.min(to, at + parquetLimits.vectorRowsMax)
      const rows = DuckDBDataChunk.create(types, end - at)
      rows.setColumnValues(0, Array.from({ length: end - at }, (_, i) => BigInt(chunk.firstId + at + i)))
      const columns = [chunk.seconds, chunk.customer, chunk.terminal, chunk.amountCents]
      for (const [i, column] of columns.entries()) rows.setColumnValues(i + 1, [...column.subarray(at, end)])
      rows.setColumnValues(5, Array.from(chunk.isFraud.subarray(at, end), (flag) => flag === 1))
      rows.setColumnValues(6, [...chunk.scenario.subarray(at, end)])
      this.#appender.appendDataChunk(rows)
    }
    return Promise.resolve()
  }

  async close(): Promise<void> {
    try {
      this.#appender.closeSync()
      await this.#connection.run(`COPY transactions TO '${this.#file.replaceAll("'", "''")}' (FORMAT parquet, COMPRESSION zstd)`)
    } catch (error) {
      throw fileRefused(this.#file, error)
    } finally {
      this.#connection.closeSync()
      this.#instance.closeSync()
      await removeDatabase(this.#gathering)
    }
  }
}

async function removeDatabase(file: string): Promise<void> {
  await rm(file, { force: true })
  await rm(`${file}.wal`, { force: true })
}
