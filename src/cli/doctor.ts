import type { Command } from 'commander'
import { addConnectionOptions, type ConnectionOptions } from '../stack/connections.js'
import { examine, type Finding } from '../stack/doctor.js'
import { examineGpu, measureTopology } from '../stack/doctor-gpu.js'
import { loadTopology } from '../topology/load-topology.js'
import { crossoverTable } from './device-text.js'

export function register(program: Command): void {
  addConnectionOptions(program.command('doctor'))
    .description('what Harrier finds on this machine, and what to do about what is missing; exit code 1 when something needed is missing')
    .option('--gpu', 'what is there and what is missing for models on a GPU, and from which batch size a GPU is faster than the CPU')
    .option('--topology <name>', 'with --gpu: measure the models of this topology', 'card-fraud')
    .option('--models <folder>', 'with --gpu: folder of model versions (default: models/ of Harrier)')
    .option('--json', 'one JSON line')
    .action((options: Options) => (options.gpu ? doctorGpu(options) : doctor(options)))
}

interface Options extends ConnectionOptions {
  gpu?: boolean
  topology: string
  models?: string
  json?: boolean
}

async function doctorGpu({ topology: name, models, json }: Options): Promise<void> {
  const topology = loadTopology(name)
  const findings = await examineGpu(topology, models)
  const ok = findings.every((finding) => finding.state !== 'missing')
  if (!json) process.stdout.write(table(findings, process.stdout.isTTY === true))
  const crossovers = await measureTopology(topology, models, (text) => process.stderr.isTTY && process.stderr.write(`${text}\n`))
  process.stdout.write(json ? `${JSON.stringify({ ok, findings, crossovers })}\n` : `\n${crossoverTable(crossovers)}`)
  process.exit(ok ? 0 : 1)
}

async function doctor(options: Options): Promise<void> {
  const findings = await examine(options)
  const ok = findings.every((finding) => finding.state !== 'missing')
  process.stdout.write(options.json ? `${JSON.stringify({ ok, findings })}\n` : table(findings, process.stdout.isTTY === true))
  if (!ok) process.exitCode = 1
}

const titles: Record<Finding['group'], string> = { machine: 'Machine', programs: 'Programs', libraries: 'Libraries', kafka: 'Kafka', gpu: 'GPU' }
const colours: Record<Finding['state'], string> = { ok: '\x1b[32m', missing: '\x1b[31m', optional: '\x1b[33m' }

/** The findings by group, in columns; what to do stands under what it is about. */
export function table(findings: readonly Finding[], coloured: boolean): string {
  const nameWidth = Math.max(...findings.map((finding) => finding.name.length))
  const stateWidth = 'optional'.length
  const lines: string[] = []
  for (const group of (Object.keys(titles) as Finding['group'][]).filter((each) => findings.some((finding) => finding.group === each))) {
    lines.push(titles[group])
    for (const { name, state, found, remedy } of findings.filter((finding) => finding.group === group)) {
      const word = state.padEnd(stateWidth)
      lines.push(`  ${coloured ? `${colours[state]}${word}\x1b[0m` : word}  ${name.padEnd(nameWidth)}  ${found}`)
      if (remedy) lines.push(`${' '.repeat(stateWidth + nameWidth + 6)}-> ${remedy}`)
    }
    lines.push('')
  }
  const missing = findings.filter((finding) => finding.state === 'missing')
  const isGpu = findings.every((finding) => finding.group === 'gpu')
  lines.push(missing.length === 0 ? (isGpu ? 'Nothing that the topology needs is missing' : 'Everything needed is there: npm start') : `Missing: ${missing.map((finding) => finding.name.trim()).join(', ')}`)
  return `${lines.join('\n')}\n`
}
