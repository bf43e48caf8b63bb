import type { FastifyInstance } from 'fastify'
import { messageOf } from '../base/errors.js'
import { guard } from './guard.js'
import { healthOf } from './health-routes.js'
import { httpApp } from './http-app.js'
import { liveRoutes } from './live-routes.js'
import { listenOn, type ListenAddress, type Service } from './listen.js'
import { oipRoutes } from './oip-routes.js'
import { metricsRoute } from './metrics-route.js'
import { serveOpenapi } from './openapi.js'
import { pageRoutes } from './page-routes.js'
import { predictRoutes } from './predict-routes.js'
import { routeOf } from './problem.js'
import { repositoryRoutes } from './repository-routes.js'
import { parseUntrusted } from './safe-json.js'
import { scoreRoutes } from './score-routes.js'
import type { ServiceParts } from './service-parts.js'
import { versionRoutes } from './version-routes.js'

/** The application without a socket: for tests, and for whoever listens. */
export async function buildService(parts: ServiceParts): Promise<FastifyInstance> {
  const { limits, logger, metrics } = parts
  const app = httpApp(parts)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => {
    try {
      done(null, parseUntrusted(body as Buffer, limits.jsonDepthMax))
    } catch (error) {
      done(error instanceof Error ? error : new Error(messageOf(error)))
    }
  })
  app.addHook('onResponse', (request, reply, done) => {
    metrics.answered(request.method, request.routeOptions.url ?? '(none)', reply.statusCode, reply.elapsedTime)
    logger.log('debug', 'request', { request: request.id, route: routeOf(request), who: request.principal?.id, status: reply.statusCode, ms: Math.round(reply.elapsedTime * 10) / 10 })
    done()
  })
  serveOpenapi(app)
  app.register((inner, _, done) => {
    healthOf(inner, parts)
    done()
  })
  app.register((inner, _, done) => {
    guard(inner, parts.access)
    oipRoutes(inner, parts)
    predictRoutes(inner, parts)
    scoreRoutes(inner, parts)
    repositoryRoutes(inner, parts)
    versionRoutes(inner, parts)
    liveRoutes(inner, parts)
    metricsRoute(inner, metrics)
    done()
  })
  app.register((inner, _, done) => {
    pageRoutes(inner)
    done()
  })
  await app.ready()
  return app
}

/** Errors: CONFIG_INVALID when the address cannot be listened on. */
export async function openService(parts: ServiceParts, address: ListenAddress): Promise<Service> {
  return await listenOn(await buildService(parts), address, parts)
}
