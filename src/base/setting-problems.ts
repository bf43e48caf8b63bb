import { z } from 'zod'
import { nearest } from './nearest.js'

type Issue = z.core.$ZodIssue
type Schema = z.core.$ZodType

export interface ProblemOptions {
  /** False where a value may be a secret: it is not repeated. */
  readonly showValues?: boolean
}

/** Settings that are listed in a message. */
const namesShownMax = 24
const valueCharsMax = 40

/** What is wrong with a setting, and what to write: zod's issue in the words of a settings file. `document`: what was checked. */
export function problemText(issue: Issue, schema: Schema, document: unknown, { showValues = true }: ProblemOptions = {}): string {
  const value = issue.path.reduce((at, part) => (at as Record<PropertyKey, unknown> | null | undefined)?.[part], document)
  const found = showValues && (typeof value !== 'object' || value === null) ? shown(value) : `this ${kindOf(value)}`
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownSetting(key, settingsAt(schema, issue.path, document))).join('; ')
    case 'invalid_union': {
      const options = (issue as { options?: readonly unknown[] }).options
      if (options) return oneOf(value, found, options.map(String))
      const wanted = [...new Set(issue.errors.flat().flatMap(alternative))]
      return wanted.length > 0 && issue.message.startsWith('Invalid') ? oneOf(value, found, wanted) : issue.message
    }
    case 'invalid_value':
      return oneOf(value, found, issue.values.map(String))
    case 'invalid_type': {
      // a schema with words of its own has said it better
      if (!issue.message.startsWith('Invalid input')) return issue.message
      const wanted = kinds[issue.expected] ?? issue.expected
      return value === undefined ? `is missing; it is ${wanted}` : `must be ${wanted}, not ${found}`
    }
    default:
      return issue.message
  }
}

/** What a branch of a union would have taken. */
function alternative(issue: Issue): string[] {
  if (issue.path.length > 0) return []
  return issue.code === 'invalid_value' ? issue.values.map(String) : issue.code === 'invalid_type' ? [kinds[issue.expected] ?? issue.expected] : []
}

const kinds: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'settings under it',
  record: 'settings under it',
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'list'
  return typeof value === 'object' && value !== null ? 'group of settings' : 'value'
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > valueCharsMax ? `${text.slice(0, valueCharsMax)}…` : text
}

function oneOf(value: unknown, found: string, options: readonly string[]): string {
  const list = options.length === 1 ? options[0]! : `one of ${options.join(', ')}`
  if (value === undefined) return `is missing; it is ${list}`
  const meant = typeof value === 'string' ? nearest(value, options) : undefined
  return `must be ${list}, not ${found}${meant === undefined ? '' : `; write ${meant}`}`
}

function unknownSetting(key: string, known: readonly string[]): string {
  const meant = nearest(key, known)
  const list = known.length > namesShownMax ? `${known.slice(0, namesShownMax).join(', ')} and ${known.length - namesShownMax} more` : known.join(', ')
  return `there is no setting "${key}" here${meant !== undefined ? `; write ${meant}` : known.length === 0 ? '' : `; there are ${list}`}`
}

/** The names of the settings at a place. */
function settingsAt(schema: Schema, path: readonly PropertyKey[], value: unknown): string[] {
  const { def } = schema._zod as { def: z.core.$ZodTypeDef }
  const [step, ...rest] = path
  const below = (inner: Schema): string[] => settingsAt(inner, rest, step === undefined ? undefined : (value as Record<PropertyKey, unknown> | undefined)?.[step])
  switch (def.type) {
    case 'object': {
      const { shape } = def as z.core.$ZodObjectDef
      return step === undefined ? Object.keys(shape) : shape[String(step)] ? below(shape[String(step)]!) : []
    }
    case 'array':
      return step === undefined ? [] : below((def as z.core.$ZodArrayDef).element)
    case 'record':
      return step === undefined ? [] : below((def as z.core.$ZodRecordDef).valueType)
    case 'pipe':
      return settingsAt((def as z.core.$ZodPipeDef).in, path, value)
    case 'union': {
      const { options } = def as z.core.$ZodUnionDef
      const chosen = options.filter((option) => isOption(option, (def as { discriminator?: string }).discriminator, value))
      return [...new Set((chosen.length > 0 ? chosen : options).flatMap((option) => settingsAt(option, path, value)))]
    }
    default:
      // optional, default and their like
      return 'innerType' in def ? settingsAt(def.innerType as Schema, path, value) : []
  }
}

/** Whether a value says by its discriminator that it is this option. */
function isOption(option: Schema, discriminator: string | undefined, value: unknown): boolean {
  if (discriminator === undefined || option._zod.def.type !== 'object') return false
  const named = (option._zod.def as z.core.$ZodObjectDef).shape[discriminator]
  return named !== undefined && z.safeParse(named, (value as Record<string, unknown> | null | undefined)?.[discriminator]).success
}
