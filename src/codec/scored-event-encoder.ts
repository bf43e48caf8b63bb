import type { RecordColumns } from '../base/record-columns.js'
import { assert } from '../base/assert.js'
import { EncodedPart, encodeString, writeByte, writeFloatAt, writeLong, writePart } from './avro-writer.js'
import type { EventColumns } from './event-columns.js'
import { EventPartWriter, type EventShape } from './event-part-writer.js'
import type { OutcomeColumns } from './outcome-columns.js'

/** Writes scored events (schemas/scored-event.avsc) from columns into an arena, with the registry's prefix. */
export class ScoredEventEncoder {
  readonly #parts: EventPartWriter
  /** model and role of each `ModelScore`, encoded. */
  readonly #models: readonly EncodedPart[]
  readonly #modelsBytesMax: number

  constructor(shape: EventShape) {
    this.#parts = new EventPartWriter(shape)
    this.#models = shape.models.map(({ label, role }) => new EncodedPart(Buffer.concat([encodeString(label), encodeString(role)])))
    this.#modelsBytesMax = this.#models.reduce((sum, model) => sum + model.length + 4, 16)
  }

  /** Sets the lineage reference of the rows that follow: once for each task of a batch. */
  setLineage(task: string, sequence: number): void {
    this.#parts.setLineage(task, sequence)
  }

  /**
   * Appends the value of one event to the arena of `out` and makes it the value of `outRow`.
   * `records` is the batch that `events` was decoded from; its arena holds the texts.
   */
  encode(out: RecordColumns, outRow: number, records: RecordColumns, events: EventColumns, outcome: OutcomeColumns, row: number): void {
    const parts = this.#parts
    const models = this.#models
    const { arena } = out
    assert(outcome.models === models.length, 'outcome columns have a score for each model of the encoder')
    arena.reserve(parts.sizeMax(events, outcome, row) + this.#modelsBytesMax)
    const at = arena.used
    parts.writeHead(arena, records.arena, events, row)
    parts.writeDecision(arena, outcome, row)
    writeByte(arena, outcome.fallback[row]!)
    writeByte(arena, outcome.late[row]!)
    const first = row * models.length
    let scored = 0
    for (let m = 0; m < models.length; m++) if (outcome.scores[first + m]! === outcome.scores[first + m]!) scored++
    if (scored > 0) {
      writeLong(arena, scored)
      for (let m = 0; m < models.length; m++) {
        const score = outcome.scores[first + m]!
        if (score !== score) continue
        writePart(arena, models[m]!)
        writeFloatAt(arena, outcome.scores, first + m)
      }
    }
    writeByte(arena, 0)
    parts.writeReasons(arena, outcome.reasons[row]!)
    parts.writeAttributes(arena, records.arena, events, row)
    parts.writeLineage(arena)
    parts.writeExplanation(arena, outcome, row)
    out.setValue(outRow, at, arena.used - at)
  }
}
