import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { systemClock, type Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { stackLimits } from './limits.js'

/** A process that we started, told apart from a later one with the same number by when it started. */
export interface OwnedProcess {
  pid: number
  /** Boot and start time of the process; never the same for two processes with one pid. */
  identity: string
}

/** The identity of a living process; undefined when there is none (a zombie counts as none). */
export function processIdentity(pid: number): string | undefined {
  try {
    if (process.platform !== 'linux') return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold anything; what follows it is field 3 (state) onwards, the start time is field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}:${fields[19]}`
  } catch {
    return undefined
  }
}

export function isAlive(owned: OwnedProcess): boolean {
  return processIdentity(owned.pid) === owned.identity
}

/** Sends a signal, unless the process is gone or its number now belongs to another. */
export function signal(owned: OwnedProcess, name: 'SIGTERM' | 'SIGKILL'): void {
  if (!isAlive(owned)) return
  try {
    process.kill(owned.pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** SIGTERM, then SIGKILL after `graceMs` (0: at once). Returns when the process is gone. */
export async function terminate(owned: OwnedProcess, graceMs: number = stackLimits.stopGraceMsMax, clock: Clock = systemClock): Promise<void> {
  if (graceMs > 0) {
    signal(owned, 'SIGTERM')
    if (await gone(owned, graceMs, clock)) return
  }
  signal(owned, 'SIGKILL')
  if (await gone(owned, stackLimits.killMsMax, clock)) return
  throw new HarrierError('STACK_FAILED', `process ${owned.pid} did not end ${stackLimits.killMsMax} ms after SIGKILL`)
}

async function gone(owned: OwnedProcess, limitMs: number, clock: Clock): Promise<boolean> {
  const deadlineMs = clock.monotonicMs() + limitMs
  while (isAlive(owned)) {
    if (clock.monotonicMs() > deadlineMs) return false
    await clock.sleep(20)
  }
  return true
}
