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

const stateReference = /^state:(\d+)$/
const nextStateReference = /^next-state:(\d+)$/

const input = z.strictObject({
  /** The input's name in the ONNX graph. */
  name: z.string().min(1),
  /** What it is fed with: the feature rows, state number i, the number of real rows [B], or a mask [B, W] (1 = a real row). */
  what: z.union([z.enum(['features', 'lengths', 'mask']), z.string().regex(stateReference, 'features, lengths, mask or state:<number>')]),
})

const output = z.strictObject({
  name: z.string().min(1),
  what: z.union([z.literal('score'), z.string().regex(nextStateReference, 'score or next-state:<number>')]),
})

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
    file: z.string().regex(/^[^/\\]+$/, 'a file beside model.yaml').default('model.onnx'),
    sha256: z.string().regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits'),
    /** Feature names in the order of the model's input. */
    features: z.array(z.string().min(1)).min(1),
    /** W: rows of a window model's input. */
    window: count.max(4096).optional(),
    /** Window models: [B, W, F] or [W, B, F]. */
    layout: z.enum(['batch-major', 'time-major']).default('batch-major'),
    inputs: z.array(input).min(1),
    outputs: z.array(output).min(1),
    states: z.array(state).default([]),
    score: z
      .strictObject({
        meaning: z.enum(['probability', 'logit']).default('probability'),
        /** The class to read when the output is [B, classes]. */
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
    const { kind, states, inputs, outputs } = manifest
    if (inputs.filter((each) => each.what === 'features').length !== 1) problem(['inputs'], 'exactly one input is fed with features')
    if (outputs.filter((each) => each.what === 'score').length !== 1) problem(['outputs'], 'exactly one output is the score')
    if (kind === 'window' && manifest.window === undefined) problem(['window'], 'a window model names its number of rows')
    if (kind !== 'window' && manifest.window !== undefined) problem(['window'], `a ${kind} model has no window`)
    if (kind !== 'window' && inputs.some((each) => each.what === 'lengths' || each.what === 'mask')) {
      problem(['inputs'], 'only window models have lengths or a mask')
    }
    if (kind === 'recurrent' && states.length === 0) problem(['states'], 'a recurrent model has at least one state')
    if (kind !== 'recurrent' && states.length > 0) problem(['states'], `a ${kind} model has no states`)
    if (new Set(manifest.features).size !== manifest.features.length) problem(['features'], 'feature names are unique')
    states.forEach((each, index) => {
      if (each.batchAxis === 1 && each.shape.length < 2) {
        problem(['states', index, 'batchAxis'], 'a batch axis of 1 needs a shape of two or more numbers')
      }
      if (inputs.filter((one) => one.what === `state:${index}`).length !== 1) problem(['inputs'], `exactly one input is fed with state:${index}`)
      if (outputs.filter((one) => one.what === `next-state:${index}`).length !== 1) problem(['outputs'], `exactly one output is next-state:${index}`)
    })
    inputs.forEach((each, index) => {
      const number = stateReference.exec(each.what)?.[1]
      if (number !== undefined && Number(number) >= states.length) problem(['inputs', index, 'what'], `there are ${states.length} states`)
    })
    outputs.forEach((each, index) => {
      const number = nextStateReference.exec(each.what)?.[1]
      if (number !== undefined && Number(number) >= states.length) problem(['outputs', index, 'what'], `there are ${states.length} states`)
    })
  })

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

/** Floats of one entity's hidden state. */
export function hiddenFloatsOf(manifest: Manifest): number {
  return manifest.states.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0)
}
