import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemClock, type Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { uniqueSuffix } from '../base/prng.js'
import { stackLimits } from './limits.js'
import { processIdentity } from './owned-process.js'
import type { OnProgress } from './progress.js'

/**
 * Runs `work` while no other process holds the lock file. The file names its holder; a lock whose holder has died is
 * taken over. Two that take over the same dead lock are told apart by the rename: only one finds the dead content.
 */
export async function withLock<T>(path: string, what: string, work: () => Promise<T>, onProgress: OnProgress, clock: Clock = systemClock): Promise<T> {
  mkdirSync(dirname(path), { recursive: true })
  const mine = `${process.pid} ${processIdentity(process.pid) ?? ''} ${uniqueSuffix()}`
  const deadlineMs = clock.monotonicMs() + stackLimits.lockWaitMsMax
  let said = false
  while (!acquire(path, mine)) {
    const holder = holderOf(path)
    if (!holder || takeOver(path, holder)) continue
    if (!said) onProgress(`waiting for process ${holder.pid}, which is busy with ${what}`, 'step')
    said = true
    if (clock.monotonicMs() > deadlineMs) {
      throw new HarrierError('STACK_FAILED', `process ${holder.pid} has held ${path} for too long`, { remedy: 'end that process, then try again' })
    }
    await clock.sleep(stackLimits.pollMs)
  }
  try {
    return await work()
  } finally {
    if (holderOf(path)?.text === mine) rmSync(path, { force: true })
  }
}

function acquire(path: string, mine: string): boolean {
  // Written aside and linked, so that the lock never exists without its content.
  const aside = `${path}.${uniqueSuffix()}`
  writeFileSync(aside, mine)
  try {
    linkSync(aside, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(aside, { force: true })
  }
}

function holderOf(path: string): { pid: number; identity: string; text: string } | undefined {
  try {
    const text = readFileSync(path, 'utf8')
    const [pid, identity] = text.split(' ')
    return { pid: Number(pid), identity: identity ?? '', text }
  } catch {
    return undefined
  }
}

function takeOver(path: string, holder: { pid: number; identity: string; text: string }): boolean {
  if (processIdentity(holder.pid) === holder.identity) return false
  const aside = `${path}.${uniqueSuffix()}`
  try {
    renameSync(path, aside)
    // Somebody else took over first and this is a living lock: put it back.
    if (holderOf(aside)?.text !== holder.text) linkSync(aside, path)
  } catch {
    // Already taken over by another; the next round sees whose it is.
  }
  rmSync(aside, { force: true })
  return true
}
