import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock, type Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { stackLimits, stackVersions } from './limits.js'
import { withLock } from './lock.js'
import { logTail } from './log-tail.js'
import { requireMaven } from './programs.js'
import type { OnProgress } from './progress.js'

/** A program that Maven brings: one folder of the library, complete or not there at all. */
export interface Part {
  readonly title: string
  readonly folder: string
  readonly pom: string
  readonly goal: string
  /** What Maven fetches the first time, for the progress line. */
  readonly aboutMegabytes: number
}

const pomFolder = (name: string): string => fileURLToPath(new URL(`../../../stack/${name}/pom.xml`, import.meta.url))

export const libraryParts = {
  kafka: {
    title: `Apache Kafka ${stackVersions.kafka}`,
    folder: `kafka-${stackVersions.kafka}`,
    pom: pomFolder('kafka'),
    goal: 'dependency:copy-dependencies',
    aboutMegabytes: 66,
  },
  registry: {
    title: `Apicurio Registry ${stackVersions.registry}`,
    folder: `apicurio-registry-${stackVersions.registry}`,
    pom: pomFolder('registry'),
    goal: 'dependency:unpack-dependencies',
    aboutMegabytes: 143,
  },
} as const satisfies Record<string, Part>

export type PartName = keyof typeof libraryParts

export function partFolder(lib: string, name: PartName): string {
  return join(lib, libraryParts[name].folder)
}

export function isFetched(lib: string, name: PartName): boolean {
  return existsSync(partFolder(lib, name))
}

/**
 * Fetches what is not in the library yet. Maven writes into a folder aside that is renamed when complete, so an
 * interrupted fetch leaves nothing half; its downloads are kept until then, so the next try resumes.
 * @throws HarrierError PREREQUISITE_MISSING without Maven, STACK_FAILED when Maven fails or stalls.
 */
export async function fetchLibrary(lib: string, names: readonly PartName[], onProgress: OnProgress, clock: Clock = systemClock): Promise<void> {
  await fetchParts(lib, names.map((name) => libraryParts[name]), onProgress, clock)
}

/** The same, for programs of one's own. */
export async function fetchParts(lib: string, parts: readonly Part[], onProgress: OnProgress, clock: Clock = systemClock): Promise<void> {
  const isThere = ({ folder }: Part): boolean => existsSync(join(lib, folder))
  if (parts.every(isThere)) return
  const maven = await requireMaven()
  await withLock(join(lib, 'fetch.lock'), 'fetching the stack', async () => {
    const downloads = join(lib, '.downloads')
    for (const part of parts) {
      if (!isThere(part)) await fetchPart(maven.path, lib, downloads, part, onProgress, clock)
    }
    rmSync(downloads, { recursive: true, force: true })
  }, onProgress, clock)
}

async function fetchPart(maven: string, lib: string, downloads: string, part: Part, onProgress: OnProgress, clock: Clock): Promise<void> {
  const partial = join(lib, `.partial-${part.folder}`)
  const logFile = join(lib, 'maven.log')
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(downloads, { recursive: true })
  const startedMs = clock.monotonicMs()
  const startBytes = folderBytes(downloads).bytes
  onProgress(`fetching ${part.title} by Maven (about ${part.aboutMegabytes} MB, once)`, 'step')

  const log = openSync(logFile, 'w')
  // -C: a file whose checksum does not fit fails the fetch. A repository of our own makes the bytes countable.
  const args = ['-B', '-C', '-f', part.pom, part.goal, `-DoutputDirectory=${partial}`, '-DincludeScope=runtime', `-Dmaven.repo.local=${downloads}`]
  const child = spawn(maven, args, { stdio: ['ignore', log, log], detached: true })
  closeSync(log)
  const stop = (): void => void killGroup(child.pid)
  process.once('exit', stop)
  let code: number | null | undefined
  child.on('error', () => (code = null))
  child.on('close', (exitCode) => (code = exitCode))
  let lastBytes = startBytes
  let lastGrowthMs = startedMs
  while (code === undefined) {
    await clock.sleep(500)
    const { bytes, jars } = folderBytes(downloads)
    const nowMs = clock.monotonicMs()
    if (bytes !== lastBytes) lastGrowthMs = nowMs
    lastBytes = bytes
    const megabytes = (bytes - startBytes) / 1e6
    const rate = megabytes / ((nowMs - startedMs) / 1000)
    onProgress(`  ${megabytes.toFixed(0)} of about ${part.aboutMegabytes} MB, ${jars} files, ${rate.toFixed(1)} MB/s`, 'tick')
    if (nowMs - lastGrowthMs > stackLimits.fetchIdleMsMax) stop()
  }
  process.removeListener('exit', stop)
  if (code !== 0) {
    throw new HarrierError('STACK_FAILED', `Maven could not fetch ${part.title}:\n${logTail(logFile)}`, {
      remedy: `see whether Maven reaches its repository (a proxy goes into ~/.m2/settings.xml); the whole log is ${logFile}`,
    })
  }
  renameSync(partial, join(lib, part.folder))
  onProgress(`fetched ${part.title} in ${((clock.monotonicMs() - startedMs) / 1000).toFixed(0)} s`, 'step')
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

function folderBytes(folder: string): { bytes: number; jars: number } {
  const sum = { bytes: 0, jars: 0 }
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    // A file may be renamed between the listing and the question.
    sum.bytes += statSync(join(entry.parentPath ?? entry.path, entry.name), { throwIfNoEntry: false })?.size ?? 0
    if (/\.(jar|gz)$/.test(entry.name)) sum.jars++
  }
  return sum
}
