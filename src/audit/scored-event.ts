import { GenericDecoder } from '../codec/generic-decoder.js'
import type { SchemaLookup } from '../codec/registry-client.js'

/** A scored event as it is on its topic; schemas/scored-event.avsc. Scores are float32. */
export interface ScoredEvent {
  readonly eventId: string
  readonly entity: string
  readonly eventTimeMs: number
  readonly score: number
  readonly decision: string
  readonly model: string
  readonly fallback: boolean
  readonly late: boolean
  readonly scores: readonly { readonly model: string; readonly role: string; readonly score: number }[]
  readonly reasons: readonly string[]
  readonly task: string
  readonly sequence: number
  /** Where it stands. */
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
}

interface ScoredValue {
  readonly event_id: string
  readonly entity: string
  readonly event_time: number | string
  readonly score: number
  readonly decision: string
  readonly model: string
  readonly fallback: boolean
  readonly late: boolean
  readonly scores: ScoredEvent['scores']
  readonly reasons: readonly string[]
  readonly lineage: { readonly task: string; readonly sequence: number }
}

/** Decodes scored events, by whatever version of the schema they were written. */
export class ScoredDecoder {
  readonly #decoder: GenericDecoder

  constructor(schemas: SchemaLookup) {
    this.#decoder = new GenericDecoder(schemas)
  }

  /** Undefined where the value is no scored event. */
  async decode(value: Uint8Array | null, place: Pick<ScoredEvent, 'partition' | 'offset' | 'timestampMs'>, signal?: AbortSignal): Promise<ScoredEvent | undefined> {
    const { value: decoded } = await this.#decoder.decode(value, signal)
    if (typeof decoded !== 'object' || decoded === null || !('event_id' in decoded) || !('lineage' in decoded)) return undefined
    const { event_id, entity, event_time, score, decision, model, fallback, late, scores, reasons, lineage } = decoded as ScoredValue
    return {
      eventId: event_id, entity, eventTimeMs: typeof event_time === 'number' ? event_time : Date.parse(event_time), score: Math.fround(score), decision, model, fallback, late,
      scores: scores.map((each) => ({ ...each, score: Math.fround(each.score) })), reasons, task: lineage.task, sequence: lineage.sequence, ...place,
    }
  }
}
