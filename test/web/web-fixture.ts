import type { FastifyInstance } from 'fastify'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger, type Logger } from '../../src/base/logger.js'
import { ModelHost, type ModelHostOptions } from '../../src/inference/serving/model-host.js'
import { modelsFolder } from '../../src/topology/open-scorer.js'
import { serviceLimits } from '../../src/web/service-limits.js'
import { Metrics } from '../../src/web/metrics.js'
import type { ServiceParts } from '../../src/web/service-parts.js'
import { buildService } from '../../src/web/service.js'

export interface TestService {
  readonly app: FastifyInstance
  readonly host: ModelHost
  close(): Promise<void>
}

/** A service over models of this repository, without a socket. */
export async function testService(options: { models?: readonly string[]; host?: Partial<ModelHostOptions>; parts?: Partial<ServiceParts>; logger?: Logger } = {}): Promise<TestService> {
  const logger = options.logger ?? silentLogger
  const host = new ModelHost({ folder: modelsFolder, models: options.models ?? ['card-row'], device: 'cpu', threads: 1, clock: systemClock, logger, queue: { timeoutMsMax: 60_000 }, ...options.host })
  await host.open()
  const metrics = new Metrics({ stages: () => options.parts?.engine?.metrics() ?? [], models: () => host.served() })
  const app = await buildService({ host, metrics, batchDelayMs: 0, limits: serviceLimits, clock: systemClock, logger, ...options.parts })
  return {
    app,
    host,
    async close() {
      await app.close()
      await host.close()
    },
  }
}
