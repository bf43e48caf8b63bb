import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { LatencyHistogram } from '../base/latency-histogram.js'
import type { EngineStats } from '../topology/engine-stats.js'
import { mergeStats, type MergedStats, type ProcessStats } from './merge-stats.js'

const harrierProgram = fileURLToPath(new URL('../../../bin/harrier.js', import.meta.url))

export interface ProcessLimits {
  readonly statsIntervalMs: number
  /** A process that died is started again after so long, doubled for each death in a row up to the other. */
  readonly backoffMsMin: number
  readonly backoffMsMax: number
  /** Deaths in a row of one process before all of them are given up. */
  readonly deathsInARowMax: number
  /** A process that lived so long has recovered: its deaths are counted from none again. */
  readonly steadyMs: number
  /** From SIGTERM to SIGKILL. A process ends itself within 5 s. */
  readonly stopMsMax: number
}

export const processLimits: ProcessLimits = { statsIntervalMs: 1000, backoffMsMin: 500, backoffMsMax: 10_000, deathsInARowMax: 5, steadyMs: 30_000, stopMsMax: 6000 }

/** Exit codes that another start would not change: wrong usage or configuration. */
const hopelessCode = 2

export interface RunProcessesOptions {
  readonly processes: number
  /** Options of `harrier run` for one process, without --instance-id; see `childArguments`. */
  readonly args: readonly string[]
  /** What the k-th process is told besides. */
  readonly ownArgs?: (process: number) => readonly string[]
  readonly instanceId: string
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly onStats: (stats: MergedStats & { readonly processes: number }) => void
  /** A line of a process's log, as JSON. */
  readonly onLog: (line: string) => void
  readonly limits?: Partial<ProcessLimits>
  /** For tests: another program than Harrier's. */
  readonly program?: string
}

/** The options of a child: those of the command line without the ones that are the parent's own. */
export function childArguments(argv: readonly string[]): string[] {
  const withValue = ['--processes', '--instance-id', '--metrics-port']
  const mayHaveValue = ['--serve']
  const args: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const option = argv[i]!
    if (withValue.includes(option) || (mayHaveValue.includes(option) && !(argv[i + 1] ?? '-').startsWith('-'))) i++
    else if (option !== '--json' && !mayHaveValue.includes(option) && ![...withValue, ...mayHaveValue].some((name) => option.startsWith(`${name}=`))) args.push(option)
  }
  return args
}

/**
 * Several `harrier run` as one: each child is a member of the group with an identity of its own, <instance id>-<k>, so
 * that one which dies comes back as itself and its partitions need not move. Fulfilled when `signal` has fired and all
 * have ended in order; rejects with LIMIT_EXCEEDED when one of them cannot be kept alive.
 */
export async function runProcesses(options: RunProcessesOptions): Promise<void> {
  const limits = { ...processLimits, ...options.limits }
  const failing = new AbortController()
  const members = Array.from({ length: options.processes }, (_, k) => new Member(`${options.instanceId}-${k}`, { ...options, args: [...options.args, ...(options.ownArgs?.(k) ?? [])] }, limits))
  const stop = (): void => members.forEach((member) => member.stop())
  const stopStats = options.clock.every(limits.statsIntervalMs, () => options.onStats({ ...mergeStats(members.map((member) => member.takeStats())), processes: options.processes }))
  const killAll = (): void => members.forEach((member) => member.kill())
  options.signal.addEventListener('abort', stop, { once: true })
  failing.signal.addEventListener('abort', stop, { once: true })
  process.once('exit', killAll)
  try {
    const ends = await Promise.allSettled(
      members.map((member) =>
        member.live().catch((error: unknown) => {
          failing.abort()
          throw error
        }),
      ),
    )
    const failed = ends.find((end) => end.status === 'rejected')
    if (failed) throw failed.reason
  } finally {
    stopStats()
    process.off('exit', killAll)
    options.signal.removeEventListener('abort', stop)
    options.onStats({ ...mergeStats(members.map((member) => member.takeStats())), state: 'stopped', processes: options.processes })
  }
}

/** One identity and its lives, one after the other. */
class Member {
  readonly #id: string
  readonly #options: RunProcessesOptions
  readonly #limits: ProcessLimits
  readonly #stopping = new AbortController()
  #child: ChildProcess | undefined
  #latest: EngineStats | undefined
  /** The last words of lives that are over: at most one, in which all are summed. */
  #past: ProcessStats['past'] = []
  #delays = new LatencyHistogram()

  constructor(id: string, options: RunProcessesOptions, limits: ProcessLimits) {
    this.#id = id
    this.#options = options
    this.#limits = limits
  }

  /** Until stopped. */
  async live(): Promise<void> {
    const { clock, onLog } = this.#options
    const { backoffMsMin, backoffMsMax, deathsInARowMax, steadyMs } = this.#limits
    const log = (message: string, fields: object): void => onLog(JSON.stringify({ ...lineHead(clock, 'error'), message, instance: this.#id, ...fields }))
    let deathsInARow = 0
    while (!this.#stopping.signal.aborted) {
      const startedMs = clock.monotonicMs()
      const { code, how } = await this.#liveOnce()
      if (this.#stopping.signal.aborted) {
        // Before it listens for SIGTERM a process ends by it, and has done nothing yet.
        if (code !== 0 && how !== 'SIGTERM') throw new HarrierError('LIMIT_EXCEEDED', `${this.#id} did not stop in order: ${how}`, { remedy: 'nothing is lost: its open transaction is aborted; see its log above' })
        return
      }
      deathsInARow = clock.monotonicMs() - startedMs >= steadyMs ? 1 : deathsInARow + 1
      if (code === hopelessCode || deathsInARow >= deathsInARowMax) {
        throw new HarrierError('LIMIT_EXCEEDED', `${this.#id} ended ${deathsInARow} times in a row, the last time with ${how}: all processes stop`, { remedy: 'see its log above' })
      }
      const backoffMs = Math.min(backoffMsMax, backoffMsMin << (deathsInARow - 1))
      log('a process ended; it is started again', { how, deathsInARow, backoffMs })
      await clock.sleep(backoffMs, this.#stopping.signal)
    }
  }

  stop(): void {
    if (this.#stopping.signal.aborted) return
    this.#stopping.abort()
    const child = this.#child
    child?.kill('SIGTERM')
    if (child) void this.#options.clock.sleep(this.#limits.stopMsMax).then(() => child.kill('SIGKILL'))
  }

  kill(): void {
    this.#child?.kill('SIGKILL')
  }

  /** Delays are since the last call. */
  takeStats(): ProcessStats {
    const taken = { latest: this.#latest, past: this.#past, delays: this.#delays }
    this.#delays = new LatencyHistogram()
    return taken
  }

  #liveOnce(): Promise<{ code: number; how: string }> {
    const { program = harrierProgram, args, onLog, clock } = this.#options
    // A process group of its own: Ctrl-C in a terminal must reach only the parent, which ends its children in order.
    const child = spawn(process.execPath, [program, 'run', ...args, '--json', '--instance-id', this.#id], { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    this.#child = child
    createInterface({ input: child.stdout }).on('line', (line) => this.#onStats(line))
    createInterface({ input: child.stderr }).on('line', (line) => onLog(withInstance(line, this.#id, clock)))
    return new Promise((resolve) => {
      child.once('error', (error) => resolve({ code: hopelessCode, how: error.message }))
      child.once('close', (code, signal) => {
        this.#child = undefined
        const { counters, checkpoint } = mergeStats([{ latest: this.#latest, past: this.#past, delays: this.#delays }])
        this.#past = [{ counters, checkpoint: { ...checkpoint, dirty: 0 } }]
        this.#latest = undefined
        resolve({ code: code ?? 1, how: signal ?? `exit code ${code}` })
      })
    })
  }

  #onStats(line: string): void {
    try {
      this.#latest = JSON.parse(line) as EngineStats
      this.#delays.merge(LatencyHistogram.fromJSON(this.#latest.delayHistogram))
    } catch {
      this.#options.onLog(withInstance(line, this.#id, this.#options.clock))
    }
  }
}

/** A log line as JSON that says whose it is. What is no JSON is what a process said at its end. */
function withInstance(line: string, instance: string, clock: Clock): string {
  try {
    return JSON.stringify({ ...(JSON.parse(line) as object), instance })
  } catch {
    return JSON.stringify({ ...lineHead(clock, 'error'), message: line.trim(), instance })
  }
}

function lineHead(clock: Clock, level: string): { time: string; level: string } {
  return { time: new Date(clock.nowMs()).toISOString(), level }
}
