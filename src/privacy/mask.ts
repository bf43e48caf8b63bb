import { isToken } from './token-text.js'

/** Stands in place of what is not shown, of whatever length that is. */
export const hidden = '•••'

/** Characters at the end of a text that stay: of a long one four, of a shorter one two, of a short one none. */
const maskRules = { longFrom: 12, longKeeps: 4, shortFrom: 8, shortKeeps: 2 } as const

/** A personal text as it is shown: `•••0199` for `4000001234560199`. A token says nothing and stays as it is. */
export function maskText(text: string): string {
  if (isToken(text)) return text
  const characters = [...text]
  const { longFrom, longKeeps, shortFrom, shortKeeps } = maskRules
  const kept = characters.length >= longFrom ? longKeeps : characters.length >= shortFrom ? shortKeeps : 0
  return `${hidden}${characters.slice(characters.length - kept).join('')}`
}

/** A personal value as it is shown, with all that it holds: of numbers and truth values nothing stays, a null does. */
export function maskValue(value: unknown): unknown {
  if (value === null || value === undefined) return value
  if (typeof value === 'string') return maskText(value)
  if (Array.isArray(value)) return value.map(maskValue)
  if (typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, maskValue(member)]))
  return hidden
}

/** Steps into a value: names of fields and keys; `anyItem` for the items of an array and the values of a map. */
export type MaskPath = readonly string[]
export const anyItem = '*'

/** A copy of a value in which what stands at the paths is masked; the value itself where nothing does. */
export function maskAt(value: unknown, paths: readonly MaskPath[]): unknown {
  if (paths.length === 0 || typeof value !== 'object' || value === null) return value
  if (paths.some((path) => path.length === 0)) return maskValue(value)
  const below = (name: string): MaskPath[] => paths.filter(([step]) => step === name || step === anyItem).map((path) => path.slice(1))
  const member = (name: string, each: unknown): unknown => {
    const rest = below(name)
    return rest.some((path) => path.length === 0) ? maskValue(each) : maskAt(each, rest)
  }
  // Which items of an array are meant does not matter here: where one is personal, all are.
  if (Array.isArray(value)) return value.map((each) => member(anyItem, each))
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, member(name, each)]))
}
