import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defaultStateDir } from '../../src/stack/state-folder.js'

const bin = fileURLToPath(new URL('../../../bin/harrier.js', import.meta.url))

/** A state folder of a test's own, with the user's fetched programs in it, so that no test fetches them again. */
export function temporaryStateDir(options: { withLibrary: boolean }): string {
  const stateDir = mkdtempSync(join(tmpdir(), 'harrier-stack-test-'))
  if (options.withLibrary) {
    const lib = join(defaultStateDir(), 'lib')
    mkdirSync(lib, { recursive: true })
    symlinkSync(lib, join(stateDir, 'lib'))
  }
  return stateDir
}

export function harrier(args: string[], env: NodeJS.ProcessEnv): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [bin, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

/** Puts a shell script in the place of a program. Returns the folder for the PATH. */
export function fakeProgram(folder: string, name: string, script: string): string {
  const path = join(folder, 'bin')
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, name), `#!/bin/sh\n${script}\n`)
  chmodSync(join(path, name), 0o755)
  return path
}

/** The processes whose command line or working folder names `text`. Linux only. */
export function processesNaming(text: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text)
      } catch {
        return false
      }
    })
}

/** Addresses on which a process listens, as the kernel writes them (hexadecimal address:port). Linux only. */
export function listeningAddresses(pid: number): string[] {
  const sockets = new Set<string>()
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1]
      if (inode) sockets.add(inode)
    } catch {
      // Closed between the listing and the question.
    }
  }
  return ['/proc/net/tcp', '/proc/net/tcp6'].filter(existsSync).flatMap((table) =>
    readFileSync(table, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A' && sockets.has(fields[9] ?? ''))
      .map((fields) => fields[1]!),
  )
}
