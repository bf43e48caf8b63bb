import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../base/clock.js'
import type { EngineStats } from '../topology/engine-stats.js'

export const harrierProgram = fileURLToPath(new URL('../../../bin/harrier.js', import.meta.url))

/** Last lines of a log that are kept, to show why a process ended. */
const logLinesMax = 40

export interface SoakProcessOptions {
  readonly instanceId: string
  /** Options of `harrier run`, without --json and --instance-id. */
  readonly args: readonly string[]
  readonly clock: Clock
  /** A process that nobody asked to end has ended. */
  readonly onDeath: (death: Death) => void
}

export interface Death {
  readonly instanceId: string
  readonly atMs: number
  readonly how: string
  readonly lastLines: readonly string[]
}

/** One life of one instance: `harrier run` as a process, watched through its statistics and its log. */
export class SoakProcess {
  readonly instanceId: string
  readonly startedMs: number
  stats: EngineStats | undefined
  /** Tasks that became ready in this life, and when the first did. */
  readonly readyTasks: string[] = []
  firstReadyMs: number | undefined
  restoredRecords = 0
  ended = false
  readonly exited: Promise<void>
  readonly #child: ChildProcess
  readonly #options: SoakProcessOptions
  readonly #lines: string[] = []
  #asked = false

  constructor(options: SoakProcessOptions) {
    this.#options = options
    this.instanceId = options.instanceId
    this.startedMs = options.clock.monotonicMs()
    // A group of its own: Ctrl-C in a terminal must reach only us.
    const child = spawn(process.execPath, [harrierProgram, 'run', '--json', '--instance-id', options.instanceId, ...options.args], { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    this.#child = child
    createInterface({ input: child.stdout }).on('line', (line) => this.#onStats(line))
    createInterface({ input: child.stderr }).on('line', (line) => this.#onLog(line))
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => this.#lines.push(error.message))
      child.once('close', (code, signal) => {
        this.ended = true
        const { onDeath, instanceId } = options
        if (!this.#asked) onDeath({ instanceId, atMs: options.clock.monotonicMs(), how: signal ?? `exit code ${code}`, lastLines: this.#lines })
        else if (code !== 0 && signal !== 'SIGKILL') onDeath({ instanceId, atMs: options.clock.monotonicMs(), how: `${signal ?? `exit code ${code}`} after SIGTERM`, lastLines: this.#lines })
        resolve()
      })
    })
  }

  get isReady(): boolean {
    return !this.ended && this.firstReadyMs !== undefined
  }

  /** Partitions that it owned when it last spoke. */
  get partitions(): number[] {
    const told = this.stats?.tasks.map(({ task }) => task) ?? this.readyTasks
    return told.map((task) => Number(task.slice(task.lastIndexOf('/') + 1)))
  }

  get log(): readonly string[] {
    return this.#lines
  }

  async kill(): Promise<void> {
    this.#asked = true
    this.#child.kill('SIGKILL')
    await this.exited
  }

  freeze(): void {
    this.#child.kill('SIGSTOP')
  }

  thaw(): void {
    this.#child.kill('SIGCONT')
  }

  /** SIGTERM; after `graceMs` SIGKILL. */
  async stop(graceMs: number): Promise<void> {
    this.#asked = true
    this.#child.kill('SIGTERM')
    const over = new AbortController()
    await Promise.race([this.exited, this.#options.clock.sleep(graceMs, over.signal)])
    over.abort()
    if (!this.ended) this.#child.kill('SIGKILL')
    await this.exited
  }

  #onStats(line: string): void {
    try {
      this.stats = JSON.parse(line) as EngineStats
    } catch {
      this.#lines.push(line)
    }
  }

  #onLog(line: string): void {
    this.#lines.push(line)
    if (this.#lines.length > logLinesMax) this.#lines.shift()
    if (!line.includes('"task ready"')) return
    const { task, restored } = JSON.parse(line) as { task: string; restored: number }
    this.firstReadyMs ??= this.#options.clock.monotonicMs()
    this.readyTasks.push(task)
    this.restoredRecords += restored
  }
}
