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

/** `/healthz` and `/readyz`, as Kubernetes asks, and the same as the Open Inference Protocol does. */
export function healthOf(app: FastifyInstance, parts: HealthParts): void {
  for (const path of ['/healthz', '/v2/health/live']) {
    app.get(path, { schema: schemas.health('Whether the process answers; for a liveness probe') }, (_, reply) => reply.code(isLive(parts) ? 200 : 503).send({ live: isLive(parts) }))
  }
  for (const path of ['/readyz', '/v2/health/ready']) {
    app.get(path, { schema: schemas.health('Whether partitions are assigned, state restored and models warm; for a readiness probe') }, (_, reply) => {
      const reasons = whyNotReady(parts)
      return reply.code(reasons.length === 0 ? 200 : 503).send({ ready: reasons.length === 0, reasons })
    })
  }
}
