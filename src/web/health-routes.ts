import type { FastifyInstance } from 'fastify'
import * as schemas from './oip-schemas.js'
import type { ServiceParts } from './service-parts.js'

/** Models are left out where none is served. */
export type HealthParts = Pick<ServiceParts, 'engine'> & { readonly host?: ServiceParts['host'] | undefined }

/** An engine that has failed ends its process: until then it is not live. */
export function isLive({ engine }: HealthParts): boolean {
  return engine === undefined || engine.state !== 'failed'
}

/** Ready = partitions assigned, state restored, models warm. Empty when it is. */
export function whyNotReady({ engine, host }: HealthParts): string[] {
  const state = engine?.state ?? 'running'
  return [
    ...(state === 'running' ? [] : [`the engine of ${engine!.topology} is ${state}`]),
    ...(host === undefined || host.isReady ? [] : host.served().filter(({ isReady }) => !isReady).map(({ reference }) => `${reference} is not ready`)),
  ]
}

/** `/healthz` and `/readyz`, as Kubernetes asks. */
export function healthOf(app: FastifyInstance, parts: HealthParts): void {
  app.get('/healthz', { schema: schemas.health('Whether the process answers; for a liveness probe') }, (_, reply) => reply.code(isLive(parts) ? 200 : 503).send({ live: isLive(parts) }))
  app.get('/readyz', { schema: schemas.health('Whether it may be given traffic; for a readiness probe') }, (_, reply) => {
    const reasons = whyNotReady(parts)
    return reply.code(reasons.length === 0 ? 200 : 503).send({ ready: reasons.length === 0, reasons })
  })
}
