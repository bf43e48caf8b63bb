import { rm } from 'node:fs/promises'
import { DuckDBInstance, type DuckDBAppender, type DuckDBConnection } from '@duckdb/node-api'
import { HarrierError, messageOf } from '../base/errors.js'
import { appendColumns, createTable, quotedText, type ColumnValues, type TableColumn } from './column-appender.js'

export const parquetTableLimits = {
  memoryBytesMax: '512MB',
  threads: 1,
} as const

/**
 * A Parquet file written by way of a DuckDB database: rows gather there and are copied out in their order at the end. By default the
 * database lies beside the file, on disk, so that memory stays bounded at any size. `inMemory` is for rows of a known number: it
 * spares the disk the database, whose writes are waited for one by one.
 */
export class ParquetTable {
  readonly #file: string
  readonly #columns: readonly TableColumn[]
  readonly #instance: DuckDBInstance
  readonly #connection: DuckDBConnection
  readonly #appender: DuckDBAppender

  static async open(file: string, columns: readonly TableColumn[], { inMemory = false } = {}): Promise<ParquetTable> {
    try {
      await removeDatabase(file)
      const instance = await DuckDBInstance.create(inMemory ? ':memory:' : gatheringFile(file), {
        memory_limit: parquetTableLimits.memoryBytesMax,
        threads: String(parquetTableLimits.threads),
        // What does not fit.
        temp_directory: `${gatheringFile(file)}.tmp`,
      })
      const connection = await instance.connect()
      await connection.run(createTable('rows', columns))
      return new ParquetTable(file, columns, instance, connection, await connection.createAppender('rows'))
    } catch (error) {
      throw refused(file, error)
    }
  }

  private constructor(file: string, columns: readonly TableColumn[], instance: DuckDBInstance, connection: DuckDBConnection, appender: DuckDBAppender) {
    this.#file = file
    this.#columns = columns
    this.#instance = instance
    this.#connection = connection
    this.#appender = appender
  }

  /** Appends rows given by column; `long` columns may be numbers. */
  write(columns: readonly ColumnValues[], rows: number): void {
    appendColumns(this.#appender, this.#columns, columns, rows)
  }

  async close(): Promise<void> {
    try {
      this.#appender.closeSync()
      await this.#connection.run(`COPY rows TO ${quotedText(this.#file)} (FORMAT parquet, COMPRESSION zstd)`)
    } catch (error) {
      throw refused(this.#file, error)
    } finally {
      await this.discard()
    }
  }

  /** Ends without a file. */
  async discard(): Promise<void> {
    this.#connection.closeSync()
    this.#instance.closeSync()
    await removeDatabase(this.#file)
  }
}

function gatheringFile(file: string): string {
  return `${file}.gathering`
}

async function removeDatabase(file: string): Promise<void> {
  await rm(gatheringFile(file), { force: true })
  await rm(`${gatheringFile(file)}.wal`, { force: true })
  await rm(`${gatheringFile(file)}.tmp`, { force: true, recursive: true })
}

function refused(file: string, error: unknown): HarrierError {
  return new HarrierError('CONFIG_INVALID', `${file} cannot be written: ${messageOf(error)}`, { cause: error, remedy: 'give --out a file in a folder that is there, with room' })
}
