import { fastify, type FastifyInstance } from 'fastify'
import { withTimeout } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { uniqueSuffix } from '../base/prng.js'
import { healthRoutes } from './health-routes.js'
import { oipRoutes } from './oip-routes.js'
import { serveOpenapi } from './openapi.js'
import { predictRoutes } from './predict-routes.js'
import { handleErrors, routeOf } from './problem.js'
import { parseUntrusted } from './safe-json.js'
import type { ServiceParts } from './service-parts.js'

export interface ListenAddress {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
}

/** A service that listens. */
export interface Service {
  readonly url: string
  readonly app: FastifyInstance
  /** Takes no more, and waits a while for what is being answered. */
  close(): Promise<void>
}

/** The application without a socket: for tests, and for whoever listens. */
export async function buildService(parts: ServiceParts): Promise<FastifyInstance> {
  const { limits, logger } = parts
  const instance = uniqueSuffix()
  let requests = 0
  const app = fastify({
    logger: false,
    bodyLimit: limits.bodyBytesMax,
    requestTimeout: limits.requestMsMax,
    keepAliveTimeout: limits.keepAliveMsMax,
    connectionTimeout: limits.silentMsMax,
    http: { maxHeaderSize: limits.headerBytesMax },
    routerOptions: { maxParamLength: limits.parameterBytesMax },
    genReqId: () => `${instance}-${++requests}`,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
  })
  app.server.maxConnections = limits.connectionsMax
  handleErrors(app, logger)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => {
    try {
      done(null, parseUntrusted(body as Buffer, limits.jsonDepthMax))
    } catch (error) {
      done(error instanceof Error ? error : new Error(messageOf(error)))
    }
  })
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers({
      'x-request-id': request.id, 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer', 'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    })
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    logger.log('debug', 'request', { request: request.id, route: routeOf(request), status: reply.statusCode, ms: Math.round(reply.elapsedTime * 10) / 10 })
    done()
  })
  serveOpenapi(app)
  app.register((inner, _, done) => {
    healthRoutes(inner, parts)
    oipRoutes(inner, parts)
    predictRoutes(inner, parts)
    done()
  })
  await app.ready()
  return app
}

/** Errors: CONFIG_INVALID when the address cannot be listened on. */
export async function openService(parts: ServiceParts, { host, port }: ListenAddress): Promise<Service> {
  const app = await buildService(parts)
  let url: string
  try {
    url = await app.listen({ host, port })
  } catch (error) {
    throw new HarrierError('CONFIG_INVALID', `the service cannot listen on ${host}:${port}: ${messageOf(error)}`, { cause: error, remedy: 'choose another address with --listen' })
  }
  return {
    url,
    app,
    async close() {
      await withTimeout(app.close(), parts.limits.closeMsMax, () => new Error('connections are still open')).catch((error: unknown) => {
        parts.logger.log('warn', 'the service was closed before its last answers', { cause: messageOf(error) })
        app.server.closeAllConnections()
      })
    },
  }
}
