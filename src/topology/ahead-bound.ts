import { formatDuration } from '../base/durations.js'
import { noTimestamp } from '../base/record-columns.js'
import { fieldSubject } from '../codec/decode-fault.js'
import type { FieldSpec } from '../codec/field-spec.js'

/**
 * Whether an event lies further ahead of its record's timestamp than `source.aheadMax` allows: it would take stream time
 * along, and all that follow it would be late. Both times are on the log, so a replay decides as it was decided then.
 */
export function isTooFarAhead(timeMs: number, timestampMs: number, aheadMaxMs: number): boolean {
  return timestampMs !== noTimestamp && timeMs - timestampMs > aheadMaxMs
}

/** What the dead letter of such an event says. */
export function tooFarAhead(field: FieldSpec, timeMs: number, timestampMs: number, aheadMaxMs: number): string {
  return `${fieldSubject(field)}${new Date(timeMs).toISOString()} lies more than source.aheadMax (${formatDuration(aheadMaxMs)}) ahead of the record's timestamp ${new Date(timestampMs).toISOString()}`
}
