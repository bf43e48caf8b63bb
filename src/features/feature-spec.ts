import { z } from 'zod'
import { durationSchema } from '../base/durations.js'

const name = z.string().min(1).describe('Name of the column; models ask for it by this name.')
const field = z.string().min(1).describe('A number field of the source; with a window, an integer field.')
const scale = z.number().positive().default(1).describe('Factor on the result: 0.01 turns cents into units.')
const windowMs = durationSchema.refine((ms) => ms > 0, 'a window is longer than nothing').describe('Length w of the window (t - w, t] in event time; more than 0.')

const delay = durationSchema.refine((ms) => ms > 0, 'a delay is longer than nothing').optional().describe('Moves the window back by d: W is then (t - d - w, t - d].')
/** A log holds at least four times as many entries before it is thinned out, unless `windowEntriesMax` is lowered. */
export const lastMax = 1024
const last = z.number().int().min(1).max(lastMax).optional().describe('Only the newest n events of W, the event itself included.')
const unit = durationSchema.default(86_400_000).describe('What one is: `1h`, `1d`.')
const cap = z.number().positive().default(60).describe('The largest value, and the value where there is none.')
const where = z
  .strictObject({ field: z.string().min(1).describe('A number field.'), below: z.number().optional().describe('Less than this.'), from: z.number().optional().describe('At least this.') })
  .refine(({ below, from }) => below !== undefined || from !== undefined, 'a condition has a bound: below or from')
  .optional()
  .describe('Only frauds whose event fulfils this count; other frauds are passed over.')
const memory = windowMs.describe('How far back in event time events are remembered.')
const log1p = z.boolean().default(false).describe('ln(1 + result) instead.')

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
  z.strictObject({ name, kind: z.literal('count'), window: windowMs, last, delay, log1p: z.boolean().optional().describe('ln(1 + result) instead.') }).describe('number of events in W'),
  z.strictObject({ name, kind: z.literal('sum'), field, window: windowMs, last, delay, scale }).describe('sum of field over W, × scale'),
  z.strictObject({ name, kind: z.literal('mean'), field, window: windowMs, last, delay, scale }).describe('sum of field over W / number of events in W, × scale; 0 where there is none'),
  z.strictObject({ name, kind: z.literal('ratio'), field, window: windowMs, last, delay }).describe('field / mean of field over W; 1 where that mean is 0 or there is none'),
  z.strictObject({ name, kind: z.literal('std'), field, window: windowMs, last, delay, scale }).describe('standard deviation of field over W, × scale: sqrt(sum (x - mean)² / n), events in the order of their times; 0 where there is none'),
  z.strictObject({ name, kind: z.literal('min'), field, window: windowMs, last, delay, scale }).describe('smallest field over W, × scale; 0 where there is none'),
  z.strictObject({ name, kind: z.literal('max'), field, window: windowMs, last, delay, scale }).describe('largest field over W, × scale; 0 where there is none'),
  z
    .strictObject({ name, kind: z.literal('distinctCount'), field: z.string().min(1).describe('A text or integer field of the source.'), window: windowMs, last, delay })
    .describe('number of different values of field over W; of texts by a 53-bit hash'),
  z.strictObject({ name, kind: z.literal('labelCount'), window: windowMs, delay, where }).describe('number of events in W that are known to be frauds'),
  z
    .strictObject({ name, kind: z.literal('labelRate'), window: windowMs, delay, where })
    .describe('number of events in W that are known to be frauds / number of events in W; 0 where there is none. An event without a label counts as genuine'),
  z
    .strictObject({ name, kind: z.literal('timeSinceLabel'), label: z.enum(['fraud', 'genuine']).default('fraud').describe('What the event turned out to be.'), memory, unit, cap, log1p, where })
    .describe('(t - time of the youngest event that is known to be `label`) / unit, at most cap'),
  z
    .strictObject({ name, kind: z.literal('labelRun'), memory, where })
    .describe('number of events known to be frauds since the youngest that is known to be genuine'),
  z
    .strictObject({ name, kind: z.literal('labelRunAge'), memory, unit, cap, log1p, where })
    .describe('(t - time of the oldest event of that run) / unit, at most cap; cap where there is no run'),
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
