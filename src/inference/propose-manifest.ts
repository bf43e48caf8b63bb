import type { InferenceSession } from 'onnxruntime-node'
import type { OnnxFile } from './onnx-file.js'
import type { Categories } from './recodes.js'

type Value = InferenceSession.ValueMetadata
type TensorValue = InferenceSession.TensorValueMetadata

/** Rows of a window whose graph leaves their number open. */
const windowWhenOpen = 32

export interface ProposalOptions {
  readonly name: string
  readonly version: string
  readonly file: string
  readonly sha256: string
  readonly externalData: readonly { readonly file: string; readonly sha256: string }[]
  readonly inputs: readonly Value[]
  readonly outputs: readonly Value[]
  readonly graph: OnnxFile
  /** The features of the stage that is to use the model, if it is known. */
  readonly features?: readonly string[]
  readonly categories?: Categories
}

interface Input {
  readonly value: TensorValue
  readonly what: string
  /** Features that it reads; 0 = none. */
  readonly width: number
}

/** A model.yaml to start from. What had to be guessed is said in comments. */
export function proposeManifest(options: ProposalOptions): string {
  const { graph } = options
  const asExported = { inputs: options.inputs.filter((each) => each.isTensor), outputs: options.outputs.filter((each) => each.isTensor) }
  const batch = fixedBatch(asExported)
  const inputs = asExported.inputs.map((value) => openBatch(value, batch))
  const outputs = asExported.outputs.map((value) => openBatch(value, batch))
  const pairs = statePairs(inputs, outputs)
  const rest = inputs.filter((each) => !pairs.some(({ input }) => input === each))
  const series = pairs.length > 0 ? undefined : rest.find((each) => isSeries(each.shape))
  const kind = pairs.length > 0 ? 'recurrent' : series ? 'window' : 'row'
  const timeMajor = series !== undefined && typeof series.shape[0] === 'number' && typeof series.shape[1] === 'string'
  const windowSize = series ? series.shape.at(timeMajor ? 0 : -2)! : 1
  const window = typeof windowSize === 'number' ? windowSize : windowWhenOpen
  const fed = rest.map((value) => purposeOf(value, kind === 'window' ? window : 0))
  const { names, columns } = nameFeatures(fed, options)
  const score = chooseScore(outputs.filter((each) => !pairs.some(({ output }) => output === each)), outputs.length < options.outputs.length)
  const { meaning, column, note } = meaningOf(score, graph)
  const categories = [...(options.categories ?? [])].filter(([name]) => names.includes(name))
  const integers = fed.filter(({ value, what }) => what === 'features' && /^int/.test(value.type)).flatMap((each) => columns.get(each.value.name)!)

  const lines = [`name: ${options.name}`, `version: ${options.version}`, `kind: ${kind}`, `file: ${options.file}`, `sha256: ${options.sha256}`]
  if (options.externalData.length > 0) lines.push('externalData:', ...options.externalData.map(({ file, sha256 }) => `- {file: ${quoted(file)}, sha256: ${sha256}}`))
  const known = names.every((name) => options.features?.includes(name))
  lines.push(known ? '# The order must be that of the columns in training.' : '# Names of features of your topology, in the order of the columns in training.')
  lines.push(`features: [${names.map(quoted).join(', ')}]`)
  if (categories.length > 0) {
    lines.push('# As they were numbered in training: the first value has index 1, whatever is not among them index 0; else write first and unknown.', 'categories:')
    lines.push(...categories.map(([name, values]) => `  ${quoted(name)}: {values: [${values.map((value) => (typeof value === 'number' ? value : quoted(value))).join(', ')}]}`))
  } else if (integers.length > 0) {
    lines.push('# If these integers are categories, give their vocabularies, in the order of their indexes from 1 on (0 = unknown):')
    lines.push('# categories:', ...integers.map((name) => `#   ${name}: {values: [...]}`))
  }
  if (kind === 'window') {
    if (typeof windowSize === 'string') lines.push(`# The graph takes any number of rows; write the one that it was trained with.`)
    lines.push(`window: ${window}`)
    if (timeMajor) lines.push('layout: time-major')
    lines.push('# Where zeros stand while an entity has fewer rows: left (before them) or right.', `padding: ${fed.some(({ what }) => what === 'lengths') ? 'right' : 'left'}`)
  }
  if (batch !== undefined) lines.push(`# All shapes are fixed; ${batch} is taken for the batch, so ${batch === 1 ? 'rows are scored one by one' : `rows are scored ${batch} at a time`}.${batch === 1 ? ' Exported with a free batch it is faster.' : ''}`)
  lines.push('inputs:')
  pairs.forEach(({ input }, index) => lines.push(`- {name: ${quoted(input.name)}, what: 'state:${index}'}`))
  for (const { value, what, width } of fed) {
    const own = columns.get(value.name)
    const chosen = own && width > 0 && own.join() !== names.join() ? `, columns: [${own.map(quoted).join(', ')}]` : ''
    if (!value.shape.some((size) => typeof size === 'string') && rest.length > 1) {
      lines.push(`# ${value.name} [${value.shape.join(', ')}] has no batch: if it is a constant that the exporter made an input, export again with it inside`)
    }
    lines.push(`- {name: ${quoted(value.name)}, what: ${what}${chosen}}`)
  }
  lines.push('outputs:', score ? `- {name: ${quoted(score.name)}, what: score}` : '# no output is a tensor of numbers: export again without ZipMap')
  pairs.forEach(({ output }, index) => lines.push(`- {name: ${quoted(output.name)}, what: 'next-state:${index}'}`))
  if (pairs.length > 0) lines.push('states:', ...pairs.map(({ input }) => `- ${stateShape(input.shape)}`))
  if (note && score) lines.push(`# ${note}`)
  if (score) lines.push(`score: {meaning: ${meaning}${column > 0 ? `, column: ${column}` : ''}}`)
  return `${lines.join('\n')}\n`
}

/** The batch size of a graph in which no size is free: one that every input and every output has; undefined where some size is free. */
function fixedBatch({ inputs, outputs }: { inputs: readonly TensorValue[]; outputs: readonly TensorValue[] }): number | undefined {
  const all = [...inputs, ...outputs].map(({ shape }) => shape).filter((shape) => shape.length > 0)
  if (inputs.some(({ shape }) => shape.some((size) => typeof size === 'string'))) return undefined
  // outputs begin with the batch, whatever the inputs do
  const first = outputs.find(({ shape }) => shape.length > 0)?.shape ?? []
  return first.find((size): size is number => typeof size === 'number' && all.every((shape) => shape.includes(size)))
}

/** The shape with the batch left open, as if the model had been exported so. */
function openBatch(value: TensorValue, batch: number | undefined): TensorValue {
  const axis = batch === undefined ? -1 : value.shape.indexOf(batch)
  return axis < 0 ? value : { ...value, shape: value.shape.map((size, index) => (index === axis ? 'batch' : size)) }
}

const isSeries = (shape: readonly (number | string)[]): boolean => shape.length >= 3 && !(shape.length === 3 && (shape[1] === 1 || shape[0] === 1))

/** Inputs that an output follows: of the same type and shape, the batch apart. One input at least is left for the features. */
function statePairs(inputs: readonly TensorValue[], outputs: readonly TensorValue[]): { input: TensorValue; output: TensorValue }[] {
  const key = ({ type, shape }: TensorValue): string => `${type} ${shape.map((size) => (typeof size === 'string' ? 'B' : size)).join(' ')}`
  const free = [...outputs]
  const pairs: { input: TensorValue; output: TensorValue }[] = []
  for (const input of inputs) {
    const alike = free.filter((each) => each.shape.length >= 2 && key(each) === key(input) && each.type.startsWith('float'))
    const output = alike.find((each) => each.name.toLowerCase().includes(input.name.toLowerCase())) ?? alike[0]
    if (!output) continue
    pairs.push({ input, output })
    free.splice(free.indexOf(output), 1)
  }
  return pairs.length < inputs.length && free.length > 0 ? pairs : []
}

function stateShape(shape: readonly (number | string)[]): string {
  const axis = Math.max(0, shape.findIndex((size) => typeof size === 'string'))
  const rest = shape.filter((_, index) => index !== axis)
  return `{shape: [${rest.join(', ')}]${axis === 1 ? ', batchAxis: 1' : ''}}`
}

/** What an input is fed with, by its shape, type and name. `window` 0: not a window model. */
function purposeOf(value: TensorValue, window: number): Input {
  const { name, type, shape } = value
  const last = shape.at(-1)
  const width = typeof last === 'number' ? last : 1
  if (window === 0) return { value, what: 'features', width: shape.length <= 1 ? 1 : width }
  const isMask = type === 'bool' || /mask|pad/i.test(name)
  if (shape.length <= 1 || (shape.length === 2 && last === 1)) {
    return /len/i.test(name) || type.startsWith('int') ? { value, what: 'lengths', width: 0 } : { value, what: 'last-row', width: 1 }
  }
  const steps = shape.length === 2 && (shape.includes(window) || shape.every((size) => typeof size === 'string'))
  if ((steps || shape.length === 4) && isMask) return { value, what: /pad/i.test(name) ? 'padding-mask' : 'mask', width: 0 }
  if (steps) return { value, what: 'features', width: 1 }
  return shape.length === 2 ? { value, what: 'last-row', width } : { value, what: 'features', width }
}

/** Gives the columns of the inputs names: those of the stage where they fit, else f1, f2, … */
function nameFeatures(inputs: readonly Input[], { features = [], categories = new Map() }: ProposalOptions): { names: string[]; columns: Map<string, string[]> } {
  const columns = new Map<string, string[]>()
  const own = inputs.filter(({ what }) => what === 'features')
  const named = own.filter(({ value, width }) => width === 1 && own.length > 1 && features.includes(value.name))
  for (const { value } of named) columns.set(value.name, [value.name])
  const indexes = own.length > 1 ? own.filter((each) => !named.includes(each) && each.width === 1 && each.value.type.startsWith('int')) : []
  const unnamed = [...categories.keys()].filter((name) => features.includes(name) && !columns.has(name))
  for (const [place, { value }] of indexes.entries()) columns.set(value.name, [indexes.length === unnamed.length ? unnamed[place]! : value.name])
  const left = own.filter((each) => !columns.has(each.value.name))
  const wanted = left.reduce((sum, { width }) => sum + width, 0)
  const free = features.filter((name) => !columns.has(name))
  const numbers = free.filter((name) => !categories.has(name))
  const pool = wanted === free.length ? free : wanted === numbers.length ? numbers : []
  let at = 0
  for (const { value, width } of left) {
    columns.set(value.name, own.length > 1 && width === 1 && pool.length === 0 ? [value.name] : Array.from({ length: width }, (_, i) => pool[at + i] ?? `f${at + i + 1}`))
    at += width
  }
  for (const { value, width } of inputs.filter(({ what }) => what === 'last-row')) {
    const like = own.find((each) => each.width === width)
    columns.set(value.name, like ? columns.get(like.value.name)! : width === numbers.length ? numbers : Array.from({ length: width }, (_, i) => `${value.name}_${i + 1}`))
  }
  // in the stage's order where the names are its own
  const names = [...new Set([...columns.values()].flat())]
  const ordered = names.every((name) => features.includes(name)) ? features.filter((name) => names.includes(name)) : names
  return { names: ordered, columns }
}

/** `hasMaps`: some outputs are no tensors, and the probabilities are in them; a label of the class is no score then. */
function chooseScore(outputs: readonly TensorValue[], hasMaps: boolean): TensorValue | undefined {
  const numbers = outputs.filter(({ type }) => type.startsWith('float'))
  return numbers.find(({ name }) => /prob|score/i.test(name)) ?? numbers.find(({ name }) => /logit|out|class/i.test(name)) ?? numbers[0] ?? (hasMaps ? undefined : outputs[0])
}

/** Operators that hand numbers on as they are. */
const passing = new Set(['Identity', 'Squeeze', 'Unsqueeze', 'Reshape', 'Flatten', 'Cast', 'Slice', 'Gather', 'Transpose', 'Clip', 'Dropout'])

function meaningOf(score: TensorValue | undefined, { producers }: OnnxFile): { meaning: string; column: number; note: string | null } {
  const classes = score && score.shape.length >= 2 && typeof score.shape.at(-1) === 'number' ? (score.shape.at(-1) as number) : 1
  const column = classes > 1 ? classes - 1 : 0
  const which = classes > 1 ? ` Class ${column} of ${classes} is read.` : ''
  let at = producers.get(score?.name ?? '')
  while (at && passing.has(at.operator)) at = producers.get(at.inputs[0] ?? '')
  const operator = at?.operator ?? ''
  if (operator === 'Sigmoid' || operator === 'Softmax') return { meaning: 'probability', column, note: which ? `${operator} gives probabilities.${which}` : null }
  const isClassifier = [...producers.values()].some((each) => /Classifier$/.test(each.operator))
  if (isClassifier || /prob/i.test(score?.name ?? '')) return { meaning: 'probability', column, note: `The classifier gives probabilities.${which}` }
  const meaning = classes > 1 ? 'logits' : 'logit'
  const note = `The score comes out of ${operator || 'an input'} and no sigmoid or softmax follows, so it is taken for ${classes > 1 ? 'logits, of which the softmax is taken' : 'a logit'}; if it is a probability, write so.${which}`
  return { meaning, column, note }
}

/** A name as YAML takes it. */
function quoted(name: string): string {
  return /^[A-Za-z_][\w-]*$/.test(name) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(name) ? name : JSON.stringify(name)
}
