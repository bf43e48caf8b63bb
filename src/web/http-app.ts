import { STATUS_CODES, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { fastify, type FastifyInstance, type FastifyReply } from 'fastify'
import type { Logger } from '../base/logger.js'
import { uniqueSuffix } from '../base/prng.js'
import { handleErrors, refusalOf, sendRefusal } from './problem.js'
import type { ServiceLimits } from './service-limits.js'
import type { TlsIdentity } from './tls-identity.js'

export interface HttpAppOptions {
  readonly limits: ServiceLimits
  readonly tls?: TlsIdentity | undefined
  readonly logger: Logger
}

const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
} as const
/** A browser that was here by TLS does not come back without it: RFC 6797. */
const strictTransport = { 'strict-transport-security': 'max-age=31536000' } as const

/** An application without routes: with the limits, headers and answers to nonsense that hold for each of ours. */
export function httpApp({ limits, tls, logger }: HttpAppOptions): FastifyInstance {
  const headers = tls ? { ...securityHeaders, ...strictTransport } : securityHeaders
  const instance = uniqueSuffix()
  let requests = 0
  const nextId = (): string => `${instance}-${++requests}`
  const server = {
    maxHeaderSize: limits.headerBytesMax, headersTimeout: limits.headerMsMax, connectionsCheckingInterval: limits.checkMs,
  }
  const app = fastify({
    logger: false,
    bodyLimit: limits.bodyBytesMax,
    requestTimeout: limits.requestMsMax,
    keepAliveTimeout: limits.keepAliveMsMax,
    connectionTimeout: limits.silentMsMax,
    // the type of an app with TLS differs in its server only, and nothing here looks at that
    ...(tls ? { https: { ...server, ...tls.options, handshakeTimeout: limits.handshakeMsMax } as unknown as null } : { http: server }),
    routerOptions: { maxParamLength: limits.parameterBytesMax },
    genReqId: nextId,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
    // A path that cannot be decoded meets no route, and so no hook.
    frameworkErrors: (error, request, reply) => {
      const answer = reply as unknown as FastifyReply
      sendRefusal(answer.headers({ ...headers, 'x-request-id': request.id }), error.code === 'FST_ERR_MAX_PARAM_LENGTH' ? 414 : 400, request.id)
    },
    clientErrorHandler: (error, socket) => answerNonsense(error, socket, nextId(), headers),
  })
  app.server.maxConnections = limits.connectionsMax
  app.server.maxHeadersCount = limits.headersMax
  app.server.on('checkExpectation', (_, response: ServerResponse) => {
    const id = nextId()
    response.writeHead(417, { ...headers, ...headOf(id, JSON.stringify(refusalOf(417, id))) }).end(JSON.stringify(refusalOf(417, id)))
  })
  handleErrors(app, logger)
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers({ ...headers, 'x-request-id': request.id })
    if (request.raw.url!.length <= limits.urlBytesMax) return done()
    sendRefusal(reply, 414, request.id)
  })
  return app
}

const statusOfNonsense: Readonly<Record<string, number>> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }

/** What is no HTTP, or comes too slowly, or has too large a head: said once, and the connection ends. */
function answerNonsense(error: NodeJS.ErrnoException, socket: Socket, id: string, headers: Readonly<Record<string, string>>): void {
  if (error.code === 'ECONNRESET' || !socket.writable || socket.destroyed) return void socket.destroy()
  const status = statusOfNonsense[error.code ?? ''] ?? 400
  const body = JSON.stringify(refusalOf(status, id))
  const head = { ...headers, ...headOf(id, body) }
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${Object.entries(head).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`, () => socket.destroy())
}

/** Of the last answer on a connection. */
function headOf(id: string, body: string): Readonly<Record<string, string>> {
  return { 'x-request-id': id, 'content-type': 'application/json; charset=utf-8', 'content-length': String(Buffer.byteLength(body)), connection: 'close' }
}
