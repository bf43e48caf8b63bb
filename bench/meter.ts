import { readFileSync } from 'node:fs'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/base/clock.js'
import type { KafkaAdmin } from '../src/consumer/admin.js'

const ticksPerSecond = 100
const watchIntervalMs = 50
/** A run that commits nothing for so long has failed. */
const stalledMsMax = 60_000

export interface Measured {
  readonly perSecond: number
  /** CPU of the process and its children, user and system, over the same interval. */
  readonly cpuMicrosPerEvent: number
  /** Of the process and its children, at the end. */
  readonly residentBytes: number
  readonly events: number
  readonly seconds: number
}

/** A process and its children, theirs too. */
function familyOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  return [pid, ...children.flatMap(familyOf)]
}

/** CPU seconds of a process and its children, with all their threads. */
export function cpuSecondsOf(pid: number): number {
  return familyOf(pid).reduce((sum, each) => {
    const fields = readFileSync(`/proc/${each}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return sum + (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  }, 0)
}

/** Resident memory of a process and its children, bytes. */
export function residentBytesOf(pid: number): number {
  return familyOf(pid).reduce((sum, each) => sum + Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${each}/status`, 'utf8'))![1]) * 1024, 0)
}

/**
 * Starts a process that works off a topic and measures it from its first commit to its last, by the committed offsets
 * of its group as another client reads them: what has not been committed does not count. The first `warm` events are not measured.
 */
export async function measureGroup(admin: KafkaAdmin, options: { group: string; topic: string; total: number; warm?: number; start: () => ChildProcess }): Promise<Measured> {
  const { group, topic, total, warm = 0 } = options
  const process = options.start()
  let exited = false
  process.once('exit', () => (exited = true))
  let first: { atMs: number; events: number; cpu: number } | undefined
  let progressAtMs = systemClock.monotonicMs()
  let committed = 0
  try {
    for (;;) {
      const offsets = await admin.committedOffsets(group, topic)
      const atMs = systemClock.monotonicMs()
      const now = [...offsets.values()].reduce<number>((sum, offset) => sum + (offset ?? 0), 0)
      if (now > committed) progressAtMs = atMs
      committed = now
      if (exited) throw new Error(`the process of group ${group} ended at ${now} of ${total} events`)
      if (atMs - progressAtMs > stalledMsMax) throw new Error(`group ${group} stalled at ${now} of ${total} events`)
      const cpu = cpuSecondsOf(process.pid!)
      if (now > warm) first ??= { atMs, events: now, cpu }
      if (now >= total && first) {
        const events = total - first.events
        const seconds = (atMs - first.atMs) / 1000
        return { events, seconds, perSecond: events / seconds, cpuMicrosPerEvent: ((cpu - first.cpu) / events) * 1e6, residentBytes: residentBytesOf(process.pid!) }
      }
      await systemClock.sleep(watchIntervalMs)
    }
  } finally {
    await stopProcess(process)
  }
}

export async function stopProcess(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return
  const ended = once(process, 'exit')
  process.kill('SIGTERM')
  await ended
}

export const harrierBin = fileURLToPath(new URL('../../bin/harrier.js', import.meta.url))

export interface StartOptions {
  /** Go before the script: a profiler, for example. */
  readonly nodeArgs?: readonly string[]
  /** Whether its log is shown; default: it is not. */
  readonly stderr?: 'inherit'
}

/** Starts `harrier` with these arguments; stdout is the caller's. */
export function startHarrier(args: readonly string[], { nodeArgs = [], stderr }: StartOptions = {}): ChildProcess {
  return spawn(process.execPath, [...nodeArgs, harrierBin, ...args], { stdio: ['ignore', 'pipe', stderr ?? 'ignore'] })
}

/** Runs `harrier` to its end. Errors: when it ends otherwise than well. */
export async function runHarrier(args: readonly string[]): Promise<void> {
  const child = startHarrier(args)
  child.stdout!.resume()
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`harrier ${args.join(' ')} ended with ${code ?? 'a signal'}`)
}

/** Starts a script of its own process; stderr is shown. */
export function startScript(url: URL, args: readonly string[], { nodeArgs = [] }: StartOptions = {}): ChildProcess {
  return spawn(process.execPath, [...nodeArgs, fileURLToPath(url), ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
