import type { Command } from 'commander'
import { HarrierError } from '../base/errors.js'
import { systemClock } from '../base/clock.js'
import { addConnectionOptions, configuredConnections, type ConnectionOptions } from '../stack/connections.js'
import { askBroker, askRegistry } from '../stack/health.js'
import { LocalStack, type ServiceStatus, type StackMode, type StackStatus } from '../stack/local-stack.js'
import { terminalProgress } from './terminal-progress.js'

type Output = { json?: boolean }

export function register(program: Command): void {
  const stack = program.command('stack').description('the local broker and schema registry: Docker where its engine answers, else Java and Maven')
  addConnectionOptions(stack.command('up'))
    .description('start what is not running; does nothing where brokers are configured')
    .option('--with <docker|java>', 'insist on one way of running it')
    .option('--json', 'one JSON line')
    .action(up)
  stack
    .command('down')
    .description('stop broker and registry; topics and schemas stay')
    .option('--purge', 'also remove topics, schemas and logs')
    .option('--json', 'one JSON line')
    .action(down)
  addConnectionOptions(stack.command('status'))
    .description('what runs where; exit code 0 only when broker and registry answer')
    .option('--json', 'one JSON line')
    .action(status)
}

async function up(options: ConnectionOptions & Output & { with?: string }): Promise<void> {
  const mode = checkedMode(options.with)
  const configured = await askConfigured(options)
  if (configured) {
    const missing = configured.services.find((service) => !service.ok)
    if (missing) {
      throw new HarrierError(missing.name === 'broker' ? 'BROKER_UNAVAILABLE' : 'REGISTRY_UNAVAILABLE', `the configured ${missing.name} ${missing.address} does not answer: ${missing.detail}`)
    }
    return print(configured, options, 'brokers are configured: nothing to start')
  }
  const progress = terminalProgress(process.stderr, systemClock)
  const startedMs = systemClock.monotonicMs()
  const result = await new LocalStack(mode ? { mode } : {}).up(progress.onProgress).finally(progress.end)
  const seconds = ((systemClock.monotonicMs() - startedMs) / 1000).toFixed(1)
  print(result, options, result.changed ? `the stack is up, after ${seconds} s` : 'the stack is up already: nothing to do')
}

async function down(options: Output & { purge?: boolean }): Promise<void> {
  const startedMs = systemClock.monotonicMs()
  const wasUp = await new LocalStack().down({ purge: options.purge ?? false })
  if (options.json) return void process.stdout.write(`${JSON.stringify({ wasUp, purged: options.purge ?? false })}\n`)
  const seconds = ((systemClock.monotonicMs() - startedMs) / 1000).toFixed(1)
  process.stdout.write(wasUp ? `the stack is down, after ${seconds} s\n` : 'the stack was not up\n')
  if (options.purge) process.stdout.write('topics, schemas and logs are removed\n')
}

async function status(options: ConnectionOptions & Output): Promise<void> {
  const found = (await askConfigured(options)) ?? (await new LocalStack().status())
  print(found, options, `the stack is ${found.state}${found.state === 'down' ? ': harrier stack up starts it' : ''}`)
  if (found.state !== 'up') process.exitCode = 1
}

type Shown = Omit<StackStatus, 'mode' | 'stateDir'> & { mode: StackMode | 'configured' | undefined; stateDir?: string }

/** The brokers and the registry that options or environment name, asked; undefined when none are named. */
async function askConfigured(options: ConnectionOptions): Promise<Shown | undefined> {
  const configured = configuredConnections(options)
  if (!configured) return undefined
  const { brokers, registryUrl, security, registrySecurity } = configured
  const [broker, registry] = await Promise.all([askBroker(brokers, security), askRegistry(registryUrl, registrySecurity)])
  const services: ServiceStatus[] = [
    { name: 'broker', ...broker, address: brokers, version: '' },
    { name: 'registry', ...registry, address: registryUrl, version: '' },
  ]
  const upCount = services.filter((service) => service.ok).length
  return { state: upCount === 2 ? 'up' : upCount === 0 ? 'down' : 'partly up', mode: 'configured', brokers, registryUrl, services }
}

function print(found: Shown, options: Output, headline: string): void {
  if (options.json) return void process.stdout.write(`${JSON.stringify(found)}\n`)
  const how = { java: ' (Java processes)', docker: ' (Docker)', configured: ' (configured)' }
  const lines = [`${headline}${found.mode ? how[found.mode] : ''}`]
  for (const { name, ok, detail, address, version, pid, log } of found.services) {
    const extra = [detail, version, pid === undefined ? '' : `pid ${pid}`, !ok && log ? `log ${log}` : ''].filter((part) => part !== '')
    lines.push(`  ${name.padEnd(9)} ${(ok ? 'ok' : 'no').padEnd(3)} ${address}  ${extra.join(', ')}`)
  }
  if (found.stateDir && found.services.length > 0) lines.push(`  ${'files'.padEnd(13)} ${found.stateDir}`)
  process.stdout.write(`${lines.join('\n')}\n`)
}

function checkedMode(text: string | undefined): StackMode | undefined {
  if (text === undefined || text === 'docker' || text === 'java') return text
  throw new HarrierError('USAGE', `--with is docker or java, not "${text}"`)
}
