import { fastify, type FastifyInstance } from 'fastify'
import type { Logger } from '../base/logger.js'
import type { Metrics } from './metrics.js'
import { handleErrors } from './problem.js'
import { healthOf, type HealthParts } from './health-routes.js'
import { listenOn, type ListenAddress, type Service } from './listen.js'
import { serviceLimits } from './service-limits.js'

export function metricsRoute(app: FastifyInstance, metrics: Metrics): void {
  app.get('/metrics', { schema: { tags: ['Health'], summary: 'Metrics in the text format of Prometheus', produces: ['text/plain'], response: { 200: { description: 'Text', type: 'string' } } } }, async (_, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  )
}

/** Metrics and health alone, on a port of their own. Errors: CONFIG_INVALID. */
export async function openMetricsService({ metrics, health, logger }: { readonly metrics: Metrics; readonly health: HealthParts; readonly logger: Logger }, address: ListenAddress): Promise<Service> {
  const { requestMsMax, keepAliveMsMax, silentMsMax, headerBytesMax, connectionsMax } = serviceLimits
  const app = fastify({ logger: false, requestTimeout: requestMsMax, keepAliveTimeout: keepAliveMsMax, connectionTimeout: silentMsMax, http: { maxHeaderSize: headerBytesMax }, forceCloseConnections: true })
  app.server.maxConnections = connectionsMax
  handleErrors(app, logger)
  metricsRoute(app, metrics)
  healthOf(app, health)
  return await listenOn(app, address, logger)
}
