import { z } from 'zod'
import { durationSchema } from '../base/durations.js'

const field = z.string().min(1)
const scale = z.number().positive().default(1)
const windowMs = durationSchema.refine((ms) => ms > 0, 'a window is longer than nothing')

/**
 * The feature vocabulary. Each kind is defined once, in feature-program.ts, and used by the stream, by
 * `harrier features` and by tests alike.
 */
export const featureSchema = z.discriminatedUnion('kind', [
  z.strictObject({ name: field, kind: z.literal('value'), field, scale }),
  z.strictObject({ name: field, kind: z.literal('log1p'), field, scale }),
  z.strictObject({ name: field, kind: z.literal('hourSin') }),
  z.strictObject({ name: field, kind: z.literal('hourCos') }),
  z.strictObject({ name: field, kind: z.literal('weekend') }),
  z.strictObject({ name: field, kind: z.literal('night') }),
  z.strictObject({ name: field, kind: z.literal('count'), window: windowMs }),
  z.strictObject({ name: field, kind: z.literal('sum'), field, window: windowMs, scale }),
  z.strictObject({ name: field, kind: z.literal('mean'), field, window: windowMs, scale }),
  z.strictObject({ name: field, kind: z.literal('ratio'), field, window: windowMs }),
  z.strictObject({ name: field, kind: z.literal('timeSince'), unit: durationSchema.default(1000), log1p: z.boolean().default(false) }),
])

export type FeatureSpec = z.infer<typeof featureSchema>
export type FeatureKind = FeatureSpec['kind']
