import type { AvroType } from './avro-schema.js'
import type { FieldSpec } from './field-spec.js'

/** A step of a path: the name of a field or key, or the place in an array. */
export interface PathStep {
  /** `amount`; of an array's item the step as it is written: `[0]`. */
  readonly name: string
  /** Only in arrays: which item, from 0. */
  readonly index?: number
  /** `[only]`: the first item, of an array that must not have more. */
  readonly only?: boolean
}

/** One step of the fields' paths: a tree by name, so that one walk over a value finds every field. */
export interface PathNode extends PathStep {
  /** Where it stands, for messages: `payment.amount`. */
  readonly path: string
  /** Steps from the root. */
  readonly depth: number
  /** Numbers of the fields whose path ends here. */
  readonly fields: number[]
  readonly children: PathNode[]
  only?: boolean
  /** Other names that a writer may use (aliases of the reader's field). */
  aliases: readonly string[]
  /** The reader's default for a writer that lacks this; JSON as in the schema. */
  default: { readonly json: unknown; readonly type: AvroType } | undefined
}

/** Items of an array that a path may pass over. */
export const pathIndexMax = 999
const stepPattern = /\[(\d{1,3}|only)\]|\["((?:[^"\\]|\\.)+)"\]|([^.[]+)|\./gy

/** The steps of `payment.legs[0].amount`, `tags["a.b"]`, `legs[only].amount`; undefined when it is no path. */
export function parsePath(path: string): PathStep[] | undefined {
  const steps: PathStep[] = []
  let afterDot = true
  stepPattern.lastIndex = 0
  while (stepPattern.lastIndex < path.length) {
    const match = stepPattern.exec(path)
    if (!match) return undefined
    const [whole, item, quoted, name] = match
    if (whole === '.') {
      if (afterDot) return undefined
      afterDot = true
      continue
    }
    if (item !== undefined) {
      if (afterDot) return undefined
      steps.push(item === 'only' ? { name: whole, index: 0, only: true } : { name: whole, index: Number(item) })
    } else {
      if (name !== undefined && !afterDot) return undefined
      steps.push({ name: name ?? (JSON.parse(`"${quoted}"`) as string) })
    }
    afterDot = false
  }
  return afterDot ? undefined : steps
}

/** A step as it is written behind a path. */
export function writeStep(path: string, { name, index }: PathStep): string {
  if (index !== undefined) return `${path}${name}`
  if (/[.[\]"]/.test(name)) return `${path}[${JSON.stringify(name)}]`
  return path === '' ? name : `${path}.${name}`
}

/** The tree of all paths. With a reader schema, its aliases and defaults are noted at each step. */
export function buildPathTree(fields: readonly FieldSpec[], reader?: AvroType): PathNode {
  const root = newNode('', 0, { name: '' })
  fields.forEach((field, index) => {
    let node = root
    for (const step of parsePath(field.path) ?? []) {
      let child = node.children.find(({ name, index: item }) => (item === undefined ? name === step.name : item === step.index))
      // Where one path says [0] and another [only], the array must have one item for both.
      if (child && step.only === true) child.only = true
      if (!child) {
        child = newNode(writeStep(node.path, step), node.depth + 1, step)
        node.children.push(child)
      }
      node = child
    }
    node.fields.push(index)
  })
  if (reader) annotate(root, reader)
  return root
}

/** Numbers of all fields at and below a step. */
export function fieldsBelow(node: PathNode): number[] {
  return [...node.fields, ...node.children.flatMap(fieldsBelow)]
}

function newNode(path: string, depth: number, step: PathStep): PathNode {
  return { ...step, path, depth, fields: [], children: [], aliases: [], default: undefined }
}

function annotate(node: PathNode, type: AvroType): void {
  for (const branch of type.kind === 'union' ? type.branches : [type]) {
    if (branch.kind === 'array' || branch.kind === 'map') for (const child of node.children) annotate(child, branch.items)
    if (branch.kind !== 'record') continue
    for (const child of node.children) {
      const field = branch.fields.find(({ name }) => name === child.name)
      if (!field) continue
      child.aliases = field.aliases
      if (field.hasDefault) child.default = { json: field.default, type: field.type }
      annotate(child, field.type)
    }
  }
}
