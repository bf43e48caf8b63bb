import { distanceOf } from '../base/nearest.js'
import type { AvroType } from './avro-schema.js'
import { parsePath, writeStep, type PathStep } from './field-paths.js'
import type { FieldSpec } from './field-spec.js'

/**
 * A contract as a person sees it, whatever it is written in: what stands where. Made on demand, as schemas may be
 * recursive. Serves messages only; decoders are made from the schema itself.
 */
export interface ContractNode {
  /** `record Payment`, `long (timestamp-micros)`, `string`. */
  readonly what: string
  /** Fields by name; undefined for what has none. */
  readonly members?: () => ReadonlyMap<string, ContractNode>
  /** Of arrays, and of the entries of maps. */
  readonly item?: () => ContractNode
  readonly isMap?: boolean
  /** What a field of a topology would say to read this: `type: timestamp-micros`; undefined for what no field can read. */
  readonly reading?: string
}

const membersShownMax = 24
const leavesMax = 3000
const leafDepthMax = 10

/** Why a field cannot be read, with what was found and what to write instead. `why` is the compiler's word. */
export function explainRefusal(root: ContractNode, field: FieldSpec, why: string): string {
  let node = root
  let path = ''
  for (const step of parsePath(field.path) ?? []) {
    const next = stepFrom(node, step)
    if (!next) return `${whereFailed(node, path, step)}${instead(root, field)}`
    path = writeStep(path, step)
    node = next
  }
  if (node.members) return `${path} is ${node.what}, which holds ${list(node.members())}${instead(root, field, path)}`
  if (node.item && !node.isMap) return `${path} is ${node.what}; write a path to one of its items: ${path}[only] or ${path}[0]`
  if (node.reading !== undefined) return `${path} is ${node.what}, which type ${field.type} cannot read; write ${readingFor(node, field)}`
  return `${path}: ${why}`
}

function stepFrom(node: ContractNode, step: PathStep): ContractNode | undefined {
  if (step.index !== undefined) return node.isMap ? undefined : node.item?.()
  return node.members ? node.members().get(step.name) : node.isMap ? node.item?.() : undefined
}

function whereFailed(node: ContractNode, path: string, step: PathStep): string {
  const place = path === '' ? 'the value' : path
  if (node.members && step.index === undefined) return `there is no field ${writeStep(path, step)}: ${place} is ${node.what} and holds ${list(node.members())}`
  return `${place} is ${node.what}, so that ${writeStep(path, step)} does not exist`
}

function list(members: ReadonlyMap<string, ContractNode>): string {
  const names = [...members.keys()]
  const shown = names.slice(0, membersShownMax).join(', ')
  return names.length > membersShownMax ? `${shown} and ${names.length - membersShownMax} more` : shown
}

/** The leaf that was most likely meant. */
function instead(root: ContractNode, field: FieldSpec, below = ''): string {
  const wanted = (parsePath(field.path) ?? []).map(({ name }) => name)
  const last = wanted.at(-1) ?? ''
  let best: { path: string; node: ContractNode; cost: number } | undefined
  for (const leaf of leaves(root)) {
    if (below !== '' && !leaf.path.startsWith(below)) continue
    const name = leaf.steps.at(-1)!
    const far = below === '' ? distanceOf(name.toLowerCase(), last.toLowerCase()) : 0
    if (below === '' && far > Math.max(1, Math.floor(last.length / 3))) continue
    const shared = leaf.steps.filter((step) => wanted.includes(step)).length
    const fits = leaf.node.reading === `type: ${field.type}` ? 0 : 1
    const cost = far * 10 - shared * 2 + fits + leaf.steps.length * 0.1
    if (!best || cost < best.cost) best = { ...leaf, cost }
  }
  // [only] unless another item was asked for: with [0] nobody would notice a second one
  const path = wanted.some((name) => /^\[\d+\]$/.test(name)) ? best?.path : best?.path.replaceAll('[0]', '[only]')
  return best ? `; write path: ${path}${best.node.reading === undefined ? '' : ` (${best.node.what})`}` : ''
}

interface Leaf {
  readonly path: string
  readonly steps: readonly string[]
  readonly node: ContractNode
}

function leaves(root: ContractNode): Leaf[] {
  const found: Leaf[] = []
  const open: Leaf[] = [{ path: '', steps: [], node: root }]
  for (let next = open.shift(); next && found.length + open.length < leavesMax; next = open.shift()) {
    const { path, steps, node } = next
    if (node.reading !== undefined) found.push(next)
    if (steps.length >= leafDepthMax) continue
    for (const [name, child] of node.members?.() ?? []) open.push({ path: writeStep(path, { name }), steps: [...steps, name], node: child })
    if (node.item && !node.isMap) open.push({ path: `${path}[0]`, steps, node: node.item() })
  }
  return found
}

function readingFor(node: ContractNode, field: FieldSpec): string {
  const isNumber = field.type === 'integer' || field.type === 'number' || field.type.startsWith('timestamp-')
  if (node.what === 'string' && isNumber) return field.type.startsWith('timestamp-') ? 'type: iso8601, or add from: text where the text is a number' : 'from: text beside it, if the text is a number'
  return node.reading ?? 'another path'
}

const readings: Readonly<Record<string, string>> = {
  boolean: 'type: boolean',
  int: 'type: integer',
  long: 'type: integer',
  float: 'type: number',
  double: 'type: number',
  bytes: 'type: text',
  string: 'type: text',
  fixed: 'type: text',
  enum: 'type: text',
}

/** An Avro schema as a contract. */
export function avroContract(type: AvroType): ContractNode {
  switch (type.kind) {
    case 'union': {
      const branches = type.branches.filter(({ kind }) => kind !== 'null').map(avroContract)
      return branches.length === 1 ? branches[0]! : unionContract(branches)
    }
    case 'record':
      return { what: `record ${type.name}`, members: () => new Map(type.fields.map((field) => [field.name, avroContract(field.type)])) }
    case 'array':
    case 'map':
      return { what: type.kind, item: () => avroContract(type.items), isMap: type.kind === 'map' }
    default: {
      const logical = 'logical' in type ? type.logical : undefined
      const what = logical ? `${type.kind} (${logical.name})` : type.kind
      const reading = avroReading(type.kind, logical)
      return reading === undefined ? { what } : { what, reading }
    }
  }
}

function avroReading(kind: string, logical: { readonly name: string; readonly scale: number } | undefined): string | undefined {
  if (logical?.name === 'decimal') return `type: integer with scale: ${logical.scale}`
  if (logical?.name.startsWith('timestamp-') === true) return `type: ${logical.name === 'timestamp-nanos' ? 'timestamp-micros' : logical.name}`
  return readings[kind]
}

/** Several branches as one: members of all of them. */
export function unionContract(branches: readonly ContractNode[]): ContractNode {
  const what = branches.length === 0 ? 'null' : `one of ${branches.map((branch) => branch.what).join(', ')}`
  const records = branches.filter(({ members }) => members)
  const reading = branches.find((branch) => branch.reading !== undefined)?.reading
  return {
    what,
    ...(records.length > 0 ? { members: () => new Map(records.flatMap(({ members }) => [...members!()])) } : {}),
    ...(reading === undefined ? {} : { reading }),
  }
}
