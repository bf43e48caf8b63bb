import { z } from 'zod'
import { Decision, type DecisionCode } from '../codec/outcome-columns.js'
import { reasonLimits } from '../inference/reason-limits.js'

const threshold = z.number().min(0).max(1)

/** What decides when the champion gives no score: another model of the stage, a rule on one field, or a person. */
const fallbackSchema = z.union([
  z.literal('review'),
  z.strictObject({ model: z.string().regex(/^[^@]+@[^@]+$/, 'a model is named name@version').describe('Another model of the stage: it scores every batch, and decides where the champion gave no score.') }),
  z.strictObject({
    rule: z.strictObject({
      field: z.string().describe('A number field of the source.'),
      declineFrom: z.number().optional().describe('From here on: DECLINE. In the unit of the column.'),
      reviewFrom: z.number().optional().describe('From here on, below `declineFrom`: REVIEW; below both: APPROVE.'),
    }),
  }),
])

export const policySchema = z
  .strictObject({
    decline: threshold.describe('Scores from here on are declined.'),
    review: threshold.describe('Scores from here on, below `decline`, are reviewed. Not above `decline`.'),
    fallback: fallbackSchema.default('review').describe('What decides where the champion gives no score: `review`, `{ model: name@version }` or `{ rule: … }`.'),
    reasons: z.number().int().min(0).max(reasonLimits.topMax).default(3).describe('How many reasons an alert and its scored event carry at most: what raised its score most. 0: none are computed. See models.md, "Reasons".'),
    attributes: z.array(z.string()).default([]).describe('Fields of the event that scored events and alerts carry.'),
  })
  .refine((policy) => policy.review <= policy.decline, { message: 'review must not be above decline', path: ['review'] })

export type PolicySpec = z.infer<typeof policySchema>
export type FallbackSpec = PolicySpec['fallback']

/** Source: docs/architecture.md, "Policy". A threshold belongs to the upper class. */
export function decide(score: number, policy: PolicySpec): DecisionCode {
  return score >= policy.decline ? Decision.decline : score >= policy.review ? Decision.review : Decision.approve
}

/** The same of a score that lies in a column: a number that is handed to a function may be an object on the heap, for each event. */
export function decideAt(scores: ArrayLike<number>, at: number, policy: PolicySpec): DecisionCode {
  return decide(scores[at]!, policy)
}

export function decideByRule(value: number, rule: { declineFrom?: number | undefined; reviewFrom?: number | undefined }): DecisionCode {
  if (rule.declineFrom !== undefined && value >= rule.declineFrom) return Decision.decline
  return rule.reviewFrom !== undefined && value >= rule.reviewFrom ? Decision.review : Decision.approve
}
