import { z } from 'zod'
import { reasonLimits, reasonsDefault } from './reason-limits.js'
import { templateProblem } from './reason-text.js'

const text = z.string().min(1).max(reasonLimits.textMax)

/** How the scores of a model are explained: see `Explainer`. */
export const reasonsSchema = z.strictObject({
  reference: z
    .record(z.string(), z.union([z.number(), z.string()]))
    .default(reasonsDefault.reference)
    .describe('By feature: the value that stands for "nothing special"; of a category one of its `values`. A feature that is not named has 0, a category its `unknown`.'),
  parts: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(64).describe('How the reason is called in alerts.'),
        features: z.array(z.string()).min(1).describe('Features that are replaced together, since they say the same.'),
        text: text.describe('What a person reads; `{feature}` stands for its value, see "Reasons".'),
      }),
    )
    .default(reasonsDefault.parts)
    .describe('What the reasons are about. A feature in no part is one of its own, with the text `<name> {<name>}`.'),
  pastEvent: text.default(reasonsDefault.pastEvent).describe('The text of a past event; `{ago}` and the features of that event stand for their values.'),
  earlier: text.default(reasonsDefault.earlier).describe('The text of all past events beyond `pastEvents`.'),
  carried: text
    .default(reasonsDefault.carried)
    .describe('Recurrent models: the text of what the state holds beyond the ring of the stage.'),
  pastEvents: z.number().int().min(0).max(reasonLimits.pastEventsMax).default(reasonsDefault.pastEvents).describe('So many of the last events are told apart; older ones count as one.'),
  orderPairs: z.number().int().min(1).max(reasonLimits.orderPairsMax).default(reasonsDefault.orderPairs).describe('Orders in which parts are replaced, each forth and back. More are nearer to Shapley values and cost more.'),
})

export type ReasonsSpec = z.output<typeof reasonsSchema>

type Problem = (path: (string | number)[], message: string) => void
type Categories = Readonly<Record<string, { readonly values: readonly (string | number)[] }>>

/** What the schema cannot say: names, vocabularies and placeholders. */
export function checkReasons(reasons: ReasonsSpec, { features, categories }: { features: readonly string[]; categories: Categories }, problem: Problem): void {
  const known = `write one of ${features.join(', ')}`
  for (const [name, value] of Object.entries(reasons.reference)) {
    if (!features.includes(name)) problem(['reference', name], `is not in features; ${known}`)
    else if (name in categories) {
      const values = categories[name]!.values.map(String)
      if (!values.includes(String(value))) problem(['reference', name], `"${value}" is not in categories.${name}.values; write one of ${values.slice(0, 20).join(', ')}`)
    } else if (typeof value !== 'number') problem(['reference', name], `"${value}" is no number, and ${name} is no category`)
  }
  const seen = new Set<string>()
  const names = new Set<string>()
  reasons.parts.forEach((part, index) => {
    if (names.has(part.name)) problem(['parts', index, 'name'], `"${part.name}" stands twice`)
    names.add(part.name)
    for (const name of part.features) {
      if (!features.includes(name)) problem(['parts', index, 'features'], `"${name}" is not in features; ${known}`)
      if (seen.has(name)) problem(['parts', index, 'features'], `"${name}" is in two parts, or twice in one`)
      seen.add(name)
    }
    const wrong = templateProblem(part.text, features)
    if (wrong) problem(['parts', index, 'text'], wrong)
  })
  for (const [name, more] of [['pastEvent', [...features, 'ago']], ['earlier', ['count']], ['carried', ['count']]] as const) {
    const wrong = templateProblem(reasons[name], more)
    if (wrong) problem([name], wrong)
  }
}
