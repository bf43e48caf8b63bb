import { hidden } from '../privacy/mask.js'
import { DenseCoalitions, RecurrentCoalitions, type Coalitions, type CoalitionScorer } from './coalitions.js'
import type { DenseRunner } from './dense-runner.js'
import type { Frame } from './frame.js'
import type { Manifest } from './manifest.js'
import { PastReader, type PastRows } from './past-rows.js'
import { durationText, fillTemplate } from './reason-text.js'
import { reasonLimits, reasonsDefault } from './reason-limits.js'
import type { ReasonsSpec } from './reasons-spec.js'
import { recodeRow, type Categories, type Recodes } from './recodes.js'
import { RecurrentRunner } from './recurrent-runner.js'
import { copyFeatures, type FeatureMap } from './ring.js'
import type { SequenceMemory } from './sequence-memory.js'
import type { RunSession } from './session.js'
import { coalitionsOf, contributionsOf, eachCoalition, walkOrders } from './shapley-walk.js'

/** Which rows of a frame are explained. */
export interface ExplainOptions {
  /** Scores of the model that decides from here on. */
  readonly from: number
  /** Reasons of each. */
  readonly top: number
  /** Rows of a frame, the first ones. */
  readonly eventsMax: number
  /** Features whose values no text may tell. */
  readonly hidden?: readonly string[]
}

/** One reason: by how much it moved the score, in log-odds. */
export interface Contribution {
  readonly name: string
  readonly contribution: number
  readonly text: string
  /** Of a past event, ms since 1970. */
  readonly eventTime: number | null
}

/** Why a score is what it is: the sum of `top` and `rest` is logOdds(score) - logOdds(referenceScore). */
export interface Explanation {
  /** Row of the frame. */
  readonly row: number
  /** The score with every feature at its reference, its own and those of its past. */
  readonly referenceScore: number
  /** What raised the score most, in that order. */
  readonly top: readonly Contribution[]
  /** The sum of all other contributions. */
  readonly rest: number
}

/** Scores nearer than this to 0 or 1 count as this: log-odds stay within 13.8. */
export const scoreFloor = 1e-6

/** ln(p / (1 - p)) of a float32 score. */
export function logOdds(score: number): number {
  const p = Math.min(1 - scoreFloor, Math.max(scoreFloor, score))
  return Math.log(p / (1 - p))
}

interface Part {
  readonly name: string
  readonly columns: readonly number[]
  readonly text: string
}

/** What is known of one event that is explained. */
interface Asked {
  readonly row: number
  /** [F] as the stage has it, and as the model takes it. */
  readonly plain: Float32Array
  readonly bits: Int32Array
  readonly past: PastRows
  /** Past players: the newest one by one, then all older ones as one. */
  readonly pastPlayers: number
  readonly players: number
}

/**
 * Explains scores of one model. The players are the parts of the manifest (features that are replaced together) and the past
 * events of the entity. In place of a part that is away stands its reference, in place of a past event an event that is wholly
 * reference; `contributionsOf` says what each one contributes, in log-odds. Depends on the row, on what its entity's ring held before it, and on the model: never on
 * neighbours in the batch, so that it can be computed again. Touches no state.
 */
export class Explainer {
  readonly #manifest: Manifest
  readonly #spec: ReasonsSpec
  readonly #parts: readonly Part[]
  /** [F] bits of the reference, as the model takes them. */
  readonly #reference: Int32Array
  readonly #map: FeatureMap
  readonly #recodes: Recodes
  readonly #categories: Categories
  readonly #pastMax: number
  readonly #recurrent: boolean
  readonly #reader: PastReader
  readonly #scorer: CoalitionScorer
  readonly #orders = new Map<number, Int32Array[]>()
  #hidden: readonly string[] = []

  constructor(manifest: Manifest, runner: DenseRunner | RecurrentRunner, memory: SequenceMemory, map: FeatureMap, recodes: Recodes, categories: Categories) {
    const { features } = manifest
    this.#manifest = manifest
    this.#spec = manifest.reasons ?? reasonsDefault
    this.#map = map
    this.#recodes = recodes
    this.#categories = categories
    this.#recurrent = manifest.kind === 'recurrent'
    this.#pastMax = manifest.kind === 'row' ? 0 : manifest.kind === 'window' ? manifest.window! - 1 : memory.layout.window
    this.#reader = new PastReader(memory)
    const inParts = new Set(this.#spec.parts.flatMap((part) => part.features))
    this.#parts = [
      ...this.#spec.parts.map(({ name, features: own, text }) => ({ name, text, columns: own.map((each) => features.indexOf(each)) })),
      ...features.flatMap((name, column) => (inParts.has(name) ? [] : [{ name, text: `${name} {${name}}`, columns: [column] }])),
    ]
    this.#reference = new Int32Array(Float32Array.from(features, (name) => referenceOf(manifest, this.#spec, name)).buffer)
    this.#scorer =
      runner instanceof RecurrentRunner
        ? new RecurrentCoalitions(runner.step, features.length)
        : new DenseCoalitions(runner.step, { features: features.length, window: manifest.window, right: manifest.padding === 'right' })
  }

  /** Explains rows of a frame that has been scored. A row whose extra rows have no finite score is left out; so is one that makes the model throw. */
  async explain(frame: Frame, rows: readonly number[], scores: Float32Array, { top, hidden: names = [] }: Pick<ExplainOptions, 'top' | 'hidden'>, run: RunSession): Promise<{ explanations: Explanation[]; extraRows: number }> {
    this.#hidden = names
    const explanations: Explanation[] = []
    let extraRows = 0
    const asked = rows.map((row) => this.#ask(frame, row))
    const orders = 2 * this.#spec.orderPairs
    for (let from = 0; from < asked.length; ) {
      let to = from
      let count = 0
      do count += coalitionsOf(asked[to++]!.players, orders)
      while (to < asked.length && count + coalitionsOf(asked[to]!.players, orders) <= reasonLimits.rowsAheadMax)
      extraRows += count
      const part = asked.slice(from, to)
      from = to
      try {
        explanations.push(...(await this.#explain(frame, part, scores, top, run)))
      } catch {
        // one of them made the model throw: the others must not depend on their neighbours
        for (const each of part) explanations.push(...(await this.#explain(frame, [each], scores, top, run).catch(() => [])))
      }
    }
    return { explanations, extraRows }
  }

  #ask(frame: Frame, row: number): Asked {
    const features = this.#manifest.features.length
    const bits = new Int32Array(features)
    copyFeatures(bits, 0, frame.rowsBits, row * frame.shape.features, features, this.#map)
    const plain = new Float32Array(bits.slice().buffer)
    if (this.#recodes !== null) recodeRow(bits, 0, this.#recodes)
    const past = this.#reader.read(frame, row, this.#pastMax, features, this.#map, this.#recodes)
    const pastPlayers = Math.min(past.count, this.#spec.pastEvents + 1)
    return { row, plain, bits, past, pastPlayers, players: this.#parts.length + pastPlayers }
  }

  async #explain(frame: Frame, asked: readonly Asked[], scores: Float32Array, top: number, run: RunSession): Promise<Explanation[]> {
    const coalitions = this.#coalitions(asked)
    const values = new Float32Array(coalitions.count).fill(NaN)
    await this.#scorer.score(coalitions, values, run)
    const odds = Float64Array.from(values, logOdds)
    const explanations: Explanation[] = []
    let at = 0
    for (const event of asked) {
      const orders = this.#ordersOf(event.players)
      const count = coalitionsOf(event.players, orders.length)
      const own = odds.subarray(at, at + count)
      if (own.every((value) => !Number.isNaN(value))) explanations.push(this.#conclude(frame, event, orders, own, values[at + 1]!, scores[event.row]!, top))
      at += count
    }
    return explanations
  }

  #ordersOf(players: number): Int32Array[] {
    const known = this.#orders.get(players)
    if (known) return known
    const orders = walkOrders(players, this.#spec.orderPairs)
    this.#orders.set(players, orders)
    return orders
  }

  #coalitions(asked: readonly Asked[]): Coalitions {
    const features = this.#manifest.features.length
    const parts = this.#parts
    const { pastEvents } = this.#spec
    const count = asked.reduce((sum, { players }) => sum + coalitionsOf(players, 2 * this.#spec.orderPairs), 0)
    const coalitions = { count, event: new Int32Array(count), rows: new Int32Array(count * features), masks: new Int32Array(count), pasts: asked.map(({ past }) => past), pastEvents, reference: this.#reference }
    let c = 0
    for (const [index, { bits, players }] of asked.entries()) {
      eachCoalition(players, this.#ordersOf(players), (present) => {
        const at = c * features
        coalitions.event[c] = index
        coalitions.rows.set(bits, at)
        for (let p = 0; p < parts.length; p++) {
          if (present[p] === 0) for (const column of parts[p]!.columns) coalitions.rows[at + column] = this.#reference[column]!
        }
        let mask = 0
        for (let p = parts.length; p < players; p++) if (present[p] === 1) mask |= 1 << (p - parts.length)
        coalitions.masks[c++] = mask
      })
    }
    return coalitions
  }

  #conclude(frame: Frame, event: Asked, orders: readonly Int32Array[], odds: Float64Array, referenceScore: number, score: number, top: number): Explanation {
    const { players } = event
    const contributions = contributionsOf(players, orders, odds, 0)
    const all = Array.from(contributions, (contribution, player) => ({ player, contribution }))
    // what the score has beyond its ring: a carried state knows more than the last events
    const carried = logOdds(score) - odds[0]!
    if (this.#recurrent && carried !== 0) all.push({ player: players, contribution: carried })
    const raised = all.filter(({ contribution }) => contribution > 0).sort((a, b) => b.contribution - a.contribution || a.player - b.player)
    const shown = raised.slice(0, top)
    const total = logOdds(score) - logOdds(referenceScore)
    return {
      row: event.row,
      referenceScore,
      top: shown.map(({ player, contribution }) => ({ contribution, ...this.#describe(event, player, frame.eventTime[event.row]!) })),
      rest: total - shown.reduce((sum, { contribution }) => sum + contribution, 0),
    }
  }

  /** Name, text and time of a player; the one after the last is what is carried. */
  #describe({ plain, past, players }: Asked, player: number, timeMs: number): Omit<Contribution, 'contribution'> {
    const { pastEvent, earlier, carried, pastEvents } = this.#spec
    const part = this.#parts[player]
    if (part) return { name: part.name, text: fillTemplate(part.text, (name) => this.#valueOf(plain, 0, name)), eventTime: null }
    if (player === players) return { name: 'carried', text: fillTemplate(carried, () => past.count), eventTime: null }
    const age = player - this.#parts.length
    if (age === pastEvents) return { name: 'earlier', text: fillTemplate(earlier, () => past.count - pastEvents), eventTime: null }
    const index = past.count - 1 - age
    const eventTime = past.times[index]!
    const rows = new Float32Array(past.plain.buffer)
    const valueOf = (name: string): number | string => (name === 'ago' ? durationText((timeMs - eventTime) / 1000) : this.#valueOf(rows, index, name))
    return { name: 'past-event', text: fillTemplate(pastEvent, valueOf), eventTime }
  }

  /** A feature's value as people know it: of a category its value. */
  #valueOf(rows: Float32Array, row: number, name: string): number | string {
    if (this.#hidden.includes(name)) return hidden
    const { features } = this.#manifest
    const value = rows[row * features.length + features.indexOf(name)]!
    const values = this.#categories.get(name)
    return values ? String(values[value - 1] ?? 'another value') : value
  }
}

/** A feature's reference as the model takes it. */
function referenceOf({ categories }: Manifest, { reference }: ReasonsSpec, name: string): number {
  const category = categories[name]
  const value = reference[name]
  if (!category) return typeof value === 'number' ? value : 0
  return value === undefined ? category.unknown : category.first + category.values.map(String).indexOf(String(value))
}
