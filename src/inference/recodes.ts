import { HarrierError } from '../base/errors.js'
import type { LoadedModel } from './loaded-model.js'

/** The vocabularies of a stage's category features: index i + 1 of a row's feature is value i, index 0 is anything else. */
export type Categories = ReadonlyMap<string, readonly (string | number)[]>

interface Recode {
  readonly column: number
  /** By the stage's index: the float32 bits of the model's index. */
  readonly bits: Int32Array
}

/** How category columns of a stage become those that a model was trained on; null = they are the same, or there are none. */
export type Recodes = readonly Recode[] | null

const float = new Float32Array(1)
const word = new Int32Array(float.buffer)

/** Translates the category columns of one row of a model's features, in place. */
export function recodeRow(rows: Int32Array, at: number, recodes: NonNullable<Recodes>): void {
  for (let i = 0; i < recodes.length; i++) {
    const { column, bits } = recodes[i]!
    word[0] = rows[at + column]!
    rows[at + column] = bits[float[0]!]!
  }
}

/**
 * Compares a model's vocabularies with the stage's. Values may stand in another order, and either may lack some: what one of
 * them does not know is unknown. Errors: MODEL_INVALID when only one of them takes a feature for a category.
 */
export function recodesOf({ manifest, reference, folder }: LoadedModel, categories: Categories): Recodes {
  const refuse = (message: string, remedy: string): never => {
    throw new HarrierError('MODEL_INVALID', `${reference}: ${folder}/model.yaml: ${message}`, { remedy })
  }
  for (const name of Object.keys(manifest.categories)) {
    if (!categories.has(name)) refuse(`categories.${name}: in the stage "${name}" is a number, not a category`, `declare it there with kind: category, or leave it out of categories`)
  }
  const recodes: Recode[] = []
  manifest.features.forEach((name, column) => {
    const values = categories.get(name)
    if (!values) return
    const own = manifest.categories[name]
    if (!own) return refuse(`categories has no "${name}", which is a category in the stage`, `write categories: {${name}: {values: [${values.join(', ')}]}}, in the order of its training`)
    const known = own.values.map(String)
    const indexes = [own.unknown, ...values.map((value) => (known.includes(String(value)) ? own.first + known.indexOf(String(value)) : own.unknown))]
    if (indexes.every((at, index) => at === index)) return
    recodes.push({ column, bits: new Int32Array(Float32Array.from(indexes).buffer) })
  })
  return recodes.length > 0 ? recodes : null
}

export function sameRecodes(a: Recodes, b: Recodes): boolean {
  if (a === null || b === null) return a === b
  return a.length === b.length && a.every(({ column, bits }, i) => column === b[i]!.column && Buffer.from(bits.buffer).equals(Buffer.from(b[i]!.bits.buffer)))
}
