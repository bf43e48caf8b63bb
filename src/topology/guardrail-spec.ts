import { z } from 'zod'
import { durationSchema, formatDuration } from '../base/durations.js'

/** Limits of a released model, as rates 0 to 1, times, an index, and ms. */
const limits = {
  alertRateMax: z.number().gt(0).lt(1).optional().describe('Part of its decisions that may be alerts, 0 to 1. In the last stage, which decides.'),
  alertRateTimesMax: z.number().gt(1).max(1000).optional().describe('How many times the alert rate of the champion before it its own may be; breached by more than chance (three standard deviations of the count).'),
  scoreShiftMax: z.number().gt(0).max(100).optional().describe("Population stability index of its scores against those of the champion before; above 0.25 is the usual word for 'not the same any more'."),
  errorRateMax: z.number().min(0).lt(1).optional().describe('Part of its events for which it may give no score: it threw, took too long, or the score was no number.'),
  delayMax: durationSchema.optional().describe('From the timestamp of a record to the moment when its score can be read; one event in a hundred may take longer. Judged where the champion before kept it.'),
}

export const guardrailNames = Object.keys(limits) as GuardrailName[]
export type GuardrailName = keyof typeof limits

/** When a release goes back by itself; see `Guardrails`. */
export const guardrailsSchema = z
  .strictObject({
    window: durationSchema.refine((ms) => ms >= 1000, 'at least 1s').default(3_600_000).describe('For how long after a release: of records whose timestamp is less than this after it.'),
    events: z.number().int().min(50).max(1_000_000).default(1000).describe('Events that the released model decides in one process before they are judged; then the next so many are, by themselves.'),
    ...limits,
  })
  .refine((guardrails) => guardrailNames.some((name) => guardrails[name] !== undefined), `names no guardrail: write one or more of ${guardrailNames.join(', ')}`)

export type GuardrailsSpec = z.infer<typeof guardrailsSchema>

/** For people: each limit that is set. */
export function guardrailTexts(spec: GuardrailsSpec): string[] {
  const text: Record<GuardrailName, (limit: number) => string> = {
    alertRateMax: (limit) => `alerts at most ${percentText(limit)} of the decisions`,
    alertRateTimesMax: (limit) => `alert rate at most ${limit} times that of the champion before`,
    scoreShiftMax: (limit) => `score shift (PSI) at most ${limit}`,
    errorRateMax: (limit) => `no score for at most ${percentText(limit)} of the events`,
    delayMax: (limit) => `delay at most ${formatDuration(limit)} for 99 of 100 events`,
  }
  return guardrailNames.flatMap((name) => (spec[name] === undefined ? [] : [text[name](spec[name])]))
}

function percentText(share: number): string {
  return `${Number((share * 100).toFixed(4))} %`
}
