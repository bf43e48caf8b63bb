/** Decisions as the schemas' enum numbers them. */
export const Decision = { approve: 0, review: 1, decline: 2 } as const
export type DecisionCode = (typeof Decision)[keyof typeof Decision]
export const decisionNames = ['APPROVE', 'REVIEW', 'DECLINE'] as const

/** Reasons are bits of one integer. */
export const reasonsMax = 31

/**
 * What the engine found out about each event of a batch, as columns; the encoders read them. Row i is row i of the
 * batch's `EventColumns`.
 */
export class OutcomeColumns {
  readonly rowsMax: number
  /** Models of the batch. */
  models: number
  /** The deciding score: the champion's, or the fall-back's; -1 when a rule or review stood in. */
  readonly score: Float32Array
  /** [rows, models]: the score of each model, in the order given to the encoder; NaN when the model gave none. */
  scores: Float32Array
  /** A code of `Decision`. */
  readonly decision: Uint8Array
  /** Who decided: a number into the encoder's `deciders`. */
  readonly decider: Uint8Array
  readonly fallback: Uint8Array
  /** The model whose turn it was to decide: 0, or the challenger. */
  readonly chosen: Uint8Array
  readonly late: Uint8Array
  /** Bit r is set when reason r of the encoder's `reasons` applies. */
  readonly reasons: Int32Array
  /** By row: its explanation as `encodeExplanation` wrote it. Few rows have one. */
  readonly explanations = new Map<number, Uint8Array>()

  constructor(rowsMax: number, models: number) {
    this.rowsMax = rowsMax
    this.models = models
    this.score = new Float32Array(rowsMax)
    this.scores = new Float32Array(rowsMax * models)
    this.decision = new Uint8Array(rowsMax)
    this.decider = new Uint8Array(rowsMax)
    this.fallback = new Uint8Array(rowsMax)
    this.chosen = new Uint8Array(rowsMax)
    this.late = new Uint8Array(rowsMax)
    this.reasons = new Int32Array(rowsMax)
  }

  /** Clears the first rows: no scores, approve, decider 0, no flags, no reasons, no explanations. Another number of models needs other room. */
  reset(rows: number, models = this.models): void {
    if (models * this.rowsMax > this.scores.length) this.scores = new Float32Array(this.rowsMax * models)
    this.models = models
    this.score.fill(-1, 0, rows)
    this.scores.fill(NaN, 0, rows * this.models)
    this.decision.fill(0, 0, rows)
    this.decider.fill(0, 0, rows)
    this.fallback.fill(0, 0, rows)
    this.chosen.fill(0, 0, rows)
    this.late.fill(0, 0, rows)
    this.reasons.fill(0, 0, rows)
    this.explanations.clear()
  }
}
