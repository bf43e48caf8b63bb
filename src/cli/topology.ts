import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { silentLogger } from '../base/logger.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectLimits } from '../connection/security.js'
import { adminLimits, withAdmin } from '../consumer/admin.js'
import { ModelStore } from '../inference/model-store.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import { aclCommands, neededAcls } from '../topology/acls.js'
import { inspectContracts } from '../topology/contracts.js'
import { describeTopology } from '../topology/describe.js'
import { exportSchemas } from '../topology/export-schemas.js'
import { loadTopology, type Topology } from '../topology/load-topology.js'
import { topologyNames } from '../topology/names.js'
import { modelUses, openScorer } from '../topology/open-scorer.js'
import { inputSubject, labelsSubject, outputSubjects } from '../topology/subjects.js'
import { applyTopics, planTopics, type PlanOptions, type TopicStep } from '../topology/topic-plan.js'
import { parseCount } from './parse-options.js'

const topologyArgument = ['<topology>', 'a .yaml file, or the name of one in topologies/'] as const

interface DescribeOptions {
  mermaid?: boolean
  json?: boolean
  acls?: boolean
  principal: string
  namespace: string
  models?: string
}

interface CheckOptions extends ConnectionOptions {
  models?: string
  contracts?: boolean
  namespace: string
}

interface ApplyOptions extends ConnectionOptions {
  namespace: string
  partitions?: number
  replication?: number
  yes?: boolean
  check?: boolean
  json?: boolean
}

/** `harrier topology check|describe|schemas|apply` */
export function register(program: Command): void {
  const topology = program.command('topology').description('check and describe topologies, create their topics')
  const check = topology
    .command('check')
    .description('check a topology file; every problem with file, line, path and remedy')
    .argument(...topologyArgument)
    .option('--models <folder>', 'also open its models, from this folder, on the CPU')
    .option('--contracts', 'also check its schemas against the registry; registers nothing')
    .option('--namespace <name>', 'prefix of topics and subjects', '')
  addConnectionOptions(check).action(checkTopology)
  topology
    .command('describe')
    .description('what a topology reads, computes, keeps and writes')
    .argument(...topologyArgument)
    .option('--mermaid', 'the drawing alone, as Mermaid source')
    .option('--acls', 'the rights that run and apply need, as commands for kafka-acls.sh')
    .option('--principal <principal>', 'whose rights those are', 'User:harrier')
    .option('--json', 'for machines')
    .option('--namespace <name>', 'prefix of topics, group and ids', '')
    .option('--models <folder>', 'folder of model versions')
    .action(describe)
  topology
    .command('schemas')
    .description('write the schemas of a topology\'s outputs to files, with the requests that register them')
    .argument(...topologyArgument)
    .requiredOption('--out <folder>', 'where the files go')
    .option('--namespace <name>', 'prefix of topics and subjects', '')
    .action((name: string, options: { out: string; namespace: string }) => {
      process.stdout.write(exportSchemas(loadTopology(name), options.namespace, options.out))
    })
  const apply = topology
    .command('apply')
    .description('show what is to be done for the topics of a topology on the cluster; with --yes, do it')
    .argument(...topologyArgument)
    .option('--yes', 'create and change what the plan says')
    .option('--check', 'exit code 1 when something is to be done; changes nothing')
    .option('--partitions <n>', 'create the input topic too, if it is missing, with so many partitions', parseCount)
    .option('--replication <n>', 'copies of each partition (default: as the brokers have it)', parseCount)
    .option('--namespace <name>', 'prefix of topics, group and ids', '')
    .option('--json', 'the plan as one line of JSON')
  addConnectionOptions(apply).action(applyTopology)
}

async function checkTopology(name: string, options: CheckOptions): Promise<void> {
  const topology = loadTopology(name)
  const { file, chain, spec } = topology
  const lines: string[] = []
  for (const stage of options.models === undefined ? [] : chain) lines.push(...(await checkModels(stage, options.models!)))
  if (options.contracts) lines.push(...(await checkContracts(topology, options)))
  for (const line of new Set(lines)) process.stdout.write(`${line}\n`)
  const features = chain.reduce((sum, { stage }) => sum + stage.features.length, 0)
  const models = chain.reduce((sum, { stage: { models: all } }) => sum + (all.champion === undefined ? 0 : 1) + all.shadows.length, 0)
  process.stdout.write(`${file}: ok (${counted(chain.length, 'stage')}, ${counted(Object.keys(spec.source.fields).length, 'field')}, ${counted(features, 'feature')}, ${counted(models, 'model')})\n`)
}

/** Opens the models of a stage as `run` would, and says what they are. Errors: those of `openScorer`. */
async function checkModels(topology: Topology, folder: string): Promise<string[]> {
  const uses = modelUses(topology, new ModelStore(folder))
  if (uses.length === 0) return []
  const scorer = await openScorer({ topology, models: folder, device: 'cpu', workers: 0, clock: systemClock, logger: silentLogger })
  await scorer.close()
  return uses.map(({ model: { reference, manifest }, role }) => {
    const input = manifest.kind === 'window' ? `window of ${manifest.window!} rows` : manifest.kind
    return `model ${reference} (${role}): ${input}, reads ${manifest.features.length} of the ${counted(topology.stage.features.length, 'feature')} of stage ${topology.stageName}`
  })
}

/** A registry that does not answer is not waited for as an engine would: REGISTRY_UNAVAILABLE after the time in which a broker must answer. */
async function checkContracts({ chain }: Topology, options: CheckOptions): Promise<string[]> {
  const { registryUrl, registrySecurity, connectMsMax } = await resolveConnections(options)
  const registry = new RegistryClient(registryUrl, { clock: systemClock, security: registrySecurity })
  const limit = new AbortController()
  const answered = new AbortController()
  void systemClock.sleep(connectMsMax ?? adminLimits.connectMsMax, answered.signal).then(() => limit.abort())
  try {
    const lines: string[] = []
    for (const topology of chain) {
      lines.push(...(await inspectContracts({ topology, names: topologyNames(topology, options.namespace), registry, logger: silentLogger, signal: limit.signal })))
    }
    return lines
  } finally {
    answered.abort()
  }
}

function describe(name: string, options: DescribeOptions): void {
  const topology = loadTopology(name)
  if (!options.acls) return void process.stdout.write(describeTopology(topology, options))
  const names = topology.chain.map((stage) => topologyNames(stage, options.namespace))
  const subjects = subjectsOf(topology, options.namespace)
  const rules = { guardrails: topology.spec.releases?.guardrails !== undefined }
  process.stdout.write(options.json ? `${JSON.stringify({ principal: options.principal, acls: neededAcls(names, rules), subjects }, null, 2)}\n` : aclCommands(names, subjects, options.principal, rules))
}

function subjectsOf(topology: Topology, namespace: string): string[] {
  const names = topologyNames(topology, namespace)
  const inputs = [inputSubject(topology, names), labelsSubject(topology, names)].filter((subject) => subject !== undefined)
  const outputs = topology.chain.flatMap((stage) => outputSubjects(stage, topologyNames(stage, namespace)).map(({ subject }) => subject))
  return [...new Set([...inputs, ...outputs])]
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

async function applyTopology(name: string, options: ApplyOptions): Promise<void> {
  if (options.yes && options.check) throw new HarrierError('USAGE', '--yes and --check exclude each other')
  const stages = loadTopology(name).chain.map((stage) => topologyNames(stage, options.namespace))
  const { brokers, security, connectMsMax } = await resolveConnections(options)
  await withAdmin({ brokers, security, clock: systemClock, ...connectLimits({ connectMsMax }) }, async (admin) => {
    const wanted: PlanOptions = { stages, partitions: options.partitions, replication: options.replication }
    const plan = await planTopics(admin, wanted)
    const due = plan.filter(({ action }) => action === 'create' || action === 'change')
    const differing = plan.filter(({ action }) => action === 'differs')
    if (options.json) process.stdout.write(`${JSON.stringify({ brokers, applied: options.yes === true, plan: plan.map(({ topic, action, details }) => ({ topic, action, details })) })}\n`)
    else process.stdout.write(`${planText(plan)}\n`)
    const say = (text: string): void => void (options.json ? process.stderr : process.stdout).write(`${text}\n`)
    if (due.length > 0 && options.yes) {
      await applyTopics(admin, plan)
      const left = (await planTopics(admin, wanted)).filter(({ action }) => action === 'create' || action === 'change')
      if (left.length > 0) throw new HarrierError('TOPIC_MISMATCH', `still not as wanted: ${left.map(({ topic, details }) => `${topic} (${details.join(', ')})`).join('; ')}`)
      say(`done: ${due.map(({ topic, action }) => `${topic} ${action === 'create' ? 'created' : 'changed'}`).join(', ')}`)
    } else if (due.length > 0) say(`${due.length} to do; nothing was changed${options.check ? '' : ': --yes does it'}`)
    if (differing.length > 0) say(`${differing.length} cannot be put right from here`)
    if (differing.length > 0 || (options.check && due.length > 0)) process.exitCode = 1
  })
}

function planText(plan: readonly TopicStep[]): string {
  const width = Math.max(...plan.map(({ topic }) => topic.length))
  return plan.map(({ topic, action, details }) => `${action.padEnd(8)} ${topic.padEnd(width)}  ${details.join(', ')}`).join('\n')
}
