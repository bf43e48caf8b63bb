import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { systemClock } from '../src/base/clock.js'
import { Condition } from '../src/base/condition.js'
import type { EngineStats } from '../src/topology/engine-stats.js'
import { cpuSecondsOf, harrierBin, residentBytesOf } from './meter.js'

const tickMs = 100
const logLinesKept = 15

/** `harrier run --json` under measurement: its statistics and the moments at which its log said something. */
export class BenchEngine {
  readonly startedMs = systemClock.monotonicMs()
  stats: EngineStats | undefined
  /** When each task became ready, on the monotonic clock, and how long its restore took. */
  readonly ready: { readonly atMs: number; readonly restoredMs: number }[] = []
  onStats: (stats: EngineStats) => void = () => undefined
  /** Each line of its log, as JSON. */
  onLog: (line: string) => void = () => undefined
  readonly #child: ChildProcess
  readonly #changed = new Condition()
  readonly #log: string[] = []
  #ended = false

  /** `nodeArgs` go before the script: a profiler, for example. */
  constructor(args: readonly string[], nodeArgs: readonly string[] = []) {
    this.#child = spawn(process.execPath, [...nodeArgs, harrierBin, 'run', '--json', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.stats = JSON.parse(line) as EngineStats
      this.onStats(this.stats)
      this.#changed.notify()
    })
    createInterface({ input: this.#child.stderr! }).on('line', (line) => {
      this.#log.push(line)
      this.onLog(line)
      if (this.#log.length > logLinesKept) this.#log.shift()
      if (line.includes('"task ready"')) this.ready.push({ atMs: systemClock.monotonicMs(), restoredMs: (JSON.parse(line) as { ms: number }).ms })
      this.#changed.notify()
    })
    this.#child.once('exit', () => {
      this.#ended = true
      this.#changed.notify()
    })
  }

  get cpuSeconds(): number {
    return cpuSecondsOf(this.#child.pid!)
  }

  /** Resident memory of the process, in bytes. */
  get residentBytes(): number {
    return residentBytesOf(this.#child.pid!)
  }

  get ended(): boolean {
    return this.#ended
  }

  async until(what: string, done: (stats: EngineStats | undefined) => boolean, limitMs: number): Promise<void> {
    const endMs = systemClock.monotonicMs() + limitMs
    const stop = systemClock.every(tickMs, () => this.#changed.notify())
    await this.#changed.until(() => done(this.stats) || this.#ended || systemClock.monotonicMs() > endMs)
    stop()
    if (!done(this.stats)) throw new Error(`the engine never came to: ${what} (${this.#ended ? 'it ended' : `${limitMs} ms`})\n${this.#log.join('\n')}`)
  }

  running(limitMs: number): Promise<void> {
    return this.until('running', (stats) => stats?.state === 'running', limitMs)
  }

  /** SIGTERM, and its end. */
  stop(): Promise<void> {
    return this.#end('SIGTERM')
  }

  /** SIGKILL, and its end. */
  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#ended) return
    const ended = once(this.#child, 'exit')
    this.#child.kill(signal)
    await ended
  }
}
