import type { FieldSpec } from '../codec/field-spec.js'
import { neededFields, type FeatureProgram } from '../features/feature-program.js'
import type { FeatureSpec } from '../features/feature-spec.js'
import type { Batch } from './batch.js'
import { eventIdField } from './topology-schema.js'

/** Reads what the features and an entity's log take of an event from a batch's columns. */
export class EventReader {
  readonly #program: FeatureProgram
  readonly #fieldColumns: number[]
  readonly #textColumns: number[]
  readonly #hashedColumns: number[]
  readonly #idColumn: number

  constructor(program: FeatureProgram, features: readonly FeatureSpec[], fields: readonly FieldSpec[]) {
    const column = (name: string): number => fields.findIndex((field) => field.name === name)
    this.#program = program
    this.#fieldColumns = neededFields(features).map(column)
    this.#textColumns = program.textFields.map(column)
    this.#hashedColumns = program.hashedFields.map(({ name }) => column(name))
    this.#idColumn = column(eventIdField)
  }

  read({ records, events }: Batch, row: number): void {
    const program = this.#program
    const { values } = program
    const { bytes } = records.arena
    const columns = this.#fieldColumns
    for (let v = 0; v < columns.length; v++) values[v] = events.numbers[columns[v]!]![row]!
    const texts = this.#textColumns
    for (let t = 0; t < texts.length; t++) program.readText(t, bytes, events.textAt[texts[t]!]![row]!, events.textBytes[texts[t]!]![row]!)
    const hashed = this.#hashedColumns
    for (let h = 0; h < hashed.length; h++) program.hashText(h, bytes, events.textAt[hashed[h]!]![row]!, events.textBytes[hashed[h]!]![row]!)
    program.takeEntry(bytes, events.textAt[this.#idColumn]![row]!, events.textBytes[this.#idColumn]![row]!)
  }
}
