/** schemas/scored-event.avsc and alert.avsc as the generic decoder gives them. */
export interface DecodedOutcome {
  readonly event_id: string
  readonly entity: string
  readonly event_time: string
  readonly score: number
  readonly decision: string
  readonly model: string
  readonly fallback?: boolean
  readonly late?: boolean
  readonly scores?: readonly { readonly model: string; readonly role: string; readonly score: number }[]
  readonly reasons: readonly string[]
  readonly explanation?: { readonly reasons: readonly { readonly text: string; readonly contribution: number }[] } | null
  readonly attributes: Readonly<Record<string, unknown>>
  readonly lineage: { readonly task: string; readonly sequence: number | string }
}
