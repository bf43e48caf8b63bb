import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Principal, Quota } from './key-record.js'

const dayMs = 86_400_000
/** Pairs of key and subject whose use is remembered; beyond them the one that rested longest is forgotten, if it is idle. */
const usesMax = 100_000

interface Use {
  readonly id: string
  readonly subject: string
  tokens: number
  filledMs: number
  running: number
  day: number
  /** Scores of the day that this process gave. */
  scores: number
  isChanged: boolean
  /** Scores of the day that other processes told of, by process. */
  readonly elsewhere: Map<string, number>
}

/** What an answer says of the limit that is nearest. */
export interface QuotaState {
  readonly limit: number
  readonly remaining: number
  readonly resetSeconds: number
  readonly policy: string
}

export interface Lease {
  readonly state: QuotaState | undefined
  release(): void
}

/** Use of one key and subject on one day by one process, as it stands in the topic of usage. */
export interface UsageEntry {
  readonly id: string
  readonly subject: string
  readonly day: number
  readonly scores: number
}

/**
 * Counts what keys use, by key and by model or topology: requests a second in a bucket that refills continuously and holds one
 * second's worth (at least one), requests at once, scores of a day (UTC).
 *
 * Requests a second and at once are of this process. Scores of a day are of all: each process tells what it gave, so the sum is
 * too small by at most what the others gave since they told last.
 */
export class QuotaKeeper {
  readonly #clock: Clock
  readonly #uses = new Map<string, Use>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes one request with so many scores. Errors: QUOTA_EXCEEDED, with the time to come back. */
  enter({ id, quota }: Principal, subject: string, scores: number): Lease {
    const { requestsPerSecond, scoresPerDay, concurrent } = quota
    if (requestsPerSecond === undefined && scoresPerDay === undefined && concurrent === undefined) return { state: undefined, release: () => undefined }
    const use = this.#use(id, subject)
    this.#refill(use, quota)
    if (concurrent !== undefined && use.running >= concurrent) throw exceeded(`${concurrent} requests at once`, 1000)
    if (requestsPerSecond !== undefined && use.tokens < 1) throw exceeded(`${requestsPerSecond} requests a second`, ((1 - use.tokens) / requestsPerSecond) * 1000)
    const given = totalOf(use)
    if (scoresPerDay !== undefined && given + scores > scoresPerDay) throw exceeded(`${scoresPerDay} scores a day, ${given} of which are used`, (use.day + 1) * dayMs - this.#clock.nowMs())
    use.tokens--
    use.running++
    use.scores += scores
    use.isChanged = true
    let isHeld = true
    return {
      state: this.#state(use, quota),
      release() {
        if (isHeld) use.running--
        isHeld = false
      },
    }
  }

  /** What has changed since the last call, to be told to the other processes. */
  takeChanges(): UsageEntry[] {
    const changed = [...this.#uses.values()].filter(({ isChanged }) => isChanged)
    return changed.map((use) => {
      use.isChanged = false
      return { id: use.id, subject: use.subject, day: use.day, scores: use.scores }
    })
  }

  /** What a process told: another one, or this one before it was started again. */
  apply({ id, subject, day, scores }: UsageEntry, process: string, isOwn: boolean): void {
    if (day !== this.#day()) return
    const use = this.#use(id, subject)
    this.#newDay(use)
    if (isOwn) use.scores = Math.max(use.scores, scores)
    else use.elsewhere.set(process, scores)
  }

  #day(): number {
    return Math.floor(this.#clock.nowMs() / dayMs)
  }

  #use(id: string, subject: string): Use {
    const name = `${id}\n${subject}`
    let use = this.#uses.get(name)
    if (!use) {
      if (this.#uses.size >= usesMax) this.#forgetOne()
      use = { id, subject, tokens: NaN, filledMs: 0, running: 0, day: this.#day(), scores: 0, isChanged: false, elsewhere: new Map() }
    } else this.#uses.delete(name)
    // the last in the map is the one that was used last
    this.#uses.set(name, use)
    return use
  }

  #forgetOne(): void {
    for (const [name, use] of this.#uses) {
      if (use.running > 0 || use.isChanged) continue
      this.#uses.delete(name)
      return
    }
    throw new HarrierError('OVERLOADED', 'too many keys are in use at once', { retryAfterMs: 1000 })
  }

  #newDay(use: Use): void {
    const day = this.#day()
    if (use.day === day) return
    use.day = day
    use.scores = 0
    use.elsewhere.clear()
  }

  #refill(use: Use, { requestsPerSecond }: Quota): void {
    this.#newDay(use)
    if (requestsPerSecond === undefined) return void (use.tokens = Infinity)
    const nowMs = this.#clock.monotonicMs()
    const full = Math.max(1, requestsPerSecond)
    use.tokens = Number.isNaN(use.tokens) ? full : Math.min(full, use.tokens + ((nowMs - use.filledMs) / 1000) * requestsPerSecond)
    use.filledMs = nowMs
  }

  #state(use: Use, { requestsPerSecond, scoresPerDay }: Quota): QuotaState | undefined {
    const leftToday = scoresPerDay === undefined ? Infinity : scoresPerDay - totalOf(use)
    const policy = [...(requestsPerSecond === undefined ? [] : [`${requestsPerSecond};w=1`]), ...(scoresPerDay === undefined ? [] : [`${scoresPerDay};w=86400`])].join(', ')
    if (requestsPerSecond !== undefined && use.tokens <= leftToday) {
      return { limit: requestsPerSecond, remaining: Math.floor(use.tokens), resetSeconds: Math.ceil(Math.max(0, 1 - use.tokens) / requestsPerSecond), policy }
    }
    if (scoresPerDay === undefined) return undefined
    return { limit: scoresPerDay, remaining: Math.max(0, leftToday), resetSeconds: Math.ceil(((use.day + 1) * dayMs - this.#clock.nowMs()) / 1000), policy }
  }
}

function totalOf(use: Use): number {
  let total = use.scores
  for (const scores of use.elsewhere.values()) total += scores
  return total
}

function exceeded(what: string, retryAfterMs: number): HarrierError {
  return new HarrierError('QUOTA_EXCEEDED', `the key may have ${what}`, { retryAfterMs })
}
