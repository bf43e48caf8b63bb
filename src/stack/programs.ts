import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { withTimeout } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { javaMajorMin, stackLimits } from './limits.js'

export interface Ran {
  /** null when the program could not be started or was stopped. */
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a short program to its end, at most `limitMs`. Never throws: a program that is not there has code null. */
export async function runProgram(file: string, args: string[], options: { limitMs?: number; env?: NodeJS.ProcessEnv } = {}): Promise<Ran> {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: options.env ?? process.env })
  const ran: Ran = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', (chunk: Buffer) => (ran.stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (ran.stderr += chunk.toString()))
  const ended = new Promise<Ran>((resolve) => {
    child.on('error', (error) => resolve({ ...ran, stderr: error.message }))
    child.on('close', (code) => resolve({ ...ran, code }))
  })
  const limitMs = options.limitMs ?? stackLimits.answerMsMax
  return withTimeout(ended, limitMs, () => new Error('timed out')).catch(() => {
    child.kill('SIGKILL')
    return { ...ran, stderr: `${ran.stderr}no answer within ${limitMs} ms` }
  })
}

/** The full path of a program on the PATH. */
export function findProgram(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  return (env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export interface Program {
  path: string
  version: string
  major: number
}

/** $JAVA_HOME/bin/java, else `java` on the PATH. */
export async function findJava(env: NodeJS.ProcessEnv = process.env): Promise<Program | undefined> {
  const home = env.JAVA_HOME ? join(env.JAVA_HOME, 'bin', 'java') : undefined
  const path = home && isExecutable(home) ? home : findProgram('java', env)
  if (!path) return undefined
  const { stderr, stdout } = await runProgram(path, ['-version'], { env, limitMs: stackLimits.answerMsMax * 3 })
  const version = /version "([^"]+)"/.exec(stderr + stdout)?.[1]
  if (!version) return undefined
  // "1.8.0_292" is Java 8; "17.0.15" is Java 17.
  const parts = version.split(/[._-]/).map(Number)
  return { path, version, major: (parts[0] === 1 ? parts[1] : parts[0]) ?? 0 }
}

export async function findMaven(env: NodeJS.ProcessEnv = process.env): Promise<Program | undefined> {
  const path = findProgram('mvn', env)
  if (!path) return undefined
  const { stdout } = await runProgram(path, ['-B', '--version'], { env, limitMs: stackLimits.answerMsMax * 3 })
  const version = /Apache Maven (\d[\w.-]*)/.exec(stdout)?.[1]
  return version ? { path, version, major: Number(version.split('.')[0]) } : undefined
}

export type DockerEngine = { state: 'answers'; version: string; compose: boolean } | { state: 'no engine'; reason: string } | { state: 'absent' }

/** Docker counts only when its engine answers; a client alone starts nothing. */
export async function findDocker(env: NodeJS.ProcessEnv = process.env): Promise<DockerEngine> {
  const path = findProgram('docker', env)
  if (!path) return { state: 'absent' }
  const { code, stdout, stderr } = await runProgram(path, ['version', '--format', '{{.Server.Version}}'], { env })
  const version = stdout.trim()
  if (code !== 0 || version === '' || version.startsWith('<')) return { state: 'no engine', reason: stderr.trim().split('\n')[0] ?? '' }
  const compose = await runProgram(path, ['compose', 'version', '--short'], { env })
  return { state: 'answers', version, compose: compose.code === 0 }
}

const orElse = 'or start Docker, or name your own cluster with --brokers and --registry'

export async function requireJava(env: NodeJS.ProcessEnv = process.env): Promise<Program> {
  const java = await findJava(env)
  const remedy = `apt-get install openjdk-17-jre-headless (or any Java ${javaMajorMin} or later), ${orElse}`
  if (!java) throw new HarrierError('PREREQUISITE_MISSING', 'the local stack needs Java, and there is no `java` on the PATH', { remedy })
  if (java.major < javaMajorMin) {
    throw new HarrierError('PREREQUISITE_MISSING', `the local stack needs Java ${javaMajorMin} or later; ${java.path} is ${java.version}`, { remedy })
  }
  return java
}

export async function requireMaven(env: NodeJS.ProcessEnv = process.env): Promise<Program> {
  const maven = await findMaven(env)
  if (maven) return maven
  throw new HarrierError('PREREQUISITE_MISSING', 'fetching the local stack needs Maven once, and there is no `mvn` on the PATH', {
    remedy: `apt-get install maven, ${orElse}`,
  })
}
