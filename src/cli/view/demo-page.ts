import { messageOf } from '../../base/errors.js'
import { silentLogger } from '../../base/logger.js'
import { queueLimitsDefault } from '../../inference/serving/request-queue.js'
import type { Connections } from '../../stack/connections.js'
import { freePort } from '../../stack/ports.js'
import type { EngineState } from '../../topology/engine-stats.js'
import type { Topology } from '../../topology/load-topology.js'
import type { Clock } from '../../base/clock.js'
import { listenDefault, openServing, type Serving } from '../service-options.js'
import type { Demo } from './demo.js'

export interface DemoPageOptions {
  readonly demo: Demo
  readonly topology: Topology
  readonly connections: Connections
  readonly namespace: string
  readonly clock: Clock
}

/**
 * The page for people, beside the demonstration: on loopback, at the first free port from 8080 on. It is in the process of the simulator, so
 * it stays when the engine is killed. No transaction is taken over HTTP: the demonstration counts its own.
 */
export async function openDemoPage({ demo, topology, connections, namespace, clock }: DemoPageOptions): Promise<Serving | string> {
  const { requestsMax, timeoutMsMax, delayMs } = queueLimitsDefault
  const { champion } = topology.chain.at(-1)!.stage.models
  const cluster = { connection: connections, namespace, instanceId: 'demo-page' }
  try {
    return await openServing({
      options: { serveModels: champion === undefined ? [] : [champion], servingThreads: 1, batchDelayMs: delayMs, queueRequests: requestsMax, queueTimeoutMs: timeoutMsMax, oidcRoleClaim: 'roles' },
      listen: { host: listenDefault.host, port: await freePort(listenDefault.port) },
      engine: { topology: topology.name, metrics: () => [], stats: () => demo.engine.stats, get state() { return (demo.engine.stats?.state ?? 'joining') as EngineState } },
      cluster,
      scored: { connection: connections, topology, namespace },
      isWatchedOnly: true,
      connectionFile: connections.file,
      clock,
      logger: silentLogger,
    })
  } catch (error) {
    return messageOf(error)
  }
}
