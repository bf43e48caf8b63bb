import type { DecodedOutcome } from '../codec/decoded-outcome.js'
import type { DecodedValue } from '../codec/generic-decoder.js'
import { hidden, maskAt, maskText, maskValue, type MaskPath } from '../privacy/mask.js'
import { dayIdParts } from '../privacy/token-text.js'
import type { Topology } from './load-topology.js'
import { topologyNames } from './names.js'
import { isContextHeader } from './passed-headers.js'
import type { PersonalFields } from './personal-fields.js'

interface Shown {
  readonly key: string | null
  readonly headers: readonly { readonly name: string; readonly value: string | null }[]
  readonly decoded: DecodedValue
}

/** How records of a topic are shown: `outcome` scored events and alerts, `contents` what has fields of a source, `shape` names and types alone. */
interface TopicMask {
  readonly how: 'outcome' | 'contents' | 'shape'
  /** The key of the record is personal. */
  readonly key: boolean
  readonly paths: readonly MaskPath[]
}

/**
 * What people see of a topology's records: the one place where it is decided, for the terminal, the page and reports alike. Personal
 * values are masked (`maskText`), tokens stay. Of a dead letter, in which nothing need be where it belongs, names and types are shown.
 */
export class RecordMask {
  readonly #last: PersonalFields | undefined
  readonly #topics = new Map<string, TopicMask>()
  readonly #isSealed: boolean

  constructor(topology: Topology, namespace?: string) {
    const { chain, spec } = topology
    this.#last = chain.at(-1)!.personal
    this.#isSealed = spec.privacy?.deadLetters === 'encrypted'
    const names = chain.map((view) => topologyNames(view, namespace))
    const [first, last] = [names[0]!, names.at(-1)!]
    if (this.#last || chain[0]!.personal) {
      for (const [place, view] of chain.entries()) {
        const { personal } = view
        if (personal) {
          this.#topics.set(names[place]!.input, { how: 'contents', key: personal.entity, paths: personal.paths })
          this.#topics.set(names[place]!.state, { how: 'shape', key: personal.entity, paths: [] })
        }
      }
      for (const topic of [last.scored, last.alerts]) this.#topics.set(topic, { how: 'outcome', key: this.#last?.entity ?? false, paths: [] })
    }
    const { labels } = chain[0]!
    if (labels?.personal) this.#topics.set(first.labels!, { how: 'contents', key: chain[0]!.personal?.entity ?? false, paths: labels.personal.paths })
    if (this.hides) this.#topics.set(last.deadLetters, { how: 'shape', key: true, paths: [] })
  }

  /** Whether anything of a dead letter is hidden from those who do not ask for clear text. */
  get hides(): boolean {
    return this.#topics.size > 0 || this.#isSealed
  }

  /** The entity of scored events is personal. */
  get hidesEntity(): boolean {
    return this.#last?.entity ?? false
  }

  /** A scored event or an alert. */
  outcome(value: DecodedOutcome): DecodedOutcome {
    const personal = this.#last
    if (!personal) return value
    const attributes = Object.fromEntries(Object.entries(value.attributes ?? {}).map(([name, each]) => [name, personal.domains.has(name) ? maskValue(each) : each]))
    return { ...value, event_id: this.eventId(value.event_id, value.entity), entity: this.entity(value.entity), attributes }
  }

  entity(text: string): string {
    return this.hidesEntity ? maskText(text) : text
  }

  /** The id of a day that turned begins with its entity. */
  eventId(eventId: string, entity: string): string {
    const parts = this.hidesEntity ? dayIdParts(eventId) : undefined
    return parts?.entity === entity ? `${maskText(entity)}${parts.date}` : eventId
  }

  /** A record of any topic, also of a foreign one: there by the marks of its schema. */
  record<R extends Shown>(topic: string, record: R): R {
    const mask = this.#topics.get(topic)
    const { decoded, key, headers } = record
    const marks = decoded.personal ?? []
    if (!mask) return marks.length === 0 ? record : { ...record, decoded: { ...decoded, value: maskAt(decoded.value, marks) } }
    return {
      ...record,
      key: key !== null && mask.key ? (mask.how === 'shape' ? hidden : maskText(key)) : key,
      headers: headers.map(({ name, value }) => ({ name, value: value === null || isContextHeader(name) ? value : hidden })),
      decoded: this.#decoded(mask, decoded, marks),
    }
  }

  #decoded({ how, paths }: TopicMask, decoded: DecodedValue, marks: readonly MaskPath[]): DecodedValue {
    const isWhole = (decoded.encoding === 'avro' || decoded.encoding === 'json') && decoded.problem === undefined && typeof decoded.value === 'object'
    if (decoded.value === null) return decoded
    if (!isWhole) return { ...decoded, value: hidden }
    if (how === 'shape') return { ...decoded, value: shapeOf(decoded.value) }
    if (how === 'contents') return { ...decoded, value: maskAt(decoded.value, [...paths, ...marks]) }
    return { ...decoded, value: isOutcome(decoded.value) ? this.outcome(decoded.value) : hidden }
  }
}

function isOutcome(value: unknown): value is DecodedOutcome {
  return typeof value === 'object' && value !== null && 'event_id' in value && 'entity' in value
}

/** The shape of a value: names stay, what they hold is left out. */
export function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf)
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, shapeOf(member)]))
  return value === null ? null : `(${typeof value})`
}
