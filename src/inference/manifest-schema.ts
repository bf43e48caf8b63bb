import { z } from 'zod'
import { parse } from 'yaml'
import { HarrierError, messageOf } from '../base/errors.js'
import { problemText } from '../base/setting-problems.js'
import { checkReasons, reasonsSchema } from './reasons-spec.js'

export const modelKinds = ['row', 'window', 'recurrent'] as const
export type ModelKind = (typeof modelKinds)[number]

const name = z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'lower-case letters, digits and hyphens')
const version = z
  .union([z.string(), z.number().int().positive()])
  .transform(String)
  .pipe(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.+_-]*$/, 'letters, digits, dots'))
const count = z.number().int().positive()

const fileBeside = z.string().regex(/^[^/\\]+$/, 'a file beside model.yaml, without a folder')
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits, as sha256sum prints them')

const stateReference = /^state:(\d+)$/
const nextStateReference = /^next-state:(\d+)$/

/**
 * What an input is fed with, besides states. `features`: the rows, [B, F] or [B, W, F]. `last-row`: of a window, the row of the
 * event itself, [B, F]. `lengths`: the number of real rows, [B]. `mask`: [B, W], 1 = a real row; `padding-mask`: 1 = padding.
 */
export const inputPurposes = ['features', 'last-row', 'lengths', 'mask', 'padding-mask'] as const

const input = z.strictObject({
  name: z.string().min(1).describe("The input's name in the graph. Its type is the graph's: float32, float16, int64, int32 or bool."),
  what: z
    .union([z.enum(inputPurposes), z.string().regex(stateReference)], `write one of ${inputPurposes.join(', ')}, or state:<number>`)
    .describe('What it is fed with; see "What goes in".'),
  columns: z.array(z.string().min(1)).min(1).optional().describe('For `features` and `last-row`: which features it reads, in this order. Default: all.'),
})

const output = z.strictObject({
  name: z.string().min(1).describe("The output's name in the graph. Outputs that are not named are not computed into anything."),
  what: z
    .union([z.literal('score'), z.string().regex(nextStateReference)], 'write score or next-state:<number>; leave out an output that nobody reads')
    .describe('`score`, or `next-state:0`, `next-state:1`, … for the state that follows `state:0`, `state:1`, …'),
})

/** How a category feature was numbered when the model was trained. */
const category = z.strictObject({
  values: z.array(z.union([z.string(), z.number().int()])).min(1).max(65_536).describe('Texts or whole numbers as they stand in the event, in the order of their indexes.'),
  first: z.number().int().nonnegative().default(1).describe('Index of the first value; the others follow.'),
  unknown: z.number().int().nonnegative().default(0).describe('Index of everything that is not in `values`.'),
})

const externalData = z.strictObject({ file: fileBeside.describe('As the model names it.'), sha256: sha256.describe('Of this file.') })

const state = z.strictObject({
  shape: z.array(count).min(1).describe('Without the batch: `[H]`, or `[layers, H]`.'),
  batchAxis: z.union([z.literal(0), z.literal(1)]).default(0).describe('Where the batch stands in the tensor: 0 for [B, H], 1 for [layers, B, H].'),
})

/** Limits and defaults of one model. */
const limits = z.strictObject({
  batchRowsMax: count.max(16_384).default(512).describe('Rows of one run. Less for a large model, whose first opening tries batches up to this; and 256 where a window model is quicker with it: [batch size](performance.md#rows-of-a-run).'),
  timeoutMs: count.default(5_000).describe('How long it may take for the rows of one batch on a worker (a window model: for each `batchRowsMax` of them) before it counts as failed.'),
})

/** Where the model comes from; further fields are kept as they are. */
const training = z.looseObject({
  data: z.string().optional(),
  command: z.string().optional(),
  seed: z.number().optional(),
  seconds: z.number().optional(),
})

/** What people say of a model. */
const card = z.strictObject({
  owner: z.string().optional().describe('Who answers for it.'),
  licence: z.string().optional().describe('Under which it may be used.'),
  intendedUse: z.array(z.string()).optional().describe('What it is for, and for whom.'),
  limits: z.array(z.string()).optional().describe('What it is not for, and where it is known to be weak.'),
})

/** What a model.yaml may say; the descriptions are printed into docs/models.md by scripts/docs.js. */
export const manifestSchema = z
  .strictObject({
    name: name.describe('Name of the folder above the version.'),
    version: version.describe('Name of the folder. A changed file is another version.'),
    kind: z.enum(modelKinds).describe('`row`: one event. `window`: the last events. `recurrent`: one event and a carried state.'),
    description: z.string().optional().describe('For people.'),
    file: fileBeside.default('model.onnx').describe('The ONNX file, beside model.yaml.'),
    sha256: sha256.describe('Of the file. What was released is what runs, or nothing does.'),
    externalData: z.array(externalData).default([]).describe('Files of weights that the ONNX file names; they lie beside it.'),
    weights: z
      .enum(['mapped', 'packed'])
      .optional()
      .describe('`mapped`: used where they lie in the mapped files, once for all workers. `packed`: each worker packs a copy, somewhat faster. Default: `mapped` with `externalData`.'),
    features: z.array(z.string().min(1)).min(1).describe("Names of the stage's features, in the order of training."),
    categories: z.record(z.string(), category).default({}).describe('By feature: how its values were numbered in training.'),
    window: count.max(4096).optional().describe('W, the rows of a window; at most the `ring` of the stage.'),
    layout: z.enum(['batch-major', 'time-major']).default('batch-major').describe('Window models: [B, W, F] or [W, B, F].'),
    padding: z.enum(['left', 'right']).default('left').describe('Where zeros stand while an entity has fewer than W events: before them or after them.'),
    inputs: z.array(input).min(1).describe('Every input of the graph.'),
    outputs: z.array(output).min(1).describe('The outputs that are read.'),
    states: z.array(state).default([]).describe('What a recurrent model carries from event to event.'),
    score: z
      .strictObject({
        meaning: z
          .enum(['probability', 'logit', 'logits', 'value'])
          .default('probability')
          .describe('`probability`: as it is. `logit`: the sigmoid of it. `logits`: the softmax over the classes. `value`: no probability but a number as it is, such as an expected loss; a policy\'s thresholds do not fit it, so it is for shadows.'),
        column: z.number().int().nonnegative().default(0).describe('The class to read where the output is [B, classes], from 0.'),
      })
      .default({ meaning: 'probability', column: 0 }),
    normalisation: z.literal('in-graph').default('in-graph').describe('Scaling belongs into the graph: the model is fed plain features.'),
    limits: limits.default({ batchRowsMax: 512, timeoutMs: 5_000 }),
    reasons: reasonsSchema.optional().describe('How its scores are explained; see "Reasons".'),
    training: training.optional().describe('Data, command, seed, seconds and whatever else says where it comes from.'),
    card: card.optional().describe('What a model card says besides; see releases.md, "Model cards".'),
    metrics: z.record(z.string(), z.unknown()).optional().describe('What it was found to be worth.'),
  })
  .superRefine((manifest, context) => {
    const problem = (path: (string | number)[], message: string): void => context.addIssue({ code: 'custom', path, message })
    const { kind, states, inputs, outputs, features } = manifest
    const isFed = ({ what }: { what: string }): boolean => what === 'features' || what === 'last-row'
    if (!inputs.some(({ what }) => what === 'features')) problem(['inputs'], 'no input is fed with features; write {name: <input>, what: features}')
    if (outputs.filter((each) => each.what === 'score').length !== 1) problem(['outputs'], 'exactly one output is the score; write {name: <output>, what: score}')
    if (kind === 'window' && manifest.window === undefined) problem(['window'], 'a window model names its number of rows; write window: <rows>')
    if (kind !== 'window' && manifest.window !== undefined) problem(['window'], `a ${kind} model has no window; leave it out, or write kind: window`)
    if (kind !== 'window' && manifest.padding === 'right') problem(['padding'], 'only window models are padded; leave it out')
    if (kind === 'recurrent' && states.length === 0) problem(['states'], 'a recurrent model has at least one state; write - {shape: [<floats>]}')
    if (kind !== 'recurrent' && states.length > 0) problem(['states'], `a ${kind} model has no states; leave them out, or write kind: recurrent`)
    duplicates(features).forEach((each) => problem(['features'], `feature names are unique: "${each}" stands twice`))
    duplicates(inputs.map((each) => each.name)).forEach((each) => problem(['inputs'], `the input "${each}" stands twice`))
    states.forEach((each, index) => {
      if (each.batchAxis === 1 && each.shape.length < 2) {
        problem(['states', index, 'batchAxis'], 'a batch axis of 1 needs a shape of two or more numbers, [layers, floats]')
      }
      if (inputs.filter((one) => one.what === `state:${index}`).length !== 1) problem(['inputs'], `exactly one input is fed with state:${index}`)
      if (outputs.filter((one) => one.what === `next-state:${index}`).length !== 1) problem(['outputs'], `exactly one output is next-state:${index}`)
    })
    inputs.forEach((each, index) => {
      const number = stateReference.exec(each.what)?.[1]
      if (number !== undefined && Number(number) >= states.length) problem(['inputs', index, 'what'], `there are ${states.length} states`)
      if (kind !== 'window' && !isFed(each) && number === undefined) problem(['inputs', index, 'what'], `only window models have ${each.what}`)
      if (kind !== 'window' && each.what === 'last-row') problem(['inputs', index, 'what'], 'only window models have last-row; write features')
      if (each.columns && !isFed(each)) problem(['inputs', index, 'columns'], 'only features and last-row have columns')
      for (const column of each.columns ?? []) {
        if (!features.includes(column)) problem(['inputs', index, 'columns'], `"${column}" is not in features; write one of ${features.join(', ')}`)
      }
    })
    const read = new Set(inputs.filter(isFed).flatMap((each) => each.columns ?? features))
    const unread = features.filter((each) => !read.has(each))
    if (read.size > 0 && unread.length > 0) problem(['features'], `no input reads ${unread.join(', ')}; add them to the columns of an input, or leave them out`)
    outputs.forEach((each, index) => {
      const number = nextStateReference.exec(each.what)?.[1]
      if (number !== undefined && Number(number) >= states.length) problem(['outputs', index, 'what'], `there are ${states.length} states`)
    })
    for (const [feature, { values }] of Object.entries(manifest.categories)) {
      if (!features.includes(feature)) problem(['categories', feature], `is not in features; write one of ${features.join(', ')}`)
      duplicates(values.map(String)).forEach((each) => problem(['categories', feature, 'values'], `"${each}" stands twice`))
    }
    if (manifest.reasons) checkReasons(manifest.reasons, manifest, (path, message) => problem(['reasons', ...path], message))
    const files = [manifest.file, ...manifest.externalData.map((each) => each.file)]
    duplicates(files).forEach((each) => problem(['externalData'], `the file "${each}" stands twice`))
  })

function duplicates(names: readonly string[]): string[] {
  return [...new Set(names.filter((each, index) => names.indexOf(each) !== index))]
}

/** A model.yaml, checked. */
export type Manifest = z.output<typeof manifestSchema>

/** Parses the text of a model.yaml. Errors (MANIFEST_INVALID) name the file and every wrong path in it. */
export function parseManifest(text: string, file: string): Manifest {
  let document: unknown
  try {
    document = parse(text)
  } catch (error) {
    throw new HarrierError('MANIFEST_INVALID', `${file} is not YAML: ${messageOf(error)}`, { cause: error })
  }
  const result = manifestSchema.safeParse(document)
  if (result.success) return result.data
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || '(top)'}: ${problemText(issue, manifestSchema, document)}`)
  throw new HarrierError('MANIFEST_INVALID', `${file}: ${problems.join('; ')}`, {
    remedy: `correct ${problems.length === 1 ? 'this field' : 'these fields'} of ${file}`,
  })
}
