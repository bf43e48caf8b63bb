import { AlertEncoder } from '../codec/alert-encoder.js'
import type { EventShape } from '../codec/event-part-writer.js'
import type { EventColumns } from '../codec/event-columns.js'
import { ScoredEventEncoder } from '../codec/scored-event-encoder.js'
import { hashKey } from '../entity/key-index.js'
import type { ScoringModels } from '../inference/scorer.js'
import { deciderOf, sharingOf, type Sharing } from '../inference/sharing.js'

export interface ModelOutputsOptions {
  readonly shape: Omit<EventShape, 'schemaId' | 'models' | 'deciders'>
  readonly scoredId: number | undefined
  readonly alertId: number | undefined
  /** Whose score stands in for the champion's; undefined: no model's. */
  readonly fallback: string | undefined
  /** Column of the entity. */
  readonly entityColumn: number
}

/** What outputs take from the models that scored a batch: who decides which event, and the encoders that know their names. */
export class ModelOutputs {
  readonly models: ScoringModels
  readonly count: number
  readonly scored: ScoredEventEncoder | null
  readonly alerts: AlertEncoder | null
  /** Model that stands in for the champion; -1: none. */
  readonly fallback: number
  readonly #sharing: Sharing
  readonly #entityColumn: number

  constructor(inForce: ScoringModels, { shape, scoredId, alertId, fallback, entityColumn }: ModelOutputsOptions) {
    const { models } = inForce
    this.models = inForce
    this.count = models.length
    const whole = {
      ...shape,
      models: models.map(({ reference, role }) => ({ label: reference, role })),
      deciders: [...models.map(({ reference }) => reference), 'rule', 'review'],
    }
    this.scored = scoredId === undefined ? null : new ScoredEventEncoder({ ...whole, schemaId: scoredId })
    this.alerts = alertId === undefined ? null : new AlertEncoder({ ...whole, schemaId: alertId })
    this.fallback = fallback === undefined ? -1 : models.findIndex(({ reference }) => reference === fallback)
    this.#sharing = sharingOf(models)
    this.#entityColumn = entityColumn
  }

  /** The model that decides an event: 0, the champion, or the challenger. It is the same for all events of an entity. */
  decider(bytes: Uint8Array, events: EventColumns, row: number): number {
    if (this.#sharing.challenger < 0) return 0
    return deciderOf(this.#sharing, hashKey(bytes, events.textAt[this.#entityColumn]![row]!, events.textBytes[this.#entityColumn]![row]!))
  }
}
