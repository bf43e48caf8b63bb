import { InlineScorer } from './inline-scorer.js'
import type { Scorer, ScorerOptions } from './scorer.js'

/** Opens the models and starts the workers. Errors: MODEL_INVALID, DEVICE_UNAVAILABLE. */
export async function createScorer(options: ScorerOptions): Promise<Scorer> {
  return await InlineScorer.create(options)
}
