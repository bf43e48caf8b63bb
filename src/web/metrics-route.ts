import type { FastifyInstance } from 'fastify'
import { demandAll } from '../access/access-control.js'
import type { Logger } from '../base/logger.js'
import type { Metrics } from './metrics.js'
import { httpApp } from './http-app.js'
import { healthOf, type HealthParts } from './health-routes.js'
import { listenOn, type ListenAddress, type Service } from './listen.js'
import { serviceLimits } from './service-limits.js'
import type { TlsIdentity } from './tls-identity.js'

export function metricsRoute(app: FastifyInstance, metrics: Metrics): void {
  app.get('/metrics', { schema: { tags: ['Health'], summary: 'Metrics in the text format of Prometheus', produces: ['text/plain'], response: { 200: { description: 'Text', type: 'string' } } } }, async (request, reply) => {
    // They name every model and topology. On a port of their own nobody is asked who he is.
    if (request.principal) demandAll(request.principal)
    return reply.type(metrics.contentType).send(await metrics.text())
  })
}

/** Metrics and health alone, on a port of their own. Errors: CONFIG_INVALID. */
export async function openMetricsService({ metrics, health, tls, logger }: { readonly metrics: Metrics; readonly health: HealthParts; readonly tls?: TlsIdentity | undefined; readonly logger: Logger }, address: ListenAddress): Promise<Service> {
  const app = httpApp({ limits: serviceLimits, tls, logger })
  metricsRoute(app, metrics)
  healthOf(app, health)
  return await listenOn(app, address, { tls, logger })
}
