import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemClock, type Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Answer } from './health.js'
import { stackLimits } from './limits.js'
import { logTail } from './log-tail.js'
import { isAlive, processIdentity, type OwnedProcess } from './owned-process.js'

/**
 * Starts a long-running process in a session of its own: it outlives this one, and Ctrl-C here does not reach it.
 * Its output goes to `logFile`; the log of the run before is kept as `<logFile>.1`.
 */
export function startService(name: string, command: string[], logFile: string): OwnedProcess {
  mkdirSync(dirname(logFile), { recursive: true })
  if (existsSync(logFile)) renameSync(logFile, `${logFile}.1`)
  const log = openSync(logFile, 'a')
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', log, log], detached: true, cwd: dirname(logFile), env: serviceEnvironment() })
  closeSync(log)
  child.on('error', () => undefined)
  child.unref()
  const identity = child.pid === undefined ? undefined : processIdentity(child.pid)
  if (child.pid === undefined || identity === undefined) throw new HarrierError('STACK_FAILED', `the ${name} ended at once:\n${logTail(logFile)}`)
  return { pid: child.pid, identity }
}

/**
 * What a service sees of the environment. Both read settings from variables with common names (LOG_LEVEL, HTTP_PORT),
 * and those of this shell are not meant for them.
 */
export function serviceEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const kept = ['PATH', 'HOME', 'TMPDIR', 'JAVA_HOME', 'JAVA_TOOL_OPTIONS']
  const entries = kept.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]))
  // Java reads paths with letters beyond ASCII only in a UTF-8 locale.
  return { ...Object.fromEntries(entries), LC_ALL: 'C.UTF-8' }
}

/** @throws HarrierError STACK_FAILED, with the tail of the log, when the process dies or does not answer within `limitMs`. */
export async function waitUntilAnswers(
  name: string,
  service: OwnedProcess,
  logFile: string,
  limitMs: number,
  ask: () => Promise<Answer>,
  clock: Clock = systemClock,
): Promise<void> {
  const deadlineMs = clock.monotonicMs() + limitMs
  let last: Answer = { ok: false, detail: 'never asked' }
  for (;;) {
    if (!isAlive(service)) throw failed(name, 'ended while it was starting', logFile)
    last = await ask()
    if (last.ok) return
    if (clock.monotonicMs() > deadlineMs) throw failed(name, `did not answer within ${limitMs} ms (${last.detail})`, logFile)
    await clock.sleep(stackLimits.pollMs)
  }
}

function failed(name: string, what: string, logFile: string): HarrierError {
  return new HarrierError('STACK_FAILED', `the ${name} ${what}; the end of ${logFile}:\n${logTail(logFile)}`, {
    remedy: 'read the log; `harrier stack down` and `harrier stack up` try again, `harrier stack down --purge` starts from nothing',
  })
}
