import { existsSync } from 'node:fs'
import { hostname, userInfo } from 'node:os'
import { basename } from 'node:path'
import { InvalidArgumentError, type Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { silentLogger } from '../base/logger.js'
import { sha256OfFile } from '../inference/loaded-model.js'
import type { Release, ReleasedModel } from '../registry/release.js'
import type { StageReleases } from '../registry/stage-releases.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { loadTopology, type Topology } from '../topology/load-topology.js'
import { modelsFolder } from '../topology/open-scorer.js'
import { ReleaseDesk, type InForce, type Signature } from '../topology/release-desk.js'
import { modelsAt } from './object-places.js'
import { parseCount } from './parse-options.js'
import { tableText } from './view/table.js'

export interface StageOptions extends ConnectionOptions {
  topology: string
  stage?: string
  namespace?: string
  models: string
  json?: boolean
}

interface ReleaseOptions extends StageOptions {
  actor: string
  reason: string
  wait: number
}

const lookEveryMs = 200

/** `harrier models release|rollback|canary|shadow|withdraw|ledger` */
export function registerReleases(models: Command): void {
  const writing = (name: string, description: string): Command =>
    stageOptions(models.command(name).description(description))
      .requiredOption('--reason <text>', 'why, for those who read the ledger')
      .option('--actor <name>', 'who does it', defaultActor())
      .option('--wait <seconds>', 'how long it is waited for that every partition scores by it', seconds, 10)
  writing('release', 'make a model version the champion of a stage: it decides from the next batch on, in every process')
    .argument('<model>', '<name>@<version>')
    .action((model: string, options: ReleaseOptions) => change(options, async (desk, signature) => desk.change({ action: 'release', ...(await desk.version(model)) }, signature)))
  writing('rollback', 'one call back: ends a canary, or brings back the last champion')
    .action((options: ReleaseOptions) => change(options, (desk, signature) => desk.change({ action: 'rollback' }, signature)))
  writing('canary', 'let a version decide for a share of the entities, always the same ones')
    .argument('<model>', '<name>@<version>')
    .argument('<share>', '5% or 0.05; another share of the same version takes its place', shareOf)
    .action((model: string, share: number, options: ReleaseOptions) => change(options, async (desk, signature) => desk.change({ action: 'canary', share, ...(await desk.version(model)) }, signature)))
  writing('shadow', 'let a version score every event beside the champion, and decide nothing')
    .argument('<model>', '<name>@<version>')
    .action((model: string, options: ReleaseOptions) => change(options, async (desk, signature) => desk.change({ action: 'shadow', ...(await desk.version(model)) }, signature)))
  writing('withdraw', 'end a canary or a shadow')
    .argument('<model>', '<name>@<version>')
    .action((model: string, options: ReleaseOptions) => change(options, (desk, signature) => desk.change({ action: 'withdraw', model }, signature)))
  const deciding = (name: string, description: string): Command => writing(name, description).argument('<revision>', 'of the proposal, as the ledger has it', parseCount)
  deciding('approve', 'put in force what somebody else has proposed, where the topology asks for two people').action((revision: number, options: ReleaseOptions) => change(options, (desk, signature) => desk.approve(revision, signature)))
  deciding('reject', 'decide against a proposal').action((revision: number, options: ReleaseOptions) => change(options, (desk, signature) => desk.reject(revision, signature)))
  writing('validate', 'note in the ledger that a version was validated, and by which report')
    .argument('<model>', '<name>@<version>')
    .requiredOption('--report <file>', 'what was found: its name and its sha256 go into the ledger')
    .action((model: string, options: ReleaseOptions & { report: string }) => change(options, async (desk, signature) => desk.validate(await desk.version(model), { ...signature, details: reportDetails(options.report) })))
  stageOptions(models.command('ledger').description('what is in force in a stage, and who put it there, when and why')).action(ledger)
}

function stageOptions(command: Command): Command {
  command
    .option('--topology <name>', 'a .yaml file, or the name of one in topologies/', 'card-fraud')
    .option('--stage <name>', 'the stage (default: the last one)')
    .option('--namespace <name>', 'prefix of topics and ids')
    .option('--models <folder or s3://…>', 'where versions live', modelsFolder)
    .option('--json', 'for machines')
  return addConnectionOptions(command)
}

/** $HARRIER_ACTOR, else the user of this machine. */
export function defaultActor(): string {
  return process.env.HARRIER_ACTOR ?? `${userInfo().username}@${hostname()}`
}

/** The last stage decides, and is meant where none is named. */
export function stageView(options: Pick<StageOptions, 'topology' | 'stage'>): Topology {
  const { chain, name } = loadTopology(options.topology)
  const found = options.stage === undefined ? chain.at(-1) : chain.find(({ stageName }) => stageName === options.stage)
  if (!found) throw new HarrierError('USAGE', `topology ${name} has no stage "${options.stage}"`, { remedy: `its stages: ${chain.map(({ stageName }) => stageName).join(', ')}` })
  return found
}

export async function withDesk<T>(options: StageOptions, work: (desk: ReleaseDesk, topology: Topology) => Promise<T>): Promise<T> {
  const topology = stageView(options)
  const connections = await resolveConnections(options)
  const models = modelsAt(options.models, () => connections, silentLogger)
  const desk = await ReleaseDesk.open({ topology, ...connections, namespace: options.namespace, models, clock: systemClock, logger: silentLogger })
  try {
    return await work(desk, topology)
  } finally {
    await desk.close()
  }
}

async function change(options: ReleaseOptions, work: (desk: ReleaseDesk, signature: Signature) => Promise<Release>): Promise<void> {
  const { actor, reason, wait, json } = options
  if (reason.trim() === '' || actor.trim() === '') throw new HarrierError('USAGE', '--reason and --actor are for people: they cannot be empty', { remedy: 'say why, and who' })
  await withDesk(options, async (desk) => {
    const release = await work(desk, { actor, reason })
    if (isNote(release)) return void process.stdout.write(json ? `${JSON.stringify(release)}\n` : noteText(release))
    if (!json) process.stdout.write(releaseText(release))
    const places = await waitForForce(desk, release.revision, wait)
    if (json) process.stdout.write(`${JSON.stringify({ ...release, inForce: places })}\n`)
    else process.stdout.write(forceText(places))
  })
}

/** An entry that puts nothing in force. */
function isNote({ action }: Release): boolean {
  return action === 'propose' || action === 'reject' || action === 'validate'
}

function noteText({ revision, action, model, topology, stage }: Release): string {
  if (action === 'propose') return `revision ${revision} of ${topology}/${stage}: ${model} is proposed, and not in force\n  somebody else approves it: harrier models approve ${revision} --reason … --actor …\n`
  return `revision ${revision} of ${topology}/${stage}: ${model} ${action === 'validate' ? 'was validated' : 'was rejected'}\n`
}

function reportDetails(file: string): Readonly<Record<string, string>> {
  if (!existsSync(file)) throw new HarrierError('USAGE', `there is no report ${file}`, { remedy: 'name the file of the validation report' })
  return { report: basename(file), reportSha256: sha256OfFile(file) }
}

/** Until every partition that is being scored is scored by it. */
async function waitForForce(desk: ReleaseDesk, revision: number, waitSeconds: number): Promise<InForce[]> {
  const endMs = systemClock.monotonicMs() + waitSeconds * 1000
  for (;;) {
    const places = await desk.inForce(revision)
    if (places.every(({ from }) => from !== null) || systemClock.monotonicMs() >= endMs) return places
    await systemClock.sleep(lookEveryMs)
  }
}

async function ledger(options: StageOptions): Promise<void> {
  await withDesk(options, async (desk, topology) => {
    const releases = await desk.releases()
    if (options.json) process.stdout.write(`${JSON.stringify({ topology: topology.name, stage: topology.stageName, revision: releases.revision, models: releases.models, ledger: releases.entries })}\n`)
    else process.stdout.write(ledgerText(topology, releases))
  })
}

function releaseText({ revision, topology, stage, from, to }: Release): string {
  const before = from.find(({ role }) => role === 'champion')?.model ?? 'none'
  return `revision ${revision} of ${topology}/${stage}, written\n${modelsText(to)}  before: champion ${before}\n`
}

function modelsText(models: readonly ReleasedModel[]): string {
  return models.map(({ role, model, share, sha256 }) => `  ${role.padEnd(10)}  ${model}  ${role === 'shadow' ? 'decides nothing' : `decides ${percent(share)} of the events`}  sha256 ${sha256.slice(0, 12)}…\n`).join('')
}

export function percent(share: number): string {
  return `${Number((share * 100).toFixed(6))} %`
}

function forceText(places: readonly InForce[]): string {
  const there = places.filter(({ from }) => from !== null)
  if (there.length === 0) return 'not in force yet: no batch has been scored since; an engine that runs, or is started, takes it up within a second\n'
  const lines = there.map(({ partition, from }) => `  partition ${partition}: ${from!.exact ? `from batch ${from!.sequence}, offset ${from!.offset}` : `since batch ${from!.sequence} or before`}\n`)
  const missing = places.length - there.length
  return `in force\n${lines.join('')}${missing > 0 ? `  ${missing} of ${places.length} partitions have scored nothing since\n` : ''}`
}

function ledgerText({ name, stageName, stage }: Topology, { revision, models, entries }: StageReleases): string {
  const file = [stage.models.champion, ...stage.models.shadows].join(', ')
  const head = revision === 0 ? `nothing has been released for ${name}/${stageName}; by the topology file these are in force` : `${name}/${stageName}, revision ${revision}; the topology file names ${file}, which does not count any more`
  if (entries.length === 0) return `${head}\n${modelsText(models)}`
  const rows = entries.map((entry) => [String(entry.revision), new Date(entry.time).toISOString().slice(0, 19).replace('T', ' '), entry.action, entry.model, entry.actor, championOf(entry.to), entry.reason])
  return `${head}\n${modelsText(models)}\n${tableText(['REVISION', 'TIME (UTC)', 'ACTION', 'MODEL', 'ACTOR', 'CHAMPION', 'REASON'], rows)}`
}

function championOf(models: readonly ReleasedModel[]): string {
  return models.find(({ role }) => role === 'champion')?.model ?? '-'
}

function seconds(text: string): number {
  const value = Number(text)
  if (!(value >= 0 && value <= 3600)) throw new InvalidArgumentError('a number of seconds from 0 to 3600 is wanted.')
  return value
}

/** 5% or 0.05. */
export function shareOf(text: string): number {
  const value = text.endsWith('%') ? Number(text.slice(0, -1)) / 100 : Number(text)
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('a share above 0 and below 100% is wanted, for example 5%.')
  return value
}
