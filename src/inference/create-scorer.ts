import { InlineScorer } from './inline-scorer.js'
import { PooledScorer } from './pooled-scorer.js'
import type { Scorer, ScorerOptions } from './scorer.js'

/** Opens the models and starts the workers. Errors: MODEL_INVALID, DEVICE_UNAVAILABLE. */
export async function createScorer(options: ScorerOptions): Promise<Scorer> {
  return options.workers === 0 ? await InlineScorer.create(options) : await PooledScorer.create(options)
}
