import { existsSync } from 'node:fs'
import { DuckDBInstance, type DuckDBDataChunk } from '@duckdb/node-api'
import { HarrierError, messageOf } from '../base/errors.js'
import { isTime, type FieldSpec } from '../codec/field-spec.js'
import { quotedName } from './column-appender.js'
import { isTextual, RowWriter, type Value, type WrittenRows } from './row-writer.js'

/** Names that a column may have besides the name of the field and its path: those of `harrier simulate --to csv`. */
const simulatorColumns: Readonly<Record<string, readonly string[]>> = {
  event_id: ['tx_id'],
  amount: ['amount_cents', 'amount_minor'],
  customer: ['customer_id'],
  terminal: ['terminal_id'],
}
const secondsColumn = 'seconds'
/** Passed on to the feature rows when the table has them. */
export const labelColumns = ['is_fraud', 'scenario'] as const

/** What was written is there only until the next rows are taken. */
export interface TableRows extends WrittenRows {
  readonly count: number
  readonly isFraud: (boolean | null)[]
  readonly scenario: (number | null)[]
}

export interface TableSourceOptions {
  readonly file: string
  readonly fields: readonly FieldSpec[]
  readonly keyField: string
  readonly eventTimeField: string
  /** Event time of second 0, ms since 1970, for tables with a `seconds` column. */
  readonly epochMs: number
  /** field=column where the names differ. */
  readonly columns?: Readonly<Record<string, string>>
}

interface TableShape {
  readonly relation: string
  readonly columnOf: ReadonlyMap<string, string>
  readonly types: ReadonlyMap<string, string>
}

/**
 * A CSV or Parquet table as a bounded source: each row becomes a record of a topic, so that a table passes the same decoder and
 * the same checks.
 */
export class TableSource {
  readonly rows: number
  /** Whether the table says which events are frauds. */
  readonly labelled: boolean
  readonly #options: TableSourceOptions
  readonly #instance: DuckDBInstance
  readonly #relation: string
  readonly #columnOf: ReadonlyMap<string, string>
  /** Types of the table's columns, in DuckDB's words. */
  readonly #types: ReadonlyMap<string, string>
  readonly #labels: readonly string[]

  static async open(options: TableSourceOptions): Promise<TableSource> {
    const { file } = options
    if (!existsSync(file)) throw new HarrierError('USAGE', `there is no file ${file}`, { remedy: 'give a .csv or .parquet file, or the name of a topic' })
    const instance = await DuckDBInstance.create(':memory:', { memory_limit: '1GB', threads: '1' })
    const quoted = `'${file.replaceAll("'", "''")}'`
    const isParquet = /\.parquet$/i.test(file)
    let relation = isParquet ? `read_parquet(${quoted})` : `read_csv(${quoted}, header = true)`
    const connection = await instance.connect()
    try {
      const described = await connection.runAndReadAll(`DESCRIBE SELECT * FROM ${relation}`)
      const types = new Map(described.getRows().map((row) => [String(row[0]), String(row[1])]))
      const columnOf = columnsOf(options, new Set(types.keys()))
      if (!isParquet) {
        // What is text to the topology stays as it is written: a guessed type would lose the zeros of 007 and the zone of a time.
        const texts = options.fields.filter(isTextual).flatMap(({ name }) => columnOf.get(name) ?? []).filter((column) => column !== secondsColumn)
        for (const column of texts) types.set(column, 'VARCHAR')
        if (texts.length > 0) relation = `read_csv(${quoted}, header = true, types = {${texts.map((column) => `'${column.replaceAll("'", "''")}': 'VARCHAR'`).join(', ')}})`
      }
      const counted = await connection.runAndReadAll(`SELECT count(*) FROM ${relation}`)
      return new TableSource(options, instance, { relation, columnOf, types }, Number(counted.getRows()[0]![0]), labelColumns.filter((name) => types.has(name)))
    } catch (error) {
      if (error instanceof HarrierError) throw error
      throw new HarrierError('USAGE', `${file} cannot be read: ${messageOf(error)}`, { cause: error, remedy: 'give a .csv file with a header line, or a .parquet file' })
    } finally {
      connection.closeSync()
    }
  }

  private constructor(options: TableSourceOptions, instance: DuckDBInstance, { relation, columnOf, types }: TableShape, rows: number, labels: readonly string[]) {
    this.#options = options
    this.#instance = instance
    this.#relation = relation
    this.#columnOf = columnOf
    this.#types = types
    this.rows = rows
    this.labelled = labels.includes(labelColumns[0])
    this.#labels = this.labelled ? labels : []
  }

  /** The table's rows in its own order, some thousand at a time. */
  async *chunks(): AsyncGenerator<TableRows> {
    const { fields, keyField, eventTimeField, epochMs } = this.#options
    const selected = [...this.#columnOf].map(([name, column]) => expressionOf(fields.find((field) => field.name === name)!, column, this.#types.get(column)!))
    selected.push(...this.#labels.map(quotedName))
    const connection = await this.#instance.connect()
    try {
      const result = await connection.stream(`SELECT ${selected.join(', ')} FROM ${this.#relation}`)
      const writer = new RowWriter(fields, { key: fields.findIndex((field) => field.name === keyField), has: (name) => this.#columnOf.has(name) })
      const names = [...this.#columnOf.keys()]
      const label = (chunk: DuckDBDataChunk, index: number): readonly Value[] | undefined => (this.#labels.length > index ? (chunk.getColumnValues(names.length + index) as Value[]) : undefined)
      const fieldOf = names.map((name) => fields.findIndex((field) => field.name === name))
      const isSeconds = names.map((name) => name === eventTimeField && this.#columnOf.get(name) === secondsColumn)
      for (let chunk = await result.fetchChunk(); chunk && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
        const count = chunk.rowCount
        for (const [index, field] of fieldOf.entries()) {
          const timeOf = isSeconds[index] ? (seconds: Value): Value => secondsToTime(fields[field]!, epochMs + Number(seconds) * 1000) : undefined
          const vector = chunk.getColumnVector(index)
          for (let row = 0; row < count; row++) {
            const value = vector.getItem(row) as Value
            writer.set(field, row, timeOf ? timeOf(value) : value)
          }
        }
        const [fraud, scenario] = [label(chunk, 0), label(chunk, 1)]
        const rows: TableRows = { count, ...writer.write(count), isFraud: [], scenario: [] }
        for (let row = 0; row < count; row++) {
          const [is, which] = [fraud?.[row] ?? null, scenario?.[row] ?? null]
          rows.isFraud.push(is === null ? null : Boolean(Number(is)))
          rows.scenario.push(which === null ? null : Number(which))
        }
        yield rows
      }
    } finally {
      connection.closeSync()
    }
  }

  close(): void {
    this.#instance.closeSync()
  }
}

/**
 * A column as the field's JSON value: what the table knows as a time is written in the unit that the field declares. A time
 * without a zone is UTC, unless the field says which zone such times have.
 */
function expressionOf(field: FieldSpec, column: string, type: string): string {
  const name = quotedName(column)
  if (!isTime(field) || !/^(TIMESTAMP|DATE)/.test(type)) return name
  const micros = `epoch_us(${name})`
  if (field.type === 'timestamp-micros') return micros
  if (field.type === 'timestamp-millis') return `epoch_ms(${name})`
  if (field.type === 'timestamp-seconds') return `${micros} / 1000000`
  const zone = field.zone === undefined || type.includes('TIME ZONE') ? 'Z' : ''
  return `strftime(make_timestamp(${micros}), '%Y-%m-%dT%H:%M:%S.%f${zone}')`
}

function secondsToTime({ type }: FieldSpec, ms: number): number | string {
  if (type === 'iso8601') return new Date(ms).toISOString()
  return type === 'timestamp-seconds' ? ms / 1000 : type === 'timestamp-micros' ? ms * 1000 : ms
}

function columnsOf({ file, fields, columns = {}, eventTimeField }: TableSourceOptions, names: ReadonlySet<string>): Map<string, string> {
  const columnOf = new Map<string, string>()
  for (const field of fields) {
    const candidates = [columns[field.name], field.path, field.path.split('.').at(-1), field.name, ...(simulatorColumns[field.name] ?? [])]
    if (field.name === eventTimeField) candidates.push(secondsColumn)
    const found = candidates.find((name) => name !== undefined && names.has(name))
    if (found !== undefined) columnOf.set(field.name, found)
    else if (field.default === undefined && !field.optional) {
      throw new HarrierError('USAGE', `${file} has no column for the field ${field.name} (looked for ${candidates.filter(Boolean).join(', ')})`, {
        remedy: `name it: --column ${field.name}=<column>; the table has ${[...names].join(', ')}`,
      })
    }
  }
  return columnOf
}
