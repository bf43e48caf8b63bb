import type { AvroType } from './avro-schema.js'
import type { FieldSpec } from './field-spec.js'

/** One step of the fields' paths: a tree by name, so that one walk over a value finds every field. */
export interface PathNode {
  /** Where it stands, for messages: `payment.amount`. */
  readonly path: string
  readonly name: string
  /** Numbers of the fields whose path ends here. */
  readonly fields: number[]
  readonly children: PathNode[]
  /** Other names that a writer may use (aliases of the reader's field). */
  aliases: readonly string[]
  /** The reader's default for a writer that lacks this; JSON as in the schema. */
  default: { readonly json: unknown; readonly type: AvroType } | undefined
}

/** The tree of all paths. With a reader schema, its aliases and defaults are noted at each step. */
export function buildPathTree(fields: readonly FieldSpec[], reader?: AvroType): PathNode {
  const root = newNode('', '')
  fields.forEach((field, index) => {
    let node = root
    for (const step of field.path.split('.')) {
      let child = node.children.find(({ name }) => name === step)
      if (!child) {
        child = newNode(node.path === '' ? step : `${node.path}.${step}`, step)
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

function newNode(path: string, name: string): PathNode {
  return { path, name, fields: [], children: [], aliases: [], default: undefined }
}

function annotate(node: PathNode, type: AvroType): void {
  const records = type.kind === 'union' ? type.branches : [type]
  for (const record of records) {
    if (record.kind !== 'record') continue
    for (const child of node.children) {
      const field = record.fields.find(({ name }) => name === child.name)
      if (!field) continue
      child.aliases = field.aliases
      if (field.hasDefault) child.default = { json: field.default, type: field.type }
      annotate(child, field.type)
    }
  }
}
