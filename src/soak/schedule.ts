import { Prng } from '../base/prng.js'

/**
 * What a step does to the group:
 * - working: a process that scores is killed, in poll, between produce and commit, or in commit
 * - restoring: a process is killed, started again, and killed once more while it restores
 * - joining: a process is added, and one is killed while the group rebalances
 * - takeover: a process is killed for good; another id takes its partitions over when its session has timed out
 * - all: every process is killed at once
 * - leaving: SIGTERM
 * - frozen: SIGSTOP until the group has given its partitions away, then SIGCONT
 * - broker: the broker is killed and started again
 */
export const stepKinds = ['working', 'restoring', 'joining', 'takeover', 'all', 'leaving', 'frozen', 'broker'] as const
export type StepKind = (typeof stepKinds)[number]

export interface Step {
  readonly kind: StepKind
  /** Chooses the process: uniform in [0, 1). */
  readonly target: number
  /** Chooses the moment: uniform in [0, 1). */
  readonly moment: number
  /** Chooses what comes after: uniform in [0, 1). */
  readonly after: number
  /** Before the step. */
  readonly pauseMs: number
}

const weights: Readonly<Record<StepKind, number>> = { working: 40, restoring: 20, joining: 14, takeover: 8, all: 6, leaving: 8, frozen: 2, broker: 2 }
/** SIGKILLs of a step; `all` has one for each process. */
const killsOf = (kind: StepKind, instances: number): number => ({ working: 1, restoring: 2, joining: 1, takeover: 1, all: instances, leaving: 0, frozen: 0, broker: 0 })[kind]

const pauseMsMax = 1200

/** The seeded choices of one group: steps whose SIGKILLs add up to `kills`. */
export function makeSchedule({ kills, seed, instances, broker }: { kills: number; seed: number; instances: number; broker: boolean }): Step[] {
  const random = new Prng(seed)
  const total = stepKinds.reduce((sum, kind) => sum + weights[kind], 0)
  const steps: Step[] = []
  for (let left = kills; left > 0; ) {
    let draw = random.below(total)
    let kind: StepKind = stepKinds.find((candidate) => (draw -= weights[candidate]) < 0)!
    const step = { target: random.uniform(), moment: random.uniform(), after: random.uniform(), pauseMs: random.below(pauseMsMax) }
    // The first steps are plain ones: there is nothing to rebalance or restore yet.
    if (killsOf(kind, instances) > left || (kind === 'broker' && !broker) || steps.length === 0) kind = 'working'
    left -= killsOf(kind, instances)
    steps.push({ kind, ...step })
  }
  return steps
}
