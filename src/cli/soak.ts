import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { HarrierError } from '../base/errors.js'
import { systemClock } from '../base/clock.js'
import { soak, type SoakResult } from '../soak/soak.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions, type Connections } from '../stack/connections.js'
import { LocalStack } from '../stack/local-stack.js'
import { parseCount } from './parse-options.js'

/** Records of a group for each of its kills, when --events does not say. */
const eventsPerKill = 400
const eventsLeast = 5000
/** Between the kill of the broker and its next start. */
const brokerAwayMs = 1500

interface SoakCommandOptions extends ConnectionOptions {
  kills: number
  seed: number
  events?: number
  groups: number
  instances: number
  partitions: number
  workers: number
  ownStack?: boolean
  keep?: boolean
  json?: boolean
}

/** `harrier soak` */
export function register(program: Command): void {
  const command = program
    .command('soak')
    .description('kill engines at seeded moments on a real broker, and prove that no score was lost, doubled or changed')
    .option('--kills <n>', 'SIGKILLs in all', parseCount, 20)
    .option('--seed <n>', 'reproduces records and choices', parseCount, 1)
    .option('--events <n>', `records of each group (default: ${eventsPerKill} for each of its kills, at least ${eventsLeast})`, parseCount)
    .option('--groups <n>', 'independent groups that share the kills', parseCount, 1)
    .option('--instances <n>', 'processes of a group', parseCount, 3)
    .option('--partitions <n>', 'partitions of the input', parseCount, 6)
    .option('--workers <n>', 'threads of a process that run models', parseCount, 1)
    .option('--own-stack', 'start a broker for this run alone, which is killed and started again too')
    .option('--keep', 'leave the topics for a look afterwards')
    .option('--json', 'the result as one line of JSON at the end')
  addConnectionOptions(command).action(runSoak)
}

async function runSoak(options: SoakCommandOptions): Promise<void> {
  if (options.kills < options.groups) throw new HarrierError('USAGE', `--groups ${options.groups} is more than --kills ${options.kills}`)
  if (options.ownStack && (options.brokers ?? options.registry ?? options.connection)) throw new HarrierError('USAGE', '--own-stack and --connection, --brokers or --registry exclude each other')
  const tell = (text: string): void => void process.stderr.write(`${text}\n`)
  const own = options.ownStack ? new LocalStack({ stateDir: mkdtempSync(join(tmpdir(), 'harrier-soak-stack-')), ephemeral: true }) : undefined
  if (!own) tell('broker restarts are left out: the broker is not the soak\'s own (see --own-stack)')
  const stopping = new AbortController()
  const stop = (): void => {
    if (stopping.signal.aborted) process.exit(130)
    tell('stopping; press Ctrl-C again to leave at once, topics and all')
    stopping.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  try {
    const connections: Connections = own ? { ...(await own.up((text) => tell(text))), source: 'local' } : await resolveConnections(options)
    const restartBroker = own && (async (): Promise<void> => {
      await own.killBroker()
      await systemClock.sleep(brokerAwayMs)
      await own.startBroker()
    })
    const events = options.events ?? Math.max(eventsLeast, Math.ceil((eventsPerKill * options.kills) / options.groups))
    const result = await soak({ ...options, connections, events, keep: options.keep ?? false, restartBroker, signal: stopping.signal, onProgress: tell })
    process.exitCode = stopping.signal.aborted ? 130 : report(result, options.json ?? false, tell)
  } finally {
    await own?.down()
  }
  process.exit()
}

/** Prints the result and returns the exit code. */
function report(result: SoakResult, json: boolean, tell: (text: string) => void): number {
  const findings = tellFindings(result, tell)
  process.stdout.write(json ? `${JSON.stringify(jsonLine(result))}\n` : table(result))
  return findings > 0 ? 1 : 0
}

function jsonLine({ groups, ...line }: SoakResult): object {
  return { ...line, groups: groups.length - 1, deathsBy: groups.flatMap(({ outcome }) => outcome.deaths.map(({ instanceId, how, lastLines }) => `${instanceId} ${how}: ${lastLines.at(-1) ?? ''}`)) }
}

/** Everything that must be nothing. */
function tellFindings(result: SoakResult, tell: (text: string) => void): number {
  for (const { name, examples, outcome } of result.groups) {
    for (const example of examples) tell(`${name}: ${example}`)
    for (const { instanceId, how, lastLines } of outcome.deaths) tell(`${name}: ${instanceId} ended by itself (${how})\n  ${lastLines.slice(-8).join('\n  ')}`)
    if (outcome.stalled !== undefined) tell(`${name}: given up: ${outcome.stalled}`)
  }
  return result.lost + result.doubled + result.changed + result.unproved + result.disorder + (result.deaths - result.fenced) + result.stalled
}

function table(result: SoakResult): string {
  const rows: (readonly [string, string | number])[] = [
    ['kills', `${result.kills} (${list(result.killsByKind)})`],
    ['of processes that were', list(result.killsByState)],
    ['of them in a transaction', `${result.inTransaction} (${result.inCommit} in its commit, at least)`],
    ['steps', list(result.steps)],
    ['processes added, removed', `${result.added}, ${result.removed}`],
    ['events', result.events],
    ['lost', result.lost],
    ['doubled', result.doubled],
    ['changed', result.changed],
    ['unproved', result.unproved],
    ['disorder', result.disorder],
    ['processes that ended by themselves', `${result.deaths} (${result.fenced} of them fenced by a broker restart or a stand-still)`],
    ['groups that stopped', result.stalled],
    ['tasks restored', `${result.restores} (${result.restoredRecords} records folded again)`],
    ['seconds', result.seconds],
    ['seed', result.seed],
  ]
  return `\n${rows.map(([name, value]) => `${name.padEnd(36)}${value.toLocaleString('en')}`).join('\n')}\n`
}

function list(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(', ')
}
