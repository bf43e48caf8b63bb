import { spawn } from 'node:child_process'
import type { OwnedProcess } from './owned-process.js'

/**
 * Watches over processes that must not outlive this one, however it ends. A shell reads from a pipe whose only writer is
 * this process: when the pipe closes, it kills them and removes their folder.
 */
export class Guardian {
  readonly #stops: (() => void)[] = []

  guard(service: OwnedProcess, folder: string): void {
    const script = 'trap "" INT TERM HUP; read -r _; kill -KILL "$1"; sleep 0.3; rm -rf "$2"'
    const watcher = spawn('/bin/sh', ['-c', script, 'harrier-guardian', String(service.pid), folder], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
    watcher.on('error', () => undefined)
    watcher.stdin?.on('error', () => undefined)
    // The pipe must not keep this process alive.
    ;(watcher.stdin as unknown as { unref(): void }).unref()
    watcher.unref()
    this.#stops.push(() => watcher.kill('SIGKILL'))
  }

  /** Call before stopping the processes, so that a watcher never signals a number that has passed to another. */
  release(): void {
    for (const stop of this.#stops.splice(0)) stop()
  }
}
