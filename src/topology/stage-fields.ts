import { forwardedFields, type ForwardShape } from '../codec/forward-encoder.js'
import type { FieldSpec } from '../codec/field-spec.js'

interface ForwardingStage {
  readonly features: readonly { readonly name: string; readonly kind: string; readonly field?: string | undefined }[]
  readonly models?: { readonly champion?: string | undefined } | undefined
}

/** What a stage passes to the next: its fields as they are, its features as `stage.feature`, its champion's score as `stage.score`. */
export function forwardShape(fields: readonly FieldSpec[], stageName: string, stage: ForwardingStage): ForwardShape {
  const scores = stage.models?.champion === undefined ? [] : ['score']
  const own = (name: string): string => `${stageName}.${name}`
  return { fields: eventFields(fields), floats: [...stage.features.map(({ name }) => name), ...scores].map(own), personalFloats: new Set(personalFeatures(fields, stage.features).map(own)) }
}

/** Features whose value tells the value of a personal field. A count tells none. */
export function personalFeatures(fields: readonly FieldSpec[], features: ForwardingStage['features']): string[] {
  const personal = new Set(fields.filter((field) => field.personal !== undefined && field.personal !== false).map(({ name }) => name))
  return features.filter(({ kind, field }) => field !== undefined && kind !== 'distinctCount' && personal.has(field)).map(({ name }) => name)
}

/** The fields of each stage's events, first to last. */
export function fieldsOfStages(source: Readonly<Record<string, Omit<FieldSpec, 'name'>>>, stages: Readonly<Record<string, ForwardingStage>>): FieldSpec[][] {
  const all: FieldSpec[][] = []
  let fields: FieldSpec[] = Object.entries(source).map(([name, field]) => ({ name, ...field }))
  for (const [name, stage] of Object.entries(stages)) {
    all.push(fields)
    fields = forwardedFields(forwardShape(fields, name, stage))
  }
  return all
}

/** Without those that only one hop needs. */
function eventFields(fields: readonly FieldSpec[]): FieldSpec[] {
  return fields.filter(({ name }) => !name.startsWith('_'))
}
