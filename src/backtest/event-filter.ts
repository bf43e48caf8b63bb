import type { RecordColumns } from '../base/record-columns.js'
import { Fault } from '../codec/decode-fault.js'
import { EventColumns } from '../codec/event-columns.js'
import { isTooFarAhead } from '../topology/ahead-bound.js'
import type { Stage } from '../topology/stage.js'
import { eventTimeField } from '../topology/topology-schema.js'

/** Reads event times of a stage's records before they are folded. */
export class EventTimes {
  readonly #stage: Stage
  #events: EventColumns | undefined

  constructor(stage: Stage) {
    this.#stage = stage
  }

  /** Event time of each row, ms; NaN of a record that cannot be read or lies too far ahead: the fold refuses it. */
  async of(records: RecordColumns, signal: AbortSignal): Promise<Float64Array> {
    const { decoder, topology } = this.#stage
    if (!this.#events || this.#events.rowsMax < records.count) this.#events = new EventColumns(topology.fields, Math.max(records.count, records.recordsMax))
    const events = this.#events
    const loading = decoder.prepare(records, 0, signal)
    if (loading) await loading
    decoder.decode(records, events)
    const times = events.numbers[events.index(eventTimeField)]!.slice(0, records.count)
    const { aheadMax } = topology.spec.source
    for (let row = 0; row < records.count; row++) {
      if (events.fault[row] !== Fault.none || isTooFarAhead(times[row]!, records.timestamp[row]!, aheadMax)) times[row] = NaN
    }
    return times
  }
}
