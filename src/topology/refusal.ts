import { Fault, faultErrorCode, fieldSubject } from '../codec/decode-fault.js'
import { isTooFarAhead, tooFarAhead } from './ahead-bound.js'
import type { Batch, DeadLetterCause } from './batch.js'
import type { Topology } from './load-topology.js'
import { eventTimeField } from './topology-schema.js'

const noKey = { code: 'RECORD_INVALID', message: 'the record has no key: without one its entity has no partition of its own' }

/** Why an event after the grace period is not scored, where the stage says so. */
export function tooLate(timeMs: number, graceMs: number, streamTimeMs: number): DeadLetterCause {
  const bare = `late: the event time is more than ${graceMs} ms behind stream time`
  return { code: 'RECORD_INVALID', message: `late: event time ${timeMs} is more than ${graceMs} ms behind stream time ${streamTimeMs}`, bare }
}

/** Says of a decoded record why it cannot be scored. */
export class Refusal {
  readonly #topology: Topology
  readonly #keyColumn: number
  readonly #timeColumn: number
  /** The key of the next stage, which every event must have; -1: there is none. */
  readonly #nextKeyColumn: number

  constructor(topology: Topology) {
    const column = (name: string): number => topology.fields.findIndex((field) => field.name === name)
    this.#topology = topology
    this.#keyColumn = column(topology.stage.key)
    this.#timeColumn = column(eventTimeField)
    this.#nextKeyColumn = topology.forward ? column(topology.forward.to.key) : -1
  }

  /** Undefined for a good one. */
  of(batch: Batch, row: number): DeadLetterCause | undefined {
    const { records, events } = batch
    const { stage, forward, spec, fields } = this.#topology
    const fault = events.fault[row]!
    if (fault !== Fault.none) return { code: faultErrorCode(fault), message: events.faultMessage(row), bare: events.bareFaultMessage(row) }
    const timeMs = events.numbers[this.#timeColumn]![row]!
    const timestampMs = records.timestamp[row]!
    const aheadMaxMs = batch.aheadMaxMs ?? spec.source.aheadMax
    if (isTooFarAhead(timeMs, timestampMs, aheadMaxMs)) {
      const field = fields[this.#timeColumn]!
      return { code: 'RECORD_INVALID', message: tooFarAhead(field, timeMs, timestampMs, aheadMaxMs), bare: `${fieldSubject(field)}lies more than source.aheadMax ahead of the record's timestamp` }
    }
    if (records.keyBytes[row]! <= 0) return noKey
    const keyBytes = events.textBytes[this.#keyColumn]![row]!
    if (keyBytes <= 0) return { code: 'RECORD_INVALID', message: `field ${stage.key}: the entity is empty` }
    if (keyBytes > stage.keyBytesMax) return { code: 'RECORD_INVALID', message: `field ${stage.key}: ${keyBytes} bytes are more than keyBytesMax ${stage.keyBytesMax}` }
    if (this.#nextKeyColumn < 0) return undefined
    const { key, keyBytesMax } = forward!.to
    const nextBytes = events.textBytes[this.#nextKeyColumn]![row]!
    if (nextBytes > 0 && nextBytes <= keyBytesMax) return undefined
    return { code: 'RECORD_INVALID', message: `field ${key}: 1 to ${keyBytesMax} bytes are needed for the next stage, not ${Math.max(0, nextBytes)}` }
  }
}
