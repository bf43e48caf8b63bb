import { createHmac, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { z } from 'zod'
import { HarrierError } from '../base/errors.js'
import { Secret } from '../connection/secret.js'
import type { SealKey } from './sealed-letter.js'
import { tokenVersionMax } from './token-text.js'
import { tokenLimits, type TokenKey } from './tokeniser.js'

/** Names the file of keys, or is its content: a text that begins with a brace. */
export const privacyKeysVariable = 'HARRIER_PRIVACY_KEYS'

const keyBytes = 32
const keyIdBytes = 6
const fileBytesMax = 1 << 20

const entry = { version: z.number().int().min(1).max(tokenVersionMax), key: z.string().regex(/^[A-Za-z0-9_-]{43}$/, 'a key is 32 bytes in base64url; `harrier privacy create` makes it') }
const fileSchema = z.strictObject({
  tokens: z.array(z.strictObject({ ...entry, state: z.enum(['in-force', 'retired']) })).min(1),
  deadLetters: z.array(z.strictObject(entry)).min(1),
})
type KeyFile = z.infer<typeof fileSchema>

/** Keys of personal values and dead letters, oldest first. */
export interface PrivacyKeys {
  /** All of them: those that are not in force find what they have made. */
  readonly tokens: readonly (TokenKey & { readonly state: 'in-force' | 'retired' })[]
  readonly deadLetters: readonly SealKey[]
}

/** The keys that outputs are written with: the oldest joins, a second one is on its way to be the one. */
export function tokensInForce({ tokens }: PrivacyKeys): TokenKey[] {
  return tokens.filter(({ state }) => state === 'in-force')
}

/** The key that new dead letters are encrypted with. */
export function newestSeal({ deadLetters }: PrivacyKeys): SealKey {
  return deadLetters.at(-1)!
}

export interface KeyWhere {
  /** As --privacy-keys names it; absent: what the environment says. */
  readonly file?: string | undefined
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** The keys of a file or of the environment; undefined where neither names any. Errors: CONFIG_INVALID, which shows no key. */
export function loadPrivacyKeys({ file, env = process.env }: KeyWhere): PrivacyKeys | undefined {
  const text = env[privacyKeysVariable]
  if (file === undefined && text?.trimStart().startsWith('{') === true) return toKeys(parse(new Secret(text), `the variable ${privacyKeysVariable}`))
  const path = file ?? (text === '' ? undefined : text)
  return path === undefined ? undefined : toKeys(readKeyFile(path))
}

/** Makes a file of new keys, of which each has version 1. Errors: CONFIG_INVALID where there is one already. */
export function createKeyFile(path: string): PrivacyKeys {
  const made: KeyFile = { tokens: [{ version: 1, key: newKey(), state: 'in-force' }], deadLetters: [{ version: 1, key: newKey() }] }
  try {
    write(path, made, 'wx')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new HarrierError('CONFIG_INVALID', code === 'EEXIST' ? `${path} is there already: keys are never written over` : `${path} cannot be written: ${code ?? 'error'}`, { remedy: 'name another file; `harrier privacy rotate` adds versions to this one' })
  }
  return toKeys(made)
}

/** Adds the next version: of tokens it is written beside the one that joins, of dead letters it takes over. Errors: CONFIG_INVALID. */
export function rotateKeys(path: string, of: 'tokens' | 'dead-letters'): PrivacyKeys {
  const file = readKeyFile(path)
  const inForce = file.tokens.filter(({ state }) => state === 'in-force')
  if (of === 'dead-letters') file.deadLetters.push({ version: file.deadLetters.at(-1)!.version + 1, key: newKey() })
  else if (inForce.length >= tokenLimits.inForceMax) {
    const both = inForce.map(({ version }) => version).join(' and ')
    throw new HarrierError('CONFIG_INVALID', `${path}: versions ${both} are in force, and no more than ${tokenLimits.inForceMax} can be`, { remedy: `when all readers join by version ${inForce.at(-1)!.version}, retire the other: harrier privacy retire ${path}` })
  } else file.tokens.push({ version: file.tokens.at(-1)!.version + 1, key: newKey(), state: 'in-force' })
  return toKeys(replace(path, file))
}

/** Takes the oldest version of tokens in force out of it: the next one joins from then on. It still finds what it has made. Errors: CONFIG_INVALID. */
export function retireTokenKey(path: string): PrivacyKeys {
  const file = readKeyFile(path)
  const [oldest, next] = file.tokens.filter(({ state }) => state === 'in-force')
  if (!oldest || !next) throw new HarrierError('CONFIG_INVALID', `${path}: only version ${oldest?.version ?? 'none'} of tokens is in force`, { remedy: `make the next one first: harrier privacy rotate ${path}` })
  oldest.state = 'retired'
  return toKeys(replace(path, file))
}

function readKeyFile(path: string): KeyFile {
  let text: string
  let mode: number
  try {
    const { mode: found, size } = statSync(path)
    mode = found
    if (size > fileBytesMax) throw new HarrierError('CONFIG_INVALID', `${path} has ${size} bytes: no file of keys has more than ${fileBytesMax}`)
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof HarrierError) throw error
    throw new HarrierError('CONFIG_INVALID', `the file of privacy keys ${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}`, { remedy: `name it with --privacy-keys or ${privacyKeysVariable}; \`harrier privacy create\` makes one` })
  }
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new HarrierError('CONFIG_INVALID', `the file of privacy keys ${path} can be read by others (mode ${(mode & 0o777).toString(8)})`, { remedy: `chmod 600 ${path}; who may have read it may know the keys` })
  }
  return parse(new Secret(text), path)
}

/** Messages name places in the file, never what stands there. */
function parse(content: Secret, where: string): KeyFile {
  let json: unknown
  try {
    json = JSON.parse(content.reveal())
  } catch {
    throw new HarrierError('CONFIG_INVALID', `${where} is no JSON`, { remedy: '`harrier privacy create` makes a file of keys' })
  }
  const parsed = fileSchema.safeParse(json)
  const problems = parsed.success ? orderProblems(parsed.data) : parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`)
  if (parsed.success && problems.length === 0) return parsed.data
  throw new HarrierError('CONFIG_INVALID', `${where} is no file of privacy keys: ${problems.join('; ')}`, { remedy: 'correct the named place; `harrier privacy show` lists versions, `harrier privacy create` makes a file' })
}

function orderProblems({ tokens, deadLetters }: KeyFile): string[] {
  const problems: string[] = []
  for (const [name, list] of [['tokens', tokens], ['deadLetters', deadLetters]] as const) {
    for (const [i, { version }] of list.entries()) if (i > 0 && version <= list[i - 1]!.version) problems.push(`${name}.${i}.version: ${version} does not follow ${list[i - 1]!.version}`)
  }
  const inForce = tokens.filter(({ state }) => state === 'in-force').length
  if (inForce < 1 || inForce > tokenLimits.inForceMax) problems.push(`tokens: ${inForce} versions are in-force, one or ${tokenLimits.inForceMax} must be`)
  return problems
}

function toKeys({ tokens, deadLetters }: KeyFile): PrivacyKeys {
  return {
    tokens: tokens.map(({ version, key, state }) => ({ version, state, ...keyOf(key) })),
    deadLetters: deadLetters.map(({ version, key }) => ({ version, ...keyOf(key) })),
  }
}

function keyOf(text: string): { key: KeyObject; id: string } {
  const key = createSecretKey(Buffer.from(text, 'base64url'))
  return { key, id: createHmac('sha256', key).update('harrier key id').digest().subarray(0, keyIdBytes).toString('hex') }
}

function newKey(): string {
  return randomBytes(keyBytes).toString('base64url')
}

/** Whole or not at all. */
function replace(path: string, file: KeyFile): KeyFile {
  const beside = `${path}.new`
  try {
    rmSync(beside, { force: true })
    write(beside, file, 'wx')
    renameSync(beside, path)
  } catch (error) {
    throw new HarrierError('CONFIG_INVALID', `${path} cannot be replaced: ${(error as NodeJS.ErrnoException).code ?? 'error'}`, { remedy: 'its folder must let us write' })
  }
  return file
}

function write(path: string, file: KeyFile, flags: string): void {
  const opened = openSync(path, flags, 0o600)
  try {
    writeSync(opened, `${JSON.stringify(file, null, 2)}\n`)
    fsyncSync(opened)
  } finally {
    closeSync(opened)
  }
}
