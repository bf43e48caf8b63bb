/** A score cannot be computed again, and why: never a guess. */
export class Unavailable extends Error {
  override name = 'Unavailable'
}

export const noEntities: ReadonlySet<string> = new Set()
