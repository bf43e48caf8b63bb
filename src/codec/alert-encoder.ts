import type { RecordColumns } from '../base/record-columns.js'
import type { EventColumns } from './event-columns.js'
import { EventPartWriter, type EventShape } from './event-part-writer.js'
import type { OutcomeColumns } from './outcome-columns.js'

/** Writes alerts (schemas/alert.avsc) from columns into an arena, with the registry's prefix. */
export class AlertEncoder {
  readonly #parts: EventPartWriter

  constructor(shape: EventShape) {
    this.#parts = new EventPartWriter(shape)
  }

  /** Sets the lineage reference of the rows that follow: once for each task of a batch. */
  setLineage(task: string, sequence: number): void {
    this.#parts.setLineage(task, sequence)
  }

  /** As `ScoredEventEncoder.encode`. */
  encode(out: RecordColumns, outRow: number, records: RecordColumns, events: EventColumns, outcome: OutcomeColumns, row: number): void {
    const parts = this.#parts
    const { arena } = out
    arena.reserve(parts.sizeMax(events, outcome, row))
    const at = arena.used
    parts.writeHead(arena, records.arena, events, row)
    parts.writeDecision(arena, outcome, row)
    parts.writeReasons(arena, outcome.reasons[row]!)
    parts.writeAttributes(arena, records.arena, events, row)
    parts.writeLineage(arena)
    parts.writeExplanation(arena, outcome, row)
    out.setValue(outRow, at, arena.used - at)
  }
}
