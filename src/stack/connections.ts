import { resolve } from 'node:path'
import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import { loadConnectionFile } from '../connection/connection-file.js'
import type { ClusterConnection } from '../connection/security.js'
import { LocalStack } from './local-stack.js'

/** Where the broker and the registry are, and how to connect to them. */
export interface Connections extends ClusterConnection {
  readonly source: 'configured' | 'docker' | 'local'
  /** The connection file that says all this, if one does. */
  readonly file?: string | undefined
}

export interface ConnectionOptions {
  connection?: string
  brokers?: string
  registry?: string
}

export function addConnectionOptions(command: Command): Command {
  return command
    .option('--connection <file>', 'connection file of a secured cluster: brokers, registry, TLS, SASL (default: $HARRIER_CONNECTION)')
    .option('--brokers <host:port,...>', 'brokers of your own cluster (default: $HARRIER_BROKERS, else the local stack)')
    .option('--registry <url>', 'its schema registry, Confluent-compatible (default: $HARRIER_REGISTRY, else the local stack)')
}

/**
 * What is configured by option or environment; undefined when nothing is. Options go before the environment, as a whole:
 * the credentials of a connection file never go to brokers that the file does not name.
 */
export function configuredConnections(options: ConnectionOptions, env: NodeJS.ProcessEnv = process.env): Connections | undefined {
  const named = options.brokers !== undefined || options.registry !== undefined
  if (options.connection !== undefined && named) {
    throw new HarrierError('USAGE', '--connection and --brokers or --registry exclude each other', { remedy: 'the connection file names brokers and registry' })
  }
  const file = options.connection ?? (named ? '' : (env.HARRIER_CONNECTION ?? ''))
  if (file !== '') return { ...loadConnectionFile(file, { clock: systemClock, env }), source: 'configured', file: resolve(file) }
  const brokers = options.brokers ?? env.HARRIER_BROKERS ?? ''
  const registry = options.registry ?? env.HARRIER_REGISTRY ?? ''
  if (brokers === '' && registry === '') return undefined
  if (brokers === '') throw new HarrierError('CONFIG_INVALID', 'a registry is configured but no brokers', { remedy: 'give --brokers or HARRIER_BROKERS too' })
  if (registry === '') throw new HarrierError('CONFIG_INVALID', 'brokers are configured but no registry', { remedy: 'give --registry or HARRIER_REGISTRY too' })
  return { brokers: checkedBrokers(brokers), registryUrl: checkedRegistry(registry), source: 'configured' }
}

/**
 * Configured connections, else those of the local stack.
 * @throws HarrierError CONFIG_INVALID, or BROKER_UNAVAILABLE when nothing is configured and the local stack is not up.
 */
export async function resolveConnections(options: ConnectionOptions = {}): Promise<Connections> {
  const configured = configuredConnections(options)
  if (configured) return configured
  const { state, mode, brokers, registryUrl, services } = await new LocalStack().status()
  if (state === 'up') return { brokers, registryUrl, source: mode === 'docker' ? 'docker' : 'local' }
  const missing = services.filter((service) => !service.ok).map((service) => `${service.name}: ${service.detail}`)
  const why = state === 'partly up' ? `the local stack is only partly up (${missing.join('; ')})` : 'no brokers are configured and the local stack is not up'
  throw new HarrierError('BROKER_UNAVAILABLE', why, {
    remedy: 'harrier stack up, or name your cluster with --connection, or --brokers and --registry',
  })
}

/** The options with which another process of ours connects in the same way; no secret is among them. */
export function connectionArguments({ file, brokers, registryUrl }: Connections): string[] {
  return file === undefined ? ['--brokers', brokers, '--registry', registryUrl] : ['--connection', file]
}

function checkedBrokers(text: string): string {
  const brokers = text.split(',').map((broker) => broker.trim())
  for (const broker of brokers) {
    if (!/^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$/.test(broker)) {
      throw new HarrierError('CONFIG_INVALID', `"${broker}" is not the address of a broker`, { remedy: 'write host:port, several separated by commas' })
    }
  }
  return brokers.join(',')
}

function checkedRegistry(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url && (url.username !== '' || url.password !== '')) {
    throw new HarrierError('CONFIG_INVALID', `the URL of the registry at ${url.host} has credentials in it, where process lists and logs show them`, {
      remedy: 'put them into a connection file (docs/connections.md)',
    })
  }
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new HarrierError('CONFIG_INVALID', `"${text}" is not the address of a registry`, { remedy: 'write an http or https URL' })
  }
  return text.replace(/\/+$/, '')
}
