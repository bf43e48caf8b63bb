import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DuckDBInstance, type DuckDBAppender, type DuckDBConnection } from '@duckdb/node-api'
import { HarrierError, messageOf } from '../base/errors.js'
import { appendColumns, createTable, quotedName, quotedText, type ColumnValues, type TableColumn } from '../replay/column-appender.js'

export const scoreTableLimits = {
  /** What does not fit goes to the disk, beside the report. */
  memory: '1GB',
  threads: 2,
} as const

/** Columns of the scored events, before those of the models. `entity` stands there where it is not the card. */
const allScoredColumns = [
  { name: 'ordinal', type: 'long' },
  { name: 'event_id', type: 'text' },
  { name: 'card', type: 'text' },
  { name: 'entity', type: 'text' },
  { name: 'event_time', type: 'long' },
  { name: 'late', type: 'byte' },
  { name: 'label', type: 'byte' },
  { name: 'loss', type: 'double' },
  { name: 'decision', type: 'byte' },
  { name: 'decider', type: 'byte' },
] as const satisfies readonly TableColumn[]

export function scoredColumns(isCard: boolean): readonly TableColumn[] {
  return allScoredColumns.filter(({ name }) => !isCard || name !== 'entity')
}

/** Columns of a what-if that scored in a run of its own. */
export const whatIfColumns = [
  { name: 'ordinal', type: 'long' },
  { name: 'decision', type: 'byte' },
] as const satisfies readonly TableColumn[]

/** The database in which a backtest gathers what it found, beside its report; it is gone at the end. */
export class ScoreTable {
  readonly #file: string
  readonly #instance: DuckDBInstance
  readonly connection: DuckDBConnection

  /** Errors: CONFIG_INVALID where the folder cannot be written. */
  static async open(folder: string): Promise<ScoreTable> {
    const file = join(folder, 'backtest.gathering')
    try {
      await removeDatabase(file)
      const instance = await DuckDBInstance.create(file, { memory_limit: scoreTableLimits.memory, threads: String(scoreTableLimits.threads) })
      const connection = await instance.connect()
      // Written once and read once: packing it costs as much as writing it.
      await connection.run("SET force_compression = 'uncompressed'")
      return new ScoreTable(file, instance, connection)
    } catch (error) {
      throw new HarrierError('CONFIG_INVALID', `${folder} cannot be written: ${messageOf(error)}`, { cause: error, remedy: 'give --out a folder that can be made and has room' })
    }
  }

  private constructor(file: string, instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#file = file
    this.#instance = instance
    this.connection = connection
  }

  async create(name: string, columns: readonly TableColumn[]): Promise<RowAppender> {
    await this.connection.run(createTable(name, columns))
    return new RowAppender(columns, await this.connection.createAppender(name))
  }

  /** All rows of a small answer, as objects. */
  async all(sql: string): Promise<Record<string, unknown>[]> {
    return (await this.connection.runAndReadAll(sql)).getRowObjectsJS()
  }

  /** Rows of a large answer, some thousand at a time, by column. */
  async *columns(sql: string): AsyncGenerator<{ rows: number; columns: readonly (readonly unknown[])[] }> {
    const result = await this.connection.stream(sql)
    for (let chunk = await result.fetchChunk(); chunk && chunk.rowCount > 0; chunk = await result.fetchChunk()) yield { rows: chunk.rowCount, columns: chunk.getColumns() }
  }

  /** Writes an answer as Parquet. */
  async export(sql: string, file: string): Promise<void> {
    await this.connection.run(`COPY (${sql}) TO ${quotedText(file)} (FORMAT parquet, COMPRESSION zstd)`)
  }

  async close(): Promise<void> {
    this.connection.closeSync()
    this.#instance.closeSync()
    await removeDatabase(this.#file)
  }
}

export class RowAppender {
  readonly #columns: readonly TableColumn[]
  readonly #appender: DuckDBAppender

  constructor(columns: readonly TableColumn[], appender: DuckDBAppender) {
    this.#columns = columns
    this.#appender = appender
  }

  write(values: readonly ColumnValues[], rows: number): void {
    appendColumns(this.#appender, this.#columns, values, rows)
  }

  close(): void {
    this.#appender.closeSync()
  }
}

export interface ScoresShape {
  /** Models of the run, in the order of their columns s0, s1, … */
  readonly models: readonly string[]
  /** Who decided: models, rule, review; by the number in `decider`. */
  readonly deciders: readonly string[]
  readonly whatIf: { readonly models: readonly string[]; readonly isOwnRun: boolean } | undefined
  readonly hasLoss: boolean
  /** The last stage's entity is the card. */
  readonly isCard: boolean
  /** Labels came on a topic, into a table of their own. */
  readonly labelsTable: boolean
}

/** Name of a model's column where the what-if has a run of its own. */
export function whatIfColumn(model: string): string {
  return `${model} (what if)`
}

/** What scores.parquet holds: the scored events of the measured range, with labels, decisions and the scores of every model. */
export function scoresQuery({ models, deciders, whatIf, hasLoss, isCard, labelsTable }: ScoresShape): string {
  const named = (column: string, names: readonly string[]): string => `CASE ${column} ${names.map((name, code) => `WHEN ${code} THEN ${quotedText(name)}`).join(' ')} END`
  const decision = (column: string): string => named(column, ['APPROVE', 'REVIEW', 'DECLINE'])
  const columns = [
    'r.event_id', 'r.card', `${isCard ? 'r.card' : 'r.entity'} AS entity`, 'make_timestamp(r.event_time * 1000) AS event_time', 'r.late = 1 AS late',
    `${labelsTable ? 'coalesce(l.is_fraud, CASE r.label WHEN 1 THEN false WHEN 2 THEN true END)' : 'CASE r.label WHEN 1 THEN false WHEN 2 THEN true END'} AS is_fraud`,
    ...(hasLoss ? ['r.loss'] : []),
    `${decision('r.decision')} AS decision`, `${named('r.decider', deciders)} AS decided_by`,
    ...models.map((model, index) => `r.s${index} AS ${quotedName(model)}`),
    ...(whatIf ? [`${decision(whatIf.isOwnRun ? 'w.decision' : 'r.what_if')} AS what_if_decision`] : []),
    ...(whatIf?.isOwnRun ? whatIf.models.map((model, index) => `w.s${index} AS ${quotedName(whatIfColumn(model))}`) : []),
  ]
  const joins = [...(labelsTable ? ['LEFT JOIN (SELECT event_id, arg_max(is_fraud, rowid) AS is_fraud FROM labels GROUP BY event_id) l USING (event_id)'] : []), ...(whatIf?.isOwnRun ? ['LEFT JOIN what_if w USING (ordinal)'] : [])]
  return `SELECT ${columns.join(', ')} FROM scored r ${joins.join(' ')} ORDER BY r.event_time, r.ordinal`
}

async function removeDatabase(file: string): Promise<void> {
  await rm(file, { force: true })
  await rm(`${file}.wal`, { force: true })
  await rm(`${file}.tmp`, { force: true, recursive: true })
}
