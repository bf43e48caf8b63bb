import { createHash } from 'node:crypto'
import { z } from 'zod'
import { parse } from 'yaml'
import { HarrierError, messageOf } from '../base/errors.js'

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
  /** The input's name in the ONNX graph. Its type (float32, float16, int64, int32, bool) is the graph's. */
  name: z.string().min(1),
  what: z.union([z.enum(inputPurposes), z.string().regex(stateReference)], `write one of ${inputPurposes.join(', ')}, or state:<number>`),
  /** For `features` and `last-row`: which of the manifest's features, in this order; default all of them. */
  columns: z.array(z.string().min(1)).min(1).optional(),
})

const output = z.strictObject({
  name: z.string().min(1),
  what: z.union([z.literal('score'), z.string().regex(nextStateReference)], 'write score or next-state:<number>; leave out an output that nobody reads'),
})

/** How a category feature was numbered when the model was trained. */
const category = z.strictObject({
  /** Texts or whole numbers as they stand in the event. */
  values: z.array(z.union([z.string(), z.number().int()])).min(1).max(65_536),
  /** The index of the first value; the others follow. */
  first: z.number().int().nonnegative().default(1),
  /** The index of everything that is not in `values`. */
  unknown: z.number().int().nonnegative().default(0),
})

const externalData = z.strictObject({ file: fileBeside, sha256 })

const state = z.strictObject({
  /** Without the batch axis: [H], or [layers, H]. */
  shape: z.array(count).min(1),
  /** Where the batch stands in the tensor: 0 for [B, H], 1 for [layers, B, H]. */
  batchAxis: z.union([z.literal(0), z.literal(1)]).default(0),
})

/** Limits and defaults of one model. */
const limits = z.strictObject({
  /** Rows of one run. */
  batchRowsMax: count.max(16_384).default(512),
  /** How long a model may take for one frame's rows on a worker before it counts as failed. */
  timeoutMs: count.default(5_000),
})

/** Where the model comes from; further fields are kept as they are. */
const training = z.looseObject({
  data: z.string().optional(),
  command: z.string().optional(),
  seed: z.number().optional(),
  seconds: z.number().optional(),
})

const manifestSchema = z
  .strictObject({
    name,
    version,
    kind: z.enum(modelKinds),
    description: z.string().optional(),
    file: fileBeside.default('model.onnx'),
    sha256,
    /** Files of weights that model.onnx names; they lie beside it. */
    externalData: z.array(externalData).default([]),
    /**
     * `mapped`: weights are used where they lie in the mapped files, once for all workers. `packed`: each worker packs a copy, which
     * runs somewhat faster. Default: mapped if there is externalData.
     */
    weights: z.enum(['mapped', 'packed']).optional(),
    /** Feature names in the order of the model's input. */
    features: z.array(z.string().min(1)).min(1),
    /** By feature: the vocabulary of each category feature. */
    categories: z.record(z.string(), category).default({}),
    /** W: rows of a window model's input. */
    window: count.max(4096).optional(),
    /** Window models: [B, W, F] or [W, B, F]. */
    layout: z.enum(['batch-major', 'time-major']).default('batch-major'),
    /** Window models: on which side zeros stand while an entity has fewer than W rows. `right`: the event is row length - 1. */
    padding: z.enum(['left', 'right']).default('left'),
    inputs: z.array(input).min(1),
    outputs: z.array(output).min(1),
    states: z.array(state).default([]),
    score: z
      .strictObject({
        /** `probability`: as it is. `logit`: the sigmoid of it. `logits`: the softmax over the classes of the output [B, classes]. */
        meaning: z.enum(['probability', 'logit', 'logits']).default('probability'),
        /** The class to read when the output is [B, classes], from 0. */
        column: z.number().int().nonnegative().default(0),
      })
      .default({ meaning: 'probability', column: 0 }),
    normalisation: z.literal('in-graph').default('in-graph'),
    limits: limits.default({ batchRowsMax: 512, timeoutMs: 5_000 }),
    training: training.optional(),
    metrics: z.record(z.string(), z.unknown()).optional(),
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
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || '(top)'}: ${issue.message}`)
  throw new HarrierError('MANIFEST_INVALID', `${file}: ${problems.join('; ')}`, {
    remedy: `correct ${problems.length === 1 ? 'this field' : 'these fields'} of ${file}`,
  })
}

export function manifestReference(manifest: Pick<Manifest, 'name' | 'version'>): string {
  return `${manifest.name}@${manifest.version}`
}

/** What a version is known by in lineage and in stored states: the sha256 of its file, or of all its files' sha256. */
export function modelDigest({ sha256, externalData }: Manifest): string {
  if (externalData.length === 0) return sha256
  return createHash('sha256').update([sha256, ...externalData.map((each) => each.sha256)].join(' ')).digest('hex')
}

/** Floats of one entity's hidden state. */
export function hiddenFloatsOf(manifest: Manifest): number {
  return manifest.states.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0)
}
