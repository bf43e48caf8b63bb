import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../../base/clock.js'
import type { EngineStats } from '../../topology/engine-stats.js'
import { readableLogLine } from './log-line.js'

const program = fileURLToPath(new URL('../../../../bin/harrier.js', import.meta.url))

/** Last lines of the engine's log that are kept, to show why it ended. */
const logLinesMax = 20

export interface EngineProcessOptions {
  /** More options of `harrier run`. */
  readonly args: readonly string[]
  readonly clock: Clock
  /** The engine ended without being asked to. */
  readonly onDeath: (how: string, lastLines: readonly string[]) => void
  /** For tests: another program than Harrier's. */
  readonly program?: string
}

/**
 * The engine as a process of its own, so that it can be killed for real. Killed by `kill`, it is started again at once
 * with the same identity.
 *
 * The child leads a process group: Ctrl-C in a terminal goes to the whole group in front, and must reach only us, who
 * then end the child in order. A child that outlives us fails at its next line of statistics.
 */
export class EngineProcess {
  kills = 0
  stats: EngineStats | undefined
  readonly #options: EngineProcessOptions
  readonly #lines: string[] = []
  #child: ChildProcess | undefined
  #exited: Promise<void> = Promise.resolve()
  #startedAtMs = 0
  #killed = false
  #stopping = false
  readonly #killAtExit = (): void => void this.#child?.kill('SIGKILL')

  constructor(options: EngineProcessOptions) {
    this.#options = options
    process.once('exit', this.#killAtExit)
  }

  /** What it is doing, in one word; `starting` until it speaks. */
  get state(): string {
    return this.#child ? (this.stats?.state ?? 'starting') : 'stopped'
  }

  /** Since this process was started. */
  get upMs(): number {
    return this.#options.clock.monotonicMs() - this.#startedAtMs
  }

  get lastLines(): readonly string[] {
    return this.#lines
  }

  start(): void {
    const child = spawn(process.execPath, [this.#options.program ?? program, 'run', '--json', ...this.#options.args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    this.#child = child
    this.#startedAtMs = this.#options.clock.monotonicMs()
    this.#killed = false
    this.stats = undefined
    createInterface({ input: child.stdout }).on('line', (line) => this.#onStats(child, line))
    createInterface({ input: child.stderr }).on('line', (line) => this.#onLog(line))
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => this.#onLog(error.message))
      // `close` comes after the last line of output.
      child.once('close', (code, signal) => {
        this.#onEnd(code, signal)
        resolve()
      })
    })
  }

  /** SIGKILL, as the out-of-memory killer would; then a new process takes its place. */
  kill(): void {
    if (!this.#child || this.#stopping || this.#killed) return
    this.#killed = true
    this.kills++
    this.#child.kill('SIGKILL')
  }

  /** SIGTERM: it commits what is folded and leaves. After `graceMs` SIGKILL; false when that was needed. */
  async stop(graceMs: number): Promise<boolean> {
    this.#stopping = true
    if (!this.#child) return true
    this.#child.kill('SIGTERM')
    const over = new AbortController()
    const late = this.#options.clock.sleep(graceMs, over.signal).then(() => 'late')
    const inTime = (await Promise.race([this.#exited, late])) !== 'late'
    over.abort()
    if (!inTime) this.#child?.kill('SIGKILL')
    await this.#exited
    process.off('exit', this.#killAtExit)
    return inTime
  }

  #onStats(child: ChildProcess, line: string): void {
    if (child !== this.#child) return
    try {
      this.stats = JSON.parse(line) as EngineStats
    } catch {
      this.#onLog(line)
    }
  }

  #onLog(line: string): void {
    this.#lines.push(readableLogLine(line))
    if (this.#lines.length > logLinesMax) this.#lines.shift()
  }

  #onEnd(code: number | null, signal: NodeJS.Signals | null): void {
    this.#child = undefined
    if (this.#stopping) return
    if (this.#killed) return this.start()
    this.#stopping = true
    this.#options.onDeath(signal === null ? `with exit code ${code}` : `by ${signal}`, this.#lines)
  }
}
