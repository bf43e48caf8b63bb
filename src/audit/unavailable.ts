import { HarrierError } from '../base/errors.js'

/** A score cannot be computed again, and why: never a guess. */
export class Unavailable extends HarrierError {
  constructor(message: string) {
    super('EVIDENCE_UNAVAILABLE', message)
  }
}

export const noEntities: ReadonlySet<string> = new Set()
