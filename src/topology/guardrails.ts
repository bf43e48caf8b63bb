import { ScoreHistogram, populationStability } from '../monitor/score-histogram.js'
import { Decision } from '../codec/outcome-columns.js'
import type { ScorerModel, ScoringModels } from '../inference/scorer.js'
import type { StageModels } from '../registry/release.js'
import { fileEpoch } from '../registry/stage-releases.js'
import type { Batch } from './batch.js'
import { guardrailNames, type GuardrailName, type GuardrailsSpec } from './guardrail-spec.js'

/** Blocks of events that say how things were before a release. */
const blocksBeforeMax = 10
/** Releases whose time is remembered. */
const releaseTimesMax = 64
/** One event in a hundred may take longer than `delayMax`. */
const slowShareMax = 0.01
/** By how many standard deviations of a count it has to be above its limit. */
const deviations = 3

/** A model that decides, by one release. */
export interface Decider {
  readonly role: 'champion' | 'challenger'
  /** name@version */
  readonly model: string
  readonly epoch: number
  readonly share: number
}

/** A limit that a released model has broken, with the figures of its block of events. */
export interface Breach {
  readonly guardrail: GuardrailName
  readonly decider: Decider
  readonly measured: number
  readonly limit: number
  /** The same figure of the champion before; NaN where it is not known. */
  readonly before: number
  readonly events: number
  /** Oldest timestamp of their records, ms since 1970. */
  readonly sinceMs: number
}

/** How it goes with the releases of one stage in one process. */
export interface GuardrailState {
  readonly breaches: Readonly<Record<GuardrailName, number>>
  readonly last: Breach | undefined
  /** Blocks of events that were judged. */
  readonly judged: number
}

/** What so many events of one decider came to. */
class Block {
  events = 0
  alerts = 0
  errors = 0
  slow = 0
  /** Of records within the window of the release. */
  inside = 0
  /** Oldest timestamp of its records. */
  sinceMs = Infinity
  readonly scores = new ScoreHistogram()

  merge(other: Block): void {
    this.events += other.events
    this.alerts += other.alerts
    this.errors += other.errors
    this.slow += other.slow
    this.scores.merge(other.scores)
  }
}

/** A decider with its block so far, and what it is measured by. */
interface Watched {
  readonly decider: Decider
  block: Block
  /** Before this timestamp of a record it is judged; -Infinity: never. */
  readonly endMs: number
  /** The champion before it; undefined: this process has not seen it. A challenger's is the champion beside it. */
  readonly before: Block | undefined
  /** A rollback is being written, or nothing is to be done about it any more. */
  settled: boolean
}

/** What became of a breach: `again` lets the next block be judged. */
export type BreachOutcome = 'settled' | 'again'

export interface GuardrailsOptions {
  readonly spec: GuardrailsSpec
  /** Whether the stage decides: others have no alerts. */
  readonly decides: boolean
  /** Called once at a time for a decider. */
  readonly onBreach: (breach: Breach) => Promise<BreachOutcome>
}

/**
 * Watches what a released model does to the events that have committed, in blocks of `events` that it has decided in this process.
 *
 * 1. A block is judged by itself, so that trouble that comes late is not thinned out by what was before it.
 * 2. What is judged, and when, follows from counts and from timestamps of records and releases. The delay alone is the clock's.
 * 3. Every process judges what it has scored. It takes nothing from the others, and nothing of it outlives it: a process that was
 *    started after a release has not seen the champion before, and leaves out what is measured against it.
 */
export class Guardrails {
  readonly #options: GuardrailsOptions
  readonly #releaseTimes = new Map<number, number>()
  readonly #breaches = Object.fromEntries(guardrailNames.map((name) => [name, 0])) as Record<GuardrailName, number>
  #models: ScoringModels | undefined
  #champion: Watched | undefined
  #challenger: Watched | undefined
  /** Full blocks of the champion, the newest last. */
  #history: Block[] = []
  #judged = 0
  #last: Breach | undefined

  constructor(options: GuardrailsOptions) {
    this.#options = options
  }

  get state(): GuardrailState {
    return { breaches: this.#breaches, last: this.#last, judged: this.#judged }
  }

  /** A release that may come in force, or is: it says since when its window runs. */
  released({ revision, time }: Pick<StageModels, 'revision' | 'time'>): void {
    this.#releaseTimes.set(revision, time)
    for (const known of this.#releaseTimes.keys()) if (this.#releaseTimes.size > releaseTimesMax) this.#releaseTimes.delete(known)
  }

  /** A batch that has committed, with the frame that scored it. `nowMs`: wall-clock time of the commit. */
  committed(batch: Pick<Batch, 'frame' | 'frameRow' | 'records' | 'outcome'>, nowMs: number): void {
    const { frame, frameRow, records, outcome } = batch
    if (!frame) return
    if (frame.models !== this.#models) this.#turn(frame.models)
    const { spec } = this.#options
    const { delayMax = Infinity } = spec
    const { models } = outcome
    for (let row = 0; row < records.count; row++) {
      if (frameRow[row]! < 0) continue
      const chosen = outcome.chosen[row]!
      const watched = chosen === 0 ? this.#champion : this.#challenger
      if (!watched) continue
      const { block } = watched
      const timestamp = records.timestamp[row]!
      const score = outcome.scores[row * models + chosen]!
      block.events++
      if (timestamp < block.sinceMs) block.sinceMs = timestamp
      if (timestamp < watched.endMs) block.inside++
      if (nowMs - timestamp > delayMax) block.slow++
      if (!Number.isFinite(score)) block.errors++
      else {
        block.scores.add(score)
        if (outcome.decision[row] !== Decision.approve) block.alerts++
      }
      if (block.events >= spec.events) this.#endBlock(watched)
    }
  }

  /** Other models score from here on: whoever decides and did not before is watched anew. */
  #turn(models: ScoringModels): void {
    this.#models = models
    const before = this.#champion ? this.#before() : undefined
    const endMs = (this.#releaseTimes.get(models.release) ?? -Infinity) + this.#options.spec.window
    const kept = (watched: Watched | undefined, role: Decider['role'], baseline: Block | undefined): Watched | undefined => {
      const model = models.models.find((each) => each.role === role && each.share > 0)
      if (!model) return undefined
      const decider = deciderOf(model, role)
      if (watched && isSame(watched.decider, decider)) return watched
      return { decider, block: new Block(), endMs: decider.epoch === fileEpoch ? -Infinity : endMs, before: baseline, settled: false }
    }
    const champion = kept(this.#champion, 'champion', before)
    if (champion !== this.#champion) this.#history = []
    this.#champion = champion
    this.#challenger = kept(this.#challenger, 'challenger', undefined)
  }

  /** What is known of the champion that was in force until now; undefined: less than a block. */
  #before(): Block | undefined {
    if (this.#history.length === 0) return undefined
    const sum = new Block()
    for (const block of this.#history) sum.merge(block)
    return sum
  }

  #endBlock(watched: Watched): void {
    const { block } = watched
    watched.block = new Block()
    if (watched === this.#champion) {
      this.#history.push(block)
      if (this.#history.length > blocksBeforeMax) this.#history.shift()
    }
    // Timestamps are their producers': one that is off is no reason to look away.
    if (watched.settled || block.inside * 2 < block.events) return
    const before = watched === this.#challenger ? this.#before() : watched.before
    this.#judged++
    const breach = this.#judge(watched.decider, block, before)
    if (!breach) return
    this.#last = breach
    this.#breaches[breach.guardrail]++
    watched.settled = true
    void this.#options.onBreach(breach).then((outcome) => (watched.settled = outcome === 'settled'))
  }

  #judge(decider: Decider, block: Block, before: Block | undefined): Breach | undefined {
    const { spec, decides } = this.#options
    const { events } = block
    const rate = (count: number, of = events): number => count / of
    const figures: Record<GuardrailName, () => { measured: number; before: number; broken: (limit: number) => boolean }> = {
      errorRateMax: () => ({ measured: rate(block.errors), before: before ? rate(before.errors, before.events) : NaN, broken: (limit) => rate(block.errors) > limit }),
      alertRateMax: () => ({ measured: rate(block.alerts), before: before ? rate(before.alerts, before.events) : NaN, broken: (limit) => decides && rate(block.alerts) > limit }),
      alertRateTimesMax: () => {
        // one alert more than there were: a champion without any is no reason to allow none
        const usual = before ? (before.alerts + 1) / (before.events + 1) : NaN
        return {
          measured: rate(block.alerts) / usual, before: usual,
          broken: (limit) => decides && block.alerts > limit * usual * events + deviations * Math.sqrt(limit * usual * events),
        }
      },
      scoreShiftMax: () => {
        const shift = before ? populationStability(before.scores, block.scores) : NaN
        return { measured: shift, before: NaN, broken: (limit) => shift > limit }
      },
      delayMax: () => {
        const usual = before ? rate(before.slow, before.events) : NaN
        return { measured: rate(block.slow), before: usual, broken: () => usual <= slowShareMax && rate(block.slow) > slowShareMax }
      },
    }
    for (const [guardrail, figure] of Object.entries(figures) as [GuardrailName, (typeof figures)[GuardrailName]][]) {
      const limit = spec[guardrail]
      if (limit === undefined) continue
      const { measured, before: usual, broken } = figure()
      if (broken(limit)) return { guardrail, decider, measured, limit, before: usual, events, sinceMs: block.sinceMs }
    }
    return undefined
  }
}

function deciderOf({ reference, epoch, share }: ScorerModel, role: Decider['role']): Decider {
  return { role, model: reference, epoch, share }
}

/** A champion that gives a share to a challenger, or gets it back, is the same; a canary of another size is not. */
function isSame(a: Decider, b: Decider): boolean {
  return a.model === b.model && a.epoch === b.epoch && (a.role === 'champion' || a.share === b.share)
}

/** For the ledger: what was measured, in words. */
export function breachText({ guardrail, decider: { model }, measured, limit, before, events }: Breach): string {
  const percent = (share: number): string => `${Number((share * 100).toFixed(3))} %`
  const was = Number.isNaN(before) ? '' : `, ${percent(before)} before`
  const texts: Record<GuardrailName, string> = {
    alertRateMax: `${percent(measured)} of its decisions were alerts${was}; at most ${percent(limit)} may be`,
    alertRateTimesMax: `its alert rate was ${Number(measured.toFixed(2))} times that before (${percent(before)}); at most ${limit} times are allowed`,
    scoreShiftMax: `its scores are shifted against those of the champion before by ${Number(measured.toFixed(3))} (PSI); at most ${limit} is allowed`,
    errorRateMax: `it gave no score for ${percent(measured)} of the events${was}; at most ${percent(limit)} are allowed`,
    delayMax: `${percent(measured)} of the events took longer than ${limit} ms${was}; at most ${percent(slowShareMax)} may`,
  }
  return `${guardrail}: ${model}, ${texts[guardrail]}; ${events} events of one process`
}
