import type { Command } from 'commander'
import { addConnectionOptions, type ConnectionOptions } from '../stack/connections.js'
import { examine, type Finding } from '../stack/doctor.js'

export function register(program: Command): void {
  addConnectionOptions(program.command('doctor'))
    .description('what Harrier finds on this machine, and what to do about what is missing; exit code 1 when something needed is missing')
    .option('--json', 'one JSON line')
    .action(doctor)
}

async function doctor(options: ConnectionOptions & { json?: boolean }): Promise<void> {
  const findings = await examine(options)
  const ok = findings.every((finding) => finding.state !== 'missing')
  process.stdout.write(options.json ? `${JSON.stringify({ ok, findings })}\n` : table(findings, process.stdout.isTTY === true))
  if (!ok) process.exitCode = 1
}

const titles: Record<Finding['group'], string> = { machine: 'Machine', programs: 'Programs', libraries: 'Libraries', kafka: 'Kafka' }
const colours: Record<Finding['state'], string> = { ok: '\x1b[32m', missing: '\x1b[31m', optional: '\x1b[33m' }

/** The findings by group, in columns; what to do stands under what it is about. */
export function table(findings: readonly Finding[], coloured: boolean): string {
  const nameWidth = Math.max(...findings.map((finding) => finding.name.length))
  const stateWidth = 'optional'.length
  const lines: string[] = []
  for (const group of Object.keys(titles) as Finding['group'][]) {
    lines.push(titles[group])
    for (const { name, state, found, remedy } of findings.filter((finding) => finding.group === group)) {
      const word = state.padEnd(stateWidth)
      lines.push(`  ${coloured ? `${colours[state]}${word}\x1b[0m` : word}  ${name.padEnd(nameWidth)}  ${found}`)
      if (remedy) lines.push(`${' '.repeat(stateWidth + nameWidth + 6)}-> ${remedy}`)
    }
    lines.push('')
  }
  const missing = findings.filter((finding) => finding.state === 'missing')
  lines.push(missing.length === 0 ? 'Everything needed is there: npm start' : `Missing: ${missing.map((finding) => finding.name.trim()).join(', ')}`)
  return `${lines.join('\n')}\n`
}
