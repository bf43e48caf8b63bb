// Tables of settings out of zod schemas: name, type, default, check and meaning of each.
import { z } from 'zod'
import { formatDuration } from '../dist/src/base/durations.js'

const code = (text) => `\`${text}\``

/** JSON Schema of what a person may write, with what JSON Schema alone would lose: defaults of durations, messages of patterns. */
function jsonSchemaOf(schema) {
  return z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      const { def } = zodSchema._zod
      if (def.type === 'default') jsonSchema.default ??= def.defaultValue
      const said = def.checks?.map((check) => check._zod.def).find(({ format, error }) => format === 'regex' && error)
      if (said) jsonSchema.rule = said.error({ code: 'invalid_format', input: '' })
    },
  })
}

const isDuration = ({ anyOf }) => anyOf?.length === 2 && anyOf[0].type === 'string' && anyOf[1].type === 'number' && anyOf[1].minimum === 0

function typeOf(json) {
  if (isDuration(json)) return 'duration'
  if (json.enum) return json.enum.map(code).join(', ')
  if (json.const !== undefined) return code(json.const)
  if (json.type === 'array') return `list of ${json.items.type === 'string' ? 'text' : 'objects'}`
  if (json.anyOf) return json.anyOf.map((each) => (each.const !== undefined ? code(each.const) : each.type === 'object' ? 'object' : typeOf(each))).filter((name, at, all) => all.indexOf(name) === at).join(' or ')
  if (Array.isArray(json.type)) return json.type.join(', ').replace('string', 'text')
  return { string: 'text', integer: 'integer', number: 'number', boolean: 'boolean', object: 'object' }[json.type] ?? json.type
}

function defaultOf(json, required) {
  if (required) return 'required'
  if (json.default === undefined) return ''
  if (isDuration(json)) return code(json.default === 0 ? '0' : formatDuration(json.default))
  return Array.isArray(json.default) && json.default.length === 0 ? 'none' : code(typeof json.default === 'object' ? JSON.stringify(json.default) : json.default)
}

function checkOf(json) {
  if (json.anyOf && !isDuration(json)) return json.anyOf.filter(({ type }) => type === 'integer').map(checkOf).join('; ')
  const checks = []
  const { minimum, maximum, exclusiveMinimum, minItems, maxItems } = json
  const isLimit = (bound) => bound !== undefined && Math.abs(bound) !== Number.MAX_SAFE_INTEGER
  if (isLimit(minimum) && isLimit(maximum)) checks.push(`${minimum} to ${maximum}`)
  else if (isLimit(minimum)) checks.push(`at least ${minimum}`)
  else if (isLimit(maximum)) checks.push(`at most ${maximum}`)
  if (exclusiveMinimum !== undefined) checks.push(`above ${exclusiveMinimum}`)
  if (minItems !== undefined && maxItems !== undefined) checks.push(`${minItems} to ${maxItems} of them`)
  else if (maxItems !== undefined) checks.push(`at most ${maxItems}`)
  const rule = json.rule ?? json.items?.rule
  if (rule) checks.push(rule)
  return checks.join('; ')
}

/** Every setting below an object schema, depth first, in the order of the schema. */
function* settings(json, path) {
  for (const [name, value] of Object.entries(json.properties ?? {})) {
    const at = [...path, name]
    const required = (json.required ?? []).includes(name)
    const named = value.additionalProperties && typeof value.additionalProperties === 'object' ? value.additionalProperties : undefined
    const isGroup = value.type === 'object'
    if (!isGroup || value.description) yield { path: at, json: value, required }
    if (named) yield* settings(named, [...at, '<name>'])
    else if (isGroup) yield* settings(value, at)
    else if (value.items?.properties) yield* settings(value.items, [...path, `${name}[]`])
    // Alternatives of the fall-back: each object's own settings.
    for (const each of value.anyOf ?? []) if (each.properties) yield* settings(each, at)
  }
}

export function settingTable(schema, table) {
  const rows = [...settings(jsonSchemaOf(schema), [])].map(({ path, json, required }) => [
    code(path.join('.')), typeOf(json), defaultOf(json, required), checkOf(json), json.description ?? '',
  ])
  return table(['setting', 'type', 'default', 'check', 'meaning'], rows)
}

/** One row for each feature kind: its formula and its settings. */
export function featureTable(schema, table) {
  const kinds = jsonSchemaOf(schema).oneOf
  const shown = (name, json, required) => (required ? code(name) : `${code(name)} (${defaultOf(json, false) || 'optional'})`)
  return table(
    ['kind', 'formula', 'settings besides `name` and `kind`'],
    kinds.map(({ properties, required, description }) => [
      code(properties.kind.const),
      description,
      Object.entries(properties).filter(([name]) => name !== 'name' && name !== 'kind').map(([name, json]) => shown(name, json, required.includes(name))).join(', ') || 'none',
    ]),
  )
}
