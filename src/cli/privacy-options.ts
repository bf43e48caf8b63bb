import type { Command } from 'commander'
import { loadPrivacyKeys, privacyKeysVariable, type PrivacyKeys } from '../privacy/privacy-keys.js'

/** Of the commands that make or open tokens and dead letters. */
export interface PrivacyOptions {
  privacyKeys?: string
}

export function addPrivacyOptions(command: Command): Command {
  return command.option('--privacy-keys <file>', `keys of tokens and encrypted dead letters, a file of \`harrier privacy create\` (default: what ${privacyKeysVariable} names)`)
}

/** Undefined where none are named. Errors: CONFIG_INVALID. */
export function privacyKeysOf({ privacyKeys }: PrivacyOptions): PrivacyKeys | undefined {
  return loadPrivacyKeys({ file: privacyKeys })
}
