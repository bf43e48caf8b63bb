import { InvalidArgumentError, type Command } from 'commander'
import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { DevicePolicy } from '../inference/device.js'
import { ModelHost } from '../inference/serving/model-host.js'
import { queueLimitsDefault } from '../inference/serving/request-queue.js'
import { modelsFolder } from '../topology/open-scorer.js'
import { serviceLimits } from '../web/service-limits.js'
import type { EngineView } from '../web/service-parts.js'
import type { ListenAddress, Service } from '../web/listen.js'
import { openMetricsService } from '../web/metrics-route.js'
import { Metrics } from '../web/metrics.js'
import { openService } from '../web/service.js'
import { parseCount } from './parse-options.js'

export const listenDefault: ListenAddress & { toString(): string } = { host: '127.0.0.1', port: 8080, toString: () => '127.0.0.1:8080' }

/** The address of the k-th of several processes, as an option. */
export function withPort({ host, port }: ListenAddress, k: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port + k}`
}

/** Options of the HTTP service, the same for `harrier serve` and `harrier run --serve`. */
export interface ServiceOptions {
  serveModels?: string[]
  servingThreads: number
  batchDelayMs: number
  queueRequests: number
  queueTimeoutMs: number
  anonymous?: boolean
}

export function addServiceOptions(command: Command): Command {
  return command
    .option('--serve-models <names>', 'model versions that answer requests: <name>@<version> or <name>, separated by commas (default: all of the folder)', commaList)
    .option('--serving-threads <n>', 'threads of each served model version', parseCount, 1)
    .option('--batch-delay-ms <ms>', 'how long a free thread waits for a batch to fill', parseMs, queueLimitsDefault.delayMs)
    .option('--queue-requests <n>', 'requests that may wait for one model version; more are refused with 503', parseCount, queueLimitsDefault.requestsMax)
    .option('--queue-timeout-ms <ms>', 'how long a request may wait before it is refused with 503', parseCount, queueLimitsDefault.timeoutMsMax)
    .option('--anonymous', 'let anybody who reaches an address that is not loopback use the service')
}

export interface ServingChoice {
  readonly options: ServiceOptions
  readonly listen: ListenAddress
  readonly models?: string | undefined
  readonly device?: DevicePolicy | undefined
  readonly engine?: EngineView | undefined
  readonly clock: Clock
  readonly logger: Logger
}

/** What `close` ends: the service and its models. */
export interface Serving {
  readonly service: Service
  readonly host: ModelHost
  close(): Promise<void>
}

/** Listens first, so that probes are answered, and opens the models then. Errors: USAGE, CONFIG_INVALID, those of models. */
export async function openServing({ options, listen, models, device, engine, clock, logger }: ServingChoice): Promise<Serving> {
  if (!isLoopback(listen.host) && !options.anonymous) {
    throw new HarrierError('USAGE', `${listen.host} is not loopback, and anybody who reaches it could use the service`, { remedy: 'listen on 127.0.0.1, or say --anonymous' })
  }
  const host = new ModelHost({
    folder: models ?? modelsFolder, models: options.serveModels ?? [], device: device ?? 'cpu', threads: options.servingThreads, clock, logger,
    queue: { delayMs: options.batchDelayMs, requestsMax: options.queueRequests, timeoutMsMax: options.queueTimeoutMs },
  })
  const metrics = new Metrics({ stages: () => engine?.metrics() ?? [], models: () => host.served().filter(({ isOpen }) => isOpen) })
  const service = await openService({ host, engine, metrics, batchDelayMs: options.batchDelayMs, limits: serviceLimits, clock, logger }, listen)
  const close = async (): Promise<void> => {
    await service.close()
    await host.close()
  }
  try {
    await host.open()
  } catch (error) {
    await close()
    throw error
  }
  logger.log('info', 'the service is ready', { url: service.url, models: host.served().length })
  return { service, host, close }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

/** `host:port`, `[::1]:port`, or a port on loopback. */
export function parseListen(text: string): ListenAddress {
  const match = /^(?:(\[[0-9a-fA-F:]+\]|[^\s:/[\]]+):)?(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (!match || port > 65_535) throw new InvalidArgumentError('host:port or a port is wanted, for example 127.0.0.1:8080.')
  return { host: (match[1] ?? '127.0.0.1').replace(/^\[|\]$/g, ''), port }
}

function commaList(text: string): string[] {
  return text.split(',').map((each) => each.trim()).filter((each) => each !== '')
}

function parseMs(text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0 || value > 1000) throw new InvalidArgumentError('a number of ms from 0 to 1000 is wanted.')
  return value
}

/** Metrics and health of an engine, without the service. Errors: USAGE, CONFIG_INVALID. */
export async function openMetrics(engine: EngineView, address: ListenAddress, logger: Logger): Promise<Service> {
  return await openMetricsService({ metrics: new Metrics({ stages: () => engine.metrics(), models: () => [] }), health: { engine }, logger }, address)
}
