/** What the workers did in one interval. */
export interface WorkerLoad {
  readonly ms: number
  readonly rows: number
  /** Time from beginning to end of frames, of all workers together, ms. */
  readonly computeMs: number
}

export const workerRuleLimits = {
  /** How often the rule looks. */
  intervalMs: 500,
  /** Another worker comes when those that are there were busy for this share of the time … */
  busyMin: 0.85,
  /** … in so many intervals in a row, and stays when at least as many rows came through in as many intervals after it. */
  busyIntervals: 2,
  /** After one that did not help the rule waits so long before it tries again. */
  retryMs: 300_000,
  /** One goes when the others would have been busy for less than this share … */
  idleMax: 0.5,
  /** … in so many intervals in a row. */
  idleIntervals: 20,
} as const

export type WorkerRuleLimits = { readonly [Name in keyof typeof workerRuleLimits]: number }

/**
 * How many workers run the models: one more when those that are there have no time left, and one less when it did not make scoring faster
 * (where broker, fold and models share the cores, it may not) or when it is not needed any more.
 */
export class WorkerRule {
  readonly #min: number
  readonly #max: number
  readonly #limits: WorkerRuleLimits
  #busy: WorkerLoad[] = []
  #idle = 0
  /** Rows/s before the last one came, while it is on trial; the interval in which it began is not looked at. */
  #trial: { readonly before: number; readonly loads: WorkerLoad[]; skip: number } | null = null
  #retryAtMs = -Infinity

  constructor(min: number, max: number, limits: WorkerRuleLimits = workerRuleLimits) {
    this.#min = min
    this.#max = max
    this.#limits = limits
  }

  /** How many there should be after an interval in which there were `workers`. */
  next(workers: number, load: WorkerLoad, nowMs: number): number {
    const { busyMin, busyIntervals, retryMs, idleMax, idleIntervals } = this.#limits
    const busy = load.computeMs / load.ms / workers
    if (this.#trial) {
      const { before, loads } = this.#trial
      if (this.#trial.skip-- > 0 || loads.push(load) < busyIntervals) return workers
      this.#trial = null
      if (rowsPerMs(loads) >= before) return workers
      this.#retryAtMs = nowMs + retryMs
      return workers - 1
    }
    this.#busy = busy >= busyMin ? [...this.#busy.slice(1 - busyIntervals), load] : []
    this.#idle = workers > this.#min && (busy * workers) / (workers - 1) < idleMax ? this.#idle + 1 : 0
    if (this.#idle >= idleIntervals) {
      this.#idle = 0
      return workers - 1
    }
    if (this.#busy.length < busyIntervals || workers >= this.#max || nowMs < this.#retryAtMs) return workers
    this.#trial = { before: rowsPerMs(this.#busy), loads: [], skip: 1 }
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
