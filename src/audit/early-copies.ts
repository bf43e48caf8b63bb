import { HarrierError } from '../base/errors.js'
import type { RecordLog } from './record-log.js'
import type { ScoredEvent } from './scored-event.js'
import { findScored } from './scored-search.js'
import type { Verdict } from './verdict.js'

/** Records of a partition that are looked through for another copy of an event. */
const copyScanMax = 2_000_000

/**
 * With `delivery: atLeastOnce` a scored event may be out whose batch never committed: the same input was scored again, in a batch
 * with other borders, and published too. The newest other copy of an event; undefined: there is none.
 */
export async function otherCopy(log: RecordLog, topic: string, { eventId, partition, offset }: ScoredEvent, signal: AbortSignal): Promise<ScoredEvent | undefined> {
  try {
    return await findScored(log, { topic, eventId, partition, except: offset, scanMax: copyScanMax, signal, onProgress: () => undefined })
  } catch (error) {
    if (error instanceof HarrierError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

/** What an early copy is: proven where it says what the proven one says. */
export function verdictOfCopy(copy: ScoredEvent, counts: ScoredEvent, verdict: Verdict): Verdict {
  if (contentOf(copy) === contentOf(counts)) return verdict
  const says = ({ model, score, decision }: ScoredEvent): string => `${model} ${score} ${decision}`
  return { kind: 'differs', what: [`the event was published before its transaction and scored again after a failure: offset ${copy.offset} says ${says(copy)}, offset ${counts.offset}, which counts, ${says(counts)}`] }
}

/** All but where it stands and which batch it names. */
function contentOf({ partition: _partition, offset: _offset, sequence: _sequence, ...content }: ScoredEvent): string {
  return JSON.stringify(content)
}
