import { z } from 'zod'
import { Decision, type DecisionCode } from '../codec/outcome-columns.js'


const threshold = z.number().min(0).max(1)

/** What decides when the champion gives no score: another model of the stage, a rule on one field, or a person. */
const fallbackSchema = z.union([
  z.literal('review'),
  z.strictObject({ model: z.string().regex(/^[^@]+@[^@]+$/, 'a model is named name@version') }),
  z.strictObject({
    rule: z.strictObject({
      field: z.string(),
      /** At or above: this decision; below: APPROVE. In the field's own unit. */
      declineFrom: z.number().optional(),
      reviewFrom: z.number().optional(),
    }),
  }),
])

export const policySchema = z
  .strictObject({
    /** Scores from here on are declined. */
    decline: threshold,
    /** Scores from here on, below `decline`, are reviewed. */
    review: threshold,
    fallback: fallbackSchema.default('review'),
    /** Fields of the event that scored events and alerts carry. */
    attributes: z.array(z.string()).default([]),
  })
  .refine((policy) => policy.review <= policy.decline, { message: 'review must not be above decline', path: ['review'] })

export type PolicySpec = z.infer<typeof policySchema>
export type FallbackSpec = PolicySpec['fallback']

/** Source: docs/architecture.md, "Policy". A threshold belongs to the upper class. */
export function decide(score: number, policy: PolicySpec): DecisionCode {
  return score >= policy.decline ? Decision.decline : score >= policy.review ? Decision.review : Decision.approve
}

export function decideByRule(value: number, rule: { declineFrom?: number | undefined; reviewFrom?: number | undefined }): DecisionCode {
  if (rule.declineFrom !== undefined && value >= rule.declineFrom) return Decision.decline
  return rule.reviewFrom !== undefined && value >= rule.reviewFrom ? Decision.review : Decision.approve
}
