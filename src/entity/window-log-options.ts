export interface WindowLogOptions {
  /** Lengths of the event-time windows, ms. A window of w at time t is (t - w, t], the event itself included. */
  readonly windowsMs: readonly number[]
  /** How many values of an event the windows sum. They must be integers, so that sums are exact. */
  readonly valueCount: number
  /** How many more values of an event the log keeps as they are, for features that look back over it. Default 0. */
  readonly keptCount?: number
  /** The last of the kept values is the hash of the event's id, and entries carry what their events turned out to be. Default false. */
  readonly labels?: boolean
  /** How far back features look, where that is further than the longest window, ms. */
  readonly historyMs?: number
  /** How many events back features look, where that bounds all of them: older entries than that go before their time. */
  readonly historyEntries?: number | undefined
  readonly graceMs: number
  /** Log entries of an entity, a power of two; past it the log becomes tiles of `tileMs`, counted in `tiledMerges`. */
  readonly windowEntriesMax: number
}

export type LabelOutcome = 'applied' | 'repeated' | 'conflict' | 'unknown'
