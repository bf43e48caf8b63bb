import { hostname } from 'node:os'
import type { Command } from 'commander'
import { systemClock } from '../base/clock.js'
import { createLogger } from '../base/logger.js'
import type { DevicePolicy } from '../inference/device.js'
import { addConnectionOptions, resolveConnections, type ConnectionOptions } from '../stack/connections.js'
import type { ListenAddress } from '../web/listen.js'
import { loadTopology } from '../topology/load-topology.js'
import { modelsAt, storeChoice } from './object-places.js'
import { parseDevice } from './parse-options.js'
import { addPrivacyOptions, privacyKeysOf, type PrivacyOptions } from './privacy-options.js'
import { addServiceOptions, listenDefault, openServing, parseListen, type ServiceOptions } from './service-options.js'

/** A stop that takes longer ends the process anyway. */
const stopMsMax = 8000

interface ServeOptions extends ServiceOptions, ConnectionOptions, PrivacyOptions {
  instanceId: string
  topology?: string
  namespace?: string
  listen: ListenAddress
  models?: string
  device?: DevicePolicy
  json?: boolean
  verbose?: boolean
}

const examples = `
Examples:
  Every model of the folder, for programs on this machine
    harrier serve
  One of them, and a score for a row of its features by name
    harrier serve --serve-models card-row
    curl -s localhost:8080/v2/models/card-row
    curl -s localhost:8080/predict -H 'content-type: application/json' \\
         -d '{"input": {"amount": 99, "log_amount": 4.6, ...}}'
  For others, by TLS and with a key (see harrier keys)
    harrier serve --listen 0.0.0.0:8443 --keys \\
         --tls-certificate service.pem --tls-key service.key
  Beside a stream, in one process
    harrier run --serve
`

/** `harrier serve`: the model service alone. */
export function register(program: Command): void {
  const command = program
    .command('serve')
    .description('answer HTTP requests with models: Open Inference Protocol v2 and POST /predict, until Ctrl-C')
    .option('--listen <host:port>', 'where to listen', parseListen, listenDefault)
    .option('--models <folder or s3://…>', 'where model versions live (default: models/ of Harrier)')
    .option('--device <policy>', 'cpu, webgpu, cuda or auto (default: cpu)', parseDevice)
    .option('--topology <name>', 'take transactions of this topology, which `harrier run` scores: POST /v1/score/<name>')
    .option('--instance-id <id>', 'name of this instance; two that run at once must differ', hostname().replace(/[^a-zA-Z0-9_-]/g, '-'))
    .option('--namespace <name>', 'prefix of topics, as `harrier run` has it')
    .option('--json', 'logs as JSON')
    .option('--verbose', 'log each request')
  addServiceOptions(addPrivacyOptions(addConnectionOptions(command))).addHelpText('after', examples).action(serve)
}

async function serve(options: ServeOptions): Promise<void> {
  const logger = createLogger((line) => process.stderr.write(line), {
    nowMs: () => systemClock.nowMs(),
    ...(options.json ? { json: true } : {}),
    ...(options.verbose ? { level: 'debug' } : {}),
  })
  let isStopping = false
  const stopped = new Promise<void>((resolve) => {
    const stop = (): void => {
      if (isStopping) process.exit(130)
      isStopping = true
      logger.log('info', 'stopping; press Ctrl-C again to leave at once')
      void systemClock.sleep(stopMsMax).then(() => process.exit(1))
      resolve()
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
  })
  const topology = options.topology === undefined ? undefined : loadTopology(options.topology)
  const connection = options.keys || topology ? await resolveConnections(options) : undefined
  const cluster = connection ? { connection, namespace: options.namespace, instanceId: options.instanceId } : undefined
  const scored = topology && { connection: connection!, topology, namespace: options.namespace }
  const models = modelsAt(options.models, () => connection ?? storeChoice(options), logger)
  const { listen, device } = options
  const serving = await openServing({ cluster, scored, privacyKeys: privacyKeysOf(options), options, listen, models, device, connectionFile: connection?.file, clock: systemClock, logger })
  process.stdout.write(`listening on ${serving.service.url}\n`)
  await stopped
  await serving.close()
  process.exit(0)
}
