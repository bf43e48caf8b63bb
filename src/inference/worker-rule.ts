/** What the workers did in one interval. */
export interface WorkerLoad {
  readonly ms: number
  readonly rows: number
  /** Time from beginning to end of frames, of all workers together, ms. */
  readonly computeMs: number
  /** Cores of the machine that nobody used. */
  readonly idleCores: number
}

export const workerRuleLimits = {
  /** How often the rule looks. */
  intervalMs: 500,
  /** Another worker comes when those that are there were busy for this share of the time … */
  busyMin: 0.85,
  /** … in so many intervals in a row, … */
  busyIntervals: 2,
  /** … and so much of a core was left for it: where broker, fold and models fill the cores, another thread takes time from them. */
  idleCoresMin: 0.3,
  /** It stays unless fewer rows came through than this share of before, in so many intervals; those in which it warms up are not looked at. */
  keepMin: 0.95,
  trialIntervals: 4,
  warmUpIntervals: 2,
  /** After one that did not help the rule waits so long before it tries again. */
  retryMs: 300_000,
  /** One goes when the others would have been busy for less than this share … */
  idleMax: 0.5,
  /** … in so many intervals in a row. */
  idleIntervals: 20,
} as const

export type WorkerRuleLimits = { readonly [Name in keyof typeof workerRuleLimits]: number }

/**
 * How many workers run the models: one more when those that are there have no time left and the machine has, and one less when it did not
 * make scoring faster, or when it is not needed any more.
 */
export class WorkerRule {
  readonly #min: number
  readonly #max: number
  readonly #limits: WorkerRuleLimits
  #busy: WorkerLoad[] = []
  #idle = 0
  /** Rows/ms before the last one came, while it is on trial. */
  #trial: { readonly before: number; readonly loads: WorkerLoad[]; skip: number } | null = null
  #retryAtMs = -Infinity

  constructor(min: number, max: number, limits: WorkerRuleLimits = workerRuleLimits) {
    this.#min = min
    this.#max = max
    this.#limits = limits
  }

  /** How many there should be after an interval in which there were `workers`. */
  next(workers: number, load: WorkerLoad, nowMs: number): number {
    const { busyMin, busyIntervals, idleCoresMin, keepMin, trialIntervals, warmUpIntervals, retryMs, idleMax, idleIntervals } = this.#limits
    const busy = load.computeMs / load.ms / workers
    if (this.#trial) {
      const { before, loads } = this.#trial
      if (this.#trial.skip-- > 0 || loads.push(load) < trialIntervals) return workers
      this.#trial = null
      if (rowsPerMs(loads) >= before * keepMin) return workers
      this.#retryAtMs = nowMs + retryMs
      // A release that was opened before it came may have taken it away already.
      return Math.max(this.#min, workers - 1)
    }
    this.#busy = busy >= busyMin ? [...this.#busy, load].slice(-busyIntervals) : []
    this.#idle = workers > this.#min && (busy * workers) / (workers - 1) < idleMax ? this.#idle + 1 : 0
    if (this.#idle >= idleIntervals) {
      this.#idle = 0
      return workers - 1
    }
    if (this.#busy.length < busyIntervals || workers >= this.#max || nowMs < this.#retryAtMs) return workers
    if (this.#busy.reduce((sum, { idleCores }) => sum + idleCores, 0) / busyIntervals < idleCoresMin) return workers
    this.#trial = { before: rowsPerMs(this.#busy), loads: [], skip: warmUpIntervals }
    this.#busy = []
    return workers + 1
  }

  /** It could not be opened, or something else took its turn. */
  abandoned(nowMs: number): void {
    this.#trial = null
    this.#retryAtMs = nowMs + this.#limits.retryMs
  }
}

function rowsPerMs(loads: readonly WorkerLoad[]): number {
  return loads.reduce((sum, { rows }) => sum + rows, 0) / loads.reduce((sum, { ms }) => sum + ms, 0)
}
