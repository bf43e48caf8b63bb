import { z } from 'zod'
import { durationSchema } from '../base/durations.js'

const name = z.string().min(1).describe('Name of the column; models ask for it by this name.')
const field = z.string().min(1).describe('A number field of the source; with a window, an integer field.')
const scale = z.number().positive().default(1).describe('Factor on the result: 0.01 turns cents into units.')
const windowMs = durationSchema.refine((ms) => ms > 0, 'a window is longer than nothing').describe('Length w of the window (t - w, t] in event time; more than 0.')

/**
 * The feature vocabulary. Each kind is defined once, in feature-program.ts, and used by the stream, by
 * `harrier features` and by tests alike.
 */
export const featureSchema = z.discriminatedUnion('kind', [
  z.strictObject({ name, kind: z.literal('value'), field, scale }).describe('field × scale'),
  z.strictObject({ name, kind: z.literal('log1p'), field, scale }).describe('ln(1 + field × scale)'),
  z.strictObject({ name, kind: z.literal('hourSin') }).describe('sin(2π h / 24), h the whole UTC hour of t'),
  z.strictObject({ name, kind: z.literal('hourCos') }).describe('cos(2π h / 24)'),
  z.strictObject({ name, kind: z.literal('weekend') }).describe('1 on Saturday and Sunday (UTC), else 0'),
  z.strictObject({ name, kind: z.literal('night') }).describe('1 from 00:00 to 06:59 (UTC), else 0'),
  z.strictObject({ name, kind: z.literal('count'), window: windowMs }).describe('number of events in W(w)'),
  z.strictObject({ name, kind: z.literal('sum'), field, window: windowMs, scale }).describe('sum of field over W(w), × scale'),
  z.strictObject({ name, kind: z.literal('mean'), field, window: windowMs, scale }).describe('sum of field over W(w) / number of events in W(w), × scale'),
  z.strictObject({ name, kind: z.literal('ratio'), field, window: windowMs }).describe('field / mean of field over W(w); 1 where that mean is 0'),
  z
    .strictObject({
      name,
      kind: z.literal('category'),
      field: z.string().min(1).describe('A text or integer field of the source; it may be optional.'),
      values: z.array(z.union([z.string(), z.number().int()])).min(1).max(65_535).describe('Its values, in the order of their indexes.'),
    })
    .describe('index of field in `values`, the first being 1; 0 for any other value and for null'),
  z
    .strictObject({
      name,
      kind: z.literal('timeSince'),
      unit: durationSchema.default(1000).describe('What one is: `1s`, `1h`.'),
      log1p: z.boolean().default(false).describe('ln(1 + result) instead.'),
    })
    .describe('(t - time of the previous event of the entity) / unit; 0 for its first'),
])

export type FeatureSpec = z.infer<typeof featureSchema>
export type FeatureKind = FeatureSpec['kind']
