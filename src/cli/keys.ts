import { hostname, userInfo } from 'node:os'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { KeyAdmin } from '../access/key-admin.js'
import { roleMeanings, roles, type KeyRecord, type Quota, type Role } from '../access/key-record.js'
import { systemClock } from '../base/clock.js'
import { parseDurationMs } from '../base/durations.js'
import { createLogger } from '../base/logger.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { parseCount } from './parse-options.js'

interface KeysOptions extends ConnectionOptions {
  namespace?: string
  actor: string
  json?: boolean
}

interface CreateOptions extends KeysOptions {
  name: string
  role: Role
  models?: string[]
  topologies?: string[]
  expires?: number
  requestsPerSecond?: number
  scoresPerDay?: number
  concurrent?: number
}

/** `harrier keys create|list|rotate|revoke` */
export function register(program: Command): void {
  const keys = program.command('keys').description('keys of the model service: who may do what, how much, and until when')
  const common = (command: Command): Command =>
    addConnectionOptions(
      command
        .option('--namespace <name>', 'prefix of the topics of keys')
        .option('--actor <name>', 'who does this, for the audit', `${userInfo().username}@${hostname()}`)
        .option('--json', 'for machines'),
    )
  common(
    keys
      .command('create')
      .description('make a key; it is shown once, and stored as a hash')
      .requiredOption('--name <text>', 'whose key it is, for people')
      .addOption(new Option('--role <role>', roles.map((role) => `${role}: ${roleMeanings[role]}`).join('; ')).choices(roles).default('scorer'))
      .option('--models <names>', 'only these models, separated by commas (default: all)', commaList)
      .option('--topologies <names>', 'only these topologies (default: all)', commaList)
      .option('--expires <duration>', 'until when it works, from now: 12h, 90d (default: for ever)', parseDuration)
      .option('--requests-per-second <n>', 'for each model or topology, and each instance of the service', parseRate)
      .option('--scores-per-day <n>', 'for each model or topology, of all instances together (UTC days)', parseCount)
      .option('--concurrent <n>', 'requests at once, for each model or topology, and each instance', parseCount),
  ).action(create)
  common(keys.command('list').description('every key: prefix, name, role, scopes, quotas, expiry, state')).action(list)
  common(
    keys
      .command('rotate')
      .description('give a key a new secret; the old one works on for an overlap')
      .argument('<prefix>', 'as `harrier keys list` shows it')
      .option('--overlap <duration>', 'how long the old secret still works; 0s ends it at once', parseDuration, 86_400_000),
  ).action(rotate)
  common(keys.command('revoke').description('end a key, on every instance within a second').argument('<prefix>', 'as `harrier keys list` shows it')).action(revoke)
}

async function withKeys<T>(options: KeysOptions, work: (admin: KeyAdmin) => Promise<T>): Promise<never> {
  const connection = await resolveConnections(options)
  const logger = createLogger((line) => process.stderr.write(line), { nowMs: () => systemClock.nowMs(), level: 'warn' })
  const admin = await KeyAdmin.open({ connection, namespace: options.namespace, actor: options.actor, clock: systemClock, logger })
  try {
    await work(admin)
  } finally {
    await admin.close()
  }
  process.exit(0)
}

function create({ name, role, models, topologies, expires, requestsPerSecond, scoresPerDay, concurrent, ...options }: CreateOptions): Promise<never> {
  const quota: Quota = { ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }), ...(scoresPerDay === undefined ? {} : { scoresPerDay }), ...(concurrent === undefined ? {} : { concurrent }) }
  return withKeys(options, async (admin) => {
    const made = await admin.create({ name, role, models: models ?? null, topologies: topologies ?? null, quota, expiresMs: expires === undefined ? null : systemClock.nowMs() + expires })
    tellSecret(made, options.json, 'it is not shown again; send it as Authorization: Bearer')
  })
}

function rotate(prefix: string, { overlap, ...options }: KeysOptions & { overlap: number }): Promise<never> {
  return withKeys(options, async (admin) => tellSecret(await admin.rotate(prefix, overlap), options.json, overlap > 0 ? 'it is not shown again; the old one works on for the overlap' : 'it is not shown again; the old one has ended'))
}

function revoke(prefix: string, options: KeysOptions): Promise<never> {
  return withKeys(options, async (admin) => {
    const record = await admin.revoke(prefix)
    process.stdout.write(options.json ? `${JSON.stringify(shown(record))}\n` : `key ${record.prefix} (${record.name}) is revoked\n`)
  })
}

function list(options: KeysOptions): Promise<never> {
  return withKeys(options, (admin) => {
    const records = admin.list()
    if (options.json) process.stdout.write(`${JSON.stringify(records.map(shown))}\n`)
    else if (records.length === 0) process.stdout.write('no keys; `harrier keys create --name <whose>` makes one\n')
    else process.stdout.write(table(records))
    return Promise.resolve()
  })
}

function tellSecret({ key, record }: { key: string; record: KeyRecord }, json: boolean | undefined, note: string): void {
  if (json) process.stdout.write(`${JSON.stringify({ key, ...shown(record) })}\n`)
  else process.stdout.write(`${key}\n${note}\n`)
}

/** Everything but hashes. */
function shown({ hash: _hash, previous, ...rest }: KeyRecord): object {
  return { ...rest, previousUntilMs: previous?.untilMs ?? null, state: stateOf({ hash: _hash, previous, ...rest }) }
}

function stateOf({ revokedMs, expiresMs, previous }: KeyRecord): string {
  const nowMs = systemClock.nowMs()
  if (revokedMs !== null) return 'revoked'
  if (expiresMs !== null && nowMs >= expiresMs) return 'expired'
  return previous !== null && nowMs < previous.untilMs ? 'in rotation' : 'in force'
}

function table(records: readonly KeyRecord[]): string {
  const day = (ms: number | null): string => (ms === null ? '-' : new Date(ms).toISOString().slice(0, 16).replace('T', ' '))
  const names = (list: readonly string[] | null): string => list?.join(',') ?? 'all'
  const quotaText = ({ requestsPerSecond, scoresPerDay, concurrent }: Quota): string =>
    [requestsPerSecond && `${requestsPerSecond}/s`, scoresPerDay && `${scoresPerDay}/day`, concurrent && `${concurrent} at once`].filter(Boolean).join(' ') || '-'
  const head = ['PREFIX', 'NAME', 'ROLE', 'MODELS', 'TOPOLOGIES', 'QUOTA', 'CREATED', 'BY', 'EXPIRES', 'STATE']
  const cells = records.map((record) => [record.prefix, record.name, record.role, names(record.models), names(record.topologies), quotaText(record.quota), day(record.createdMs), record.createdBy, day(record.expiresMs), stateOf(record)])
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]!.length)))
  return [head, ...cells].map((row) => `${row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd()}\n`).join('')
}

function commaList(text: string): string[] {
  return text.split(',').map((each) => each.trim()).filter((each) => each !== '')
}

function parseRate(text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('a number above 0 is wanted.')
  return value
}

function parseDuration(text: string): number {
  try {
    return parseDurationMs(text)
  } catch {
    throw new InvalidArgumentError('a duration is wanted, for example 30m, 12h or 90d.')
  }
}
