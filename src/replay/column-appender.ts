import duckdb from '@duckdb/node-bindings'
import { BIGINT, BLOB, BOOLEAN, DOUBLE, DuckDBBlobValue, DuckDBDataChunk, FLOAT, INTEGER, UTINYINT, VARCHAR, type DuckDBAppender } from '@duckdb/node-api'
import { TextSlices, wordsOfString } from './text-slices.js'

export const columnTypes = { text: VARCHAR, long: BIGINT, int: INTEGER, byte: UTINYINT, float: FLOAT, double: DOUBLE, boolean: BOOLEAN, bytes: BLOB } as const

export interface TableColumn {
  readonly name: string
  readonly type: keyof typeof columnTypes
}

type Value = number | string | boolean | bigint | Uint8Array | null
export type ColumnValues = ArrayLike<Value> | TextSlices

/** DuckDB's vectors hold so many rows. */
export const vectorRowsMax = 2048

/** Columns of the types' own arrays are copied whole; a value at a time costs an object and two calls. */
interface PlainVector {
  readonly items: Float32Array | Float64Array | Int32Array | Uint8Array | BigInt64Array
  flush(): void
}

const stringWords = new Int32Array(vectorRowsMax * wordsOfString)

/** Appends rows given by column; `long` columns may be numbers. Typed arrays have no nulls. */
export function appendColumns(appender: DuckDBAppender, columns: readonly TableColumn[], values: readonly ColumnValues[], rows: number): void {
  for (let at = 0; at < rows; at += vectorRowsMax) {
    const count = Math.min(rows - at, vectorRowsMax)
    const chunk = DuckDBDataChunk.create(columns.map(({ type }) => columnTypes[type]), count)
    for (const [index, { type }] of columns.entries()) {
      const column = values[index]!
      if (column instanceof TextSlices) {
        column.copyTo(duckdb.data_chunk_get_vector(chunk.chunk, index), at, count, stringWords)
        continue
      }
      const vector = chunk.getColumnVector(index) as unknown as PlainVector
      if (isPlain(column, type)) {
        vector.items.set(column.subarray(at, at + count) as never)
        vector.flush()
      } else if (type === 'long' && column instanceof Float64Array) {
        for (let i = 0; i < count; i++) vector.items[i] = BigInt(column[at + i]!)
        vector.flush()
      } else chunk.setColumnValues(index, Array.from({ length: count }, (_, i) => valueOf(column[at + i]!, type)))
    }
    appender.appendDataChunk(chunk)
  }
}

function valueOf(value: Value, type: TableColumn['type']): Exclude<Value, Uint8Array> | DuckDBBlobValue {
  if (value instanceof Uint8Array) return new DuckDBBlobValue(value)
  return type === 'long' && typeof value === 'number' ? BigInt(value) : value
}

const arrays = { float: Float32Array, double: Float64Array, int: Int32Array, byte: Uint8Array } as const

function isPlain(column: ArrayLike<Value>, type: TableColumn['type']): column is Float32Array | Float64Array | Int32Array | Uint8Array {
  return type in arrays && column instanceof arrays[type as keyof typeof arrays]
}

/** A name as SQL has it. */
export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A text as SQL has it. */
export function quotedText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

export function createTable(name: string, columns: readonly TableColumn[]): string {
  return `CREATE TABLE ${quotedName(name)} (${columns.map((column) => `${quotedName(column.name)} ${columnTypes[column.type].toString()}`).join(', ')})`
}
