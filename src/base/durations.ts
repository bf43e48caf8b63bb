import { z } from 'zod'
import { HarrierError, messageOf } from './errors.js'

const unitMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `"250ms" | "5s" | "10m" | "1h" | "30d"` or a number of ms, to ms. */
export function parseDurationMs(text: string | number): number {
  if (typeof text === 'number') return text
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim())
  if (!match) throw new HarrierError('CONFIG_INVALID', `"${text}" is not a duration`, { remedy: 'write for example 500ms, 10s, 5m, 1h or 30d' })
  return Number(match[1]) * unitMs[match[2]!]!
}

/** The shortest exact form: 86400000 -> "1d". */
export function formatDuration(durationMs: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const size = unitMs[unit]!
    if (durationMs >= size && durationMs % size === 0) return `${durationMs / size}${unit}`
  }
  return `${durationMs}ms`
}

/** A duration in a configuration file: read as ms. */
export const durationSchema = z.union([z.string(), z.number().nonnegative()]).transform((text, context) => {
  try {
    return parseDurationMs(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: `${messageOf(error)}; write for example 500ms, 10s, 5m, 1h or 30d` })
    return z.NEVER
  }
})
