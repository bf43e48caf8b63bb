/** Limits of the reasons of one event. */
export const reasonLimits = {
  /** Past events that are told apart. */
  pastEventsMax: 24,
  /** Pairs of orders in which parts are replaced. */
  orderPairsMax: 16,
  /** Reasons that an alert carries. */
  topMax: 10,
  /** Extra rows that are prepared at once; a run takes at most the model's `batchRowsMax` of them, and at most `rowsPerRunMax`. */
  rowsAheadMax: 2048,
  rowsPerRunMax: 512,
  textMax: 300,
} as const

/** How the scores of a model are explained whose manifest does not say it. */
export const reasonsDefault = {
  reference: {} as Record<string, number | string>,
  parts: [] as { name: string; features: string[]; text: string }[],
  pastEvent: 'the event {ago} before',
  earlier: 'the {count} events before those',
  carried: 'what is carried from before the last {count} events',
  pastEvents: 8,
  orderPairs: 2,
}
