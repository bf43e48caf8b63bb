import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/** Where the stack keeps what it fetched, wrote and started. */
export interface StateFolder {
  readonly root: string
  /** Fetched programs; shared by all stacks of a user. */
  readonly lib: string
  readonly kafkaData: string
  readonly registryData: string
  readonly logs: string
  /** The record of what was started: see stack-record.ts. */
  readonly record: string
  readonly lock: string
}

/** HARRIER_STATE_DIR, else $XDG_STATE_HOME/harrier, else ~/.local/state/harrier. */
export function defaultStateDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env.HARRIER_STATE_DIR) return resolve(env.HARRIER_STATE_DIR)
  return join(env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'harrier')
}

export function stateFolder(root: string, libDir = join(root, 'lib')): StateFolder {
  return {
    root,
    lib: libDir,
    kafkaData: join(root, 'kafka'),
    registryData: join(root, 'registry'),
    logs: join(root, 'logs'),
    record: join(root, 'stack.json'),
    lock: join(root, 'stack.lock'),
  }
}
