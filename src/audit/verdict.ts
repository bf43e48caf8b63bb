import type { ReplayedScore } from './task-replay.js'
import type { ScoredEvent } from './scored-event.js'

/** What an audit says about one score. */
export type Verdict =
  | { readonly kind: 'equal' }
  /** On another device class bits may differ. */
  | { readonly kind: 'within-tolerance'; readonly largestDifference: number; readonly scoredOn: string; readonly auditedOn: string }
  | { readonly kind: 'differs'; readonly what: readonly string[] }
  /** What would be needed is not kept, or not at hand. */
  | { readonly kind: 'unavailable'; readonly why: string }
  /** The entity was erased on request: nothing is computed of it any more. */
  | { readonly kind: 'erased' }

export type VerdictKind = Verdict['kind']

/** Exit code of `harrier audit`, the gravest of several. 0: every score is proven. */
export const verdictExitCodes: Readonly<Record<VerdictKind, number>> = { equal: 0, 'within-tolerance': 0, erased: 12, unavailable: 11, differs: 10 }

/** How far scores of another device class may lie apart, absolute. Kernels sum in other orders; the golden tests allow as much. */
export const scoreTolerance = 1e-5

export function verdictOf(replayed: ReplayedScore): Verdict {
  const { event, lineage, scores, decision, late, deviceClass, missing } = replayed
  if (missing.length > 0) return { kind: 'unavailable', why: `no folder has ${missing.join(', ')}` }
  const isSameClass = lineage.engine.device_class === deviceClass
  const what: string[] = []
  let largest = 0
  for (const { model, score } of event.scores) {
    const again = scores.get(model)
    if (again === undefined) what.push(`${model} has a score, and the lineage does not know the model`)
    else if (!Object.is(again, score)) {
      const difference = Math.abs(again - score)
      if (isSameClass || !(difference <= scoreTolerance)) what.push(`${model}: the topic says ${score}, computed again it is ${again}`)
      else largest = Math.max(largest, difference)
    }
  }
  for (const [model, score] of scores) if (Number.isFinite(score) && !event.scores.some((each) => each.model === model)) what.push(`${model} gives ${score}, and the topic has no score of it`)
  const own = decidingScore(event)
  if (own !== undefined && !Object.is(own, event.score)) what.push(`the deciding score is ${event.score}, that of ${event.model} is ${own}`)
  if (decision !== undefined && isSameClass && decision !== event.decision) what.push(`the topic says ${event.decision}, the policy says ${decision}`)
  if (late !== event.late) what.push(`the topic says ${event.late ? 'late' : 'in time'}, computed again it was ${late ? 'late' : 'in time'}`)
  if (what.length > 0) return { kind: 'differs', what }
  return isSameClass || largest === 0 ? { kind: 'equal' } : { kind: 'within-tolerance', largestDifference: largest, scoredOn: lineage.engine.device_class, auditedOn: deviceClass }
}

function decidingScore({ model, scores }: ScoredEvent): number | undefined {
  return scores.find((each) => each.model === model)?.score
}
