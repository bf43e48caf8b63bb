import { hostname } from 'node:os'
import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { createLogger } from '../base/logger.js'
import { sizeText } from '../base/size-text.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import type { EngineChain } from '../topology/engine-chain.js'
import { deviceFallbacks, type EngineStats } from '../topology/engine-stats.js'
import { loadTopology } from '../topology/load-topology.js'
import { openEngine } from '../topology/open-engine.js'
import type { DevicePolicy } from '../inference/device.js'
import { addLineageOptions, lineageOptions, type LineageOptions } from './openlineage-options.js'
import { modelsAt } from './object-places.js'
import { parseCount, parseDevice, parseWorkers } from './parse-options.js'
import { addPrivacyOptions, privacyKeysOf, type PrivacyOptions } from './privacy-options.js'
import { childArguments, runProcesses } from './run-processes.js'
import { addServiceOptions, listenDefault, openMetrics, openServing, parseListen, withPort, type Serving, type ServiceOptions } from './service-options.js'
import type { ListenAddress } from '../web/listen.js'
import type { EngineView } from '../web/service-parts.js'
import { readableLogLine } from './view/log-line.js'
import type { Workers } from '../topology/open-scorer.js'

const statsIntervalMs = 1000
/** A stop that takes longer ends the process anyway; the transaction that is open then is aborted by the broker. */
const stopMsMax = 4500

interface RunOptions extends ConnectionOptions, ServiceOptions, LineageOptions, PrivacyOptions {
  topology: string
  instanceId: string
  namespace?: string
  models?: string
  device?: DevicePolicy
  workers?: Workers
  createTopics?: boolean
  partitions: number
  processes: number
  serve?: ListenAddress | true
  metricsPort?: ListenAddress
  json?: boolean
  verbose?: boolean
}

/** `harrier run`: the engine, until Ctrl-C. */
export function register(program: Command): void {
  const command = program
    .command('run')
    .description('score the input topic of a topology, exactly once, until Ctrl-C')
    .option('--topology <name>', 'a .yaml file, or the name of one in topologies/', 'card-fraud')
    .option('--instance-id <id>', 'name of this instance; two that run at once must differ', hostname().replace(/[^a-zA-Z0-9_-]/g, '-'))
    .option('--namespace <name>', 'prefix of topics, group, transactional ids and subjects')
    .option('--models <folder or s3://…>', 'where model versions live (default: models/ of Harrier)')
    .option('--device <policy>', 'cpu, webgpu, cuda or auto (default: what the topology says)', parseDevice)
    .option('--workers <n>', 'threads that run models (of each process), or auto (default: what the topology says)', parseWorkers)
    .option('--processes <n>', 'members of the group, each a process of its own: <instance id>-0, -1, …', parseCount, 1)
    .option('--create-topics', 'create topics that are missing')
    .option('--partitions <n>', 'partitions of an input topic that is created', parseCount, 4)
    .option('--serve [host:port]', 'answer HTTP requests besides, as `harrier serve` does (default: 127.0.0.1:8080; with --processes each on the next port)', parseListen)
    .option('--metrics-port <[host:]port>', 'metrics for Prometheus and health, without the service; on loopback unless a host is named', parseListen)
    .option('--json', 'a line of JSON with statistics each second on stdout, and logs as JSON')
    .option('--verbose', 'log more')
  addServiceOptions(addLineageOptions(addPrivacyOptions(addConnectionOptions(command)))).action(run)
}

async function run(options: RunOptions): Promise<void> {
  if (options.processes > 1) return runSeveral(options)
  const topology = loadTopology(options.topology)
  const connections = await resolveConnections(options)
  const openLineage = lineageOptions(options)
  const privacyKeys = privacyKeysOf(options)
  const logger = createLogger((line) => process.stderr.write(line), {
    nowMs: () => systemClock.nowMs(),
    ...(options.json ? { json: true } : {}),
    ...(options.verbose ? { level: 'debug' } : {}),
  })
  const models = modelsAt(options.models, () => connections, logger)
  const stopping = new AbortController()
  // Before models are opened: a process that is told to stop meanwhile ends as one that runs does.
  const opening: { engine?: EngineChain } = {}
  const stop = (): void => {
    if (stopping.signal.aborted) process.exit(130)
    stopping.abort()
    logger.log('info', 'stopping; press Ctrl-C again to leave at once')
    void systemClock.sleep(stopMsMax).then(() => {
      logger.log('warn', `not stopped after ${stopMsMax} ms; leaving what is open to the broker, which aborts it`)
      process.exit(1)
    })
    void opening.engine?.stop()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  const engine = (opening.engine = await openEngine({
    topology,
    ...connections,
    instanceId: options.instanceId,
    namespace: options.namespace,
    models,
    device: options.device,
    workers: options.workers,
    openLineage,
    privacyKeys,
    createTopics: options.createTopics ? { partitions: options.partitions } : undefined,
    clock: systemClock,
    logger,
    signal: stopping.signal,
  }).catch((error: unknown) => {
    // What was waited for then has been given up, which is no fault.
    if (stopping.signal.aborted) process.exit(0)
    throw error
  }))
  if (stopping.signal.aborted) await engine.stop()
  let serving: Serving | undefined
  let newest: EngineStats | undefined
  const view: EngineView = { topology: topology.name, metrics: () => engine.metrics(), stats: () => newest, get state() { return engine.state } }
  const metrics = options.metricsPort === undefined ? undefined : await openMetrics(view, options.metricsPort, options, { clock: systemClock, logger })
  const serve = async (listen: ListenAddress): Promise<void> => {
    const { namespace, instanceId, device } = options
    const cluster = { connection: connections, namespace, instanceId }
    serving = await openServing({ options, listen, scored: { connection: connections, topology, namespace }, privacyKeys, cluster, models, device, engine: view, connectionFile: connections.file, clock: systemClock, logger })
    if (stopping.signal.aborted) await serving.close()
  }
  let before = 0
  const stopStats = systemClock.every(statsIntervalMs, () => {
    const stats = (newest = engine.stats())
    const perSecond = Math.round(((stats.counters.scored - before) * 1000) / statsIntervalMs)
    before = stats.counters.scored
    process.stdout.write(options.json ? `${JSON.stringify({ ...stats, eventsPerSecond: perSecond, deviceFallbacks: deviceFallbacks(stats) })}\n` : `${statsLine(stats, perSecond)}\n`)
  })
  try {
    const served = options.serve === undefined ? undefined : serve(options.serve === true ? listenDefault : options.serve)
    await Promise.all([engine.run(), served?.catch(async (error: unknown) => {
      await engine.stop()
      throw error
    })])
  } finally {
    await Promise.all([serving?.close(), metrics?.close()])
    stopStats()
    const stats = engine.stats()
    process.stdout.write(options.json ? `${JSON.stringify({ ...stats, state: 'stopped', deviceFallbacks: deviceFallbacks(stats) })}\n` : `${statsLine(stats, 0)}\nstopped\n`)
  }
  process.exit(0)
}

/** Checks what can be checked here, so that a mistake is told once; then lets the processes run. */
async function runSeveral(options: RunOptions): Promise<void> {
  loadTopology(options.topology)
  lineageOptions(options)
  privacyKeysOf(options)
  await resolveConnections(options)
  const stopping = new AbortController()
  const stop = (): void => {
    if (stopping.signal.aborted) process.exit(130)
    stopping.abort()
    process.stderr.write('stopping; press Ctrl-C again to leave at once\n')
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  let before = 0
  await runProcesses({
    processes: options.processes,
    args: childArguments(process.argv.slice(process.argv.indexOf('run') + 1)),
    ownArgs: (index) => [
      ...(options.serve === undefined ? [] : ['--serve', withPort(options.serve === true ? listenDefault : options.serve, index)]),
      ...(options.metricsPort === undefined ? [] : ['--metrics-port', withPort(options.metricsPort, index)]),
    ],
    instanceId: options.instanceId,
    clock: systemClock,
    signal: stopping.signal,
    onStats: (stats) => {
      const perSecond = Math.max(0, Math.round(((stats.counters.scored - before) * 1000) / statsIntervalMs))
      before = stats.counters.scored
      process.stdout.write(options.json ? `${JSON.stringify({ ...stats, eventsPerSecond: perSecond })}\n` : `${statsLine(stats, perSecond)}\n`)
    },
    onLog: (line) => void process.stderr.write(`${options.json ? line : readableLogLine(line)}\n`),
  })
  process.exit(0)
}

function statsLine(stats: EngineStats, perSecond: number): string {
  const { counters, delayMs } = stats
  const cells = [
    stats.state.padEnd(9),
    `${perSecond.toLocaleString('en').padStart(9)} events/s`,
    `lag ${stats.lag.toLocaleString('en').padStart(9)}`,
    `delay p50 ${milliseconds(delayMs.p50)} p99 ${milliseconds(delayMs.p99)}`,
    `scored ${counters.scored.toLocaleString('en')}`,
    `alerts ${counters.alerts.toLocaleString('en')}`,
    `dead letters ${counters.deadLetters.toLocaleString('en')}`,
  ]
  if (stats.models.length > 0) cells.push(`model memory ${sizeText(stats.models.reduce((sum, { openedBytes }) => sum + openedBytes, 0))}`)
  if (counters.fallbacks > 0) cells.push(`fall-backs ${counters.fallbacks.toLocaleString('en')}`)
  return cells.join('  ')
}

function milliseconds(value: number): string {
  return Number.isNaN(value) ? '    –' : `${value < 100 ? value.toFixed(1) : Math.round(value)} ms`.padStart(8)
}
