import { assert } from '../base/assert.js'
import { RecordColumns } from '../base/record-columns.js'
import { Fault } from '../codec/decode-fault.js'
import { EventColumns } from '../codec/event-columns.js'
import type { FieldSpec } from '../codec/field-spec.js'

/** Labels that were read together. */
export interface LabelChunk {
  readonly records: RecordColumns
  readonly labels: EventColumns
}

/**
 * Labels of one partition that have been read ahead, in the order of their offsets. A label waits here until stream time
 * has reached its `known_at`; it holds up those behind it, so that their order is the log's.
 *
 * Invariant: offsets before `committed` have been dropped, those from `committed` to `position` have been applied and may
 * come back, those from `position` to `readTo` wait.
 */
export class LabelQueue {
  readonly #knownAt: number
  readonly #chunks: LabelChunk[] = []
  /** Chunk and row of the head. */
  #chunk = 0
  #row = 0
  #pending = 0
  /** Behind the last label that was applied; -1: none ever was. */
  position = -1
  /** Next offset to read. */
  readTo = -1
  /** All that is on the topic has been read. */
  isAtEnd = false

  /** `knownAt`: column of the time when a label became known. */
  constructor(knownAt: number) {
    this.#knownAt = knownAt
  }

  /** Labels that wait. */
  get pending(): number {
    return this.#pending
  }

  /** Newest known_at that has been read, ms; -Infinity when none waits. */
  get newestMs(): number {
    const last = this.#chunks.at(-1)
    return last && this.#pending > 0 ? this.#knownAtOf(last, last.records.count - 1) : -Infinity
  }

  add(chunk: LabelChunk): void {
    const { records } = chunk
    assert(records.count > 0, 'a chunk has labels')
    this.readTo = records.offset[records.count - 1]! + 1
    this.#chunks.push(chunk)
    this.#pending += records.count
  }

  /** When the head is due, ms: an unreadable one at once. Infinity when none waits. */
  get dueMs(): number {
    return this.#pending === 0 ? Infinity : this.#knownAtOf(this.#chunks[this.#chunk]!, this.#row)
  }

  /** Offset of the head. */
  get headOffset(): number {
    return this.#chunks[this.#chunk]!.records.offset[this.#row]!
  }

  get headChunk(): LabelChunk {
    return this.#chunks[this.#chunk]!
  }

  get headRow(): number {
    return this.#row
  }

  /** Labels are read from `offset` on (-1: from the first), and nothing waits. */
  reset(offset: number): void {
    this.#chunks.length = 0
    this.#chunk = 0
    this.#row = 0
    this.#pending = 0
    this.position = offset
    this.readTo = offset
    this.isAtEnd = false
  }

  /** The head has been applied. */
  shift(): void {
    this.position = this.headOffset + 1
    this.#pending--
    if (++this.#row < this.headChunk.records.count) return
    this.#chunk++
    this.#row = 0
  }

  /** Labels from `offset` on wait again; -1: all. */
  rewind(offset: number): void {
    if (offset >= this.position) return
    while (this.#row > 0 || this.#chunk > 0) {
      const chunk = this.#row > 0 ? this.#chunk : this.#chunk - 1
      const row = this.#row > 0 ? this.#row - 1 : this.#chunks[chunk]!.records.count - 1
      if (this.#chunks[chunk]!.records.offset[row]! < offset) break
      this.#chunk = chunk
      this.#row = row
      this.#pending++
    }
    this.position = offset
  }

  /** Labels before `offset` do not come back. */
  drop(offset: number): void {
    while (this.#chunk > 0 && this.#chunks[0]!.records.offset[this.#chunks[0]!.records.count - 1]! < offset) {
      this.#chunks.shift()
      this.#chunk--
    }
  }

  #knownAtOf({ labels }: LabelChunk, row: number): number {
    return labels.fault[row] === Fault.none ? labels.numbers[this.#knownAt]![row]! : -Infinity
  }
}

/** Copies of records, to be kept. */
export function copyOf(columns: RecordColumns, fields: readonly FieldSpec[]): LabelChunk {
  const records = new RecordColumns(columns.count)
  for (let row = 0; row < columns.count; row++) records.copyRow(columns, row)
  return { records, labels: new EventColumns(fields, columns.count) }
}
