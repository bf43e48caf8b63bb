import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { errorCatalogue, HarrierError, type ErrorCode } from '../base/errors.js'
import type { Logger } from '../base/logger.js'

/** The body of every answer that is not a success. `error` is where clients of the Open Inference Protocol look. */
export interface Problem {
  readonly error: string
  readonly code: ErrorCode | 'NOT_FOUND' | 'INTERNAL'
  /** What the caller can do. */
  readonly remedy: string
  readonly request_id: string
}

const statusOf: Readonly<Partial<Record<ErrorCode, number>>> = {
  REQUEST_INVALID: 400,
  USAGE: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  MODEL_NOT_FOUND: 404,
  NOT_FOUND: 404,
  RELEASE_REFUSED: 409,
  PRIVACY_KEY_MISSING: 409,
  LIMIT_EXCEEDED: 413,
  QUOTA_EXCEEDED: 429,
  RECORD_INVALID: 422,
  PACKAGE_REFUSED: 422,
  MANIFEST_INVALID: 422,
  MODEL_INVALID: 422,
  DEVICE_UNAVAILABLE: 422,
  RECORD_UNDECODABLE: 422,
  SCORE_PENDING: 504,
  OVERLOADED: 503,
  TOKEN_UNAVAILABLE: 503,
  MODEL_FAILED: 500,
  BROKER_UNAVAILABLE: 503,
  REGISTRY_UNAVAILABLE: 503,
  TOPIC_MISSING: 503,
  TRANSACTION_ABORTED: 503,
}

/** Errors whose message is about the inside: a broker, a path, the runtime of a model. Callers get the catalogue's words, the log the message. */
const internal: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['MODEL_FAILED', 'BROKER_UNAVAILABLE', 'REGISTRY_UNAVAILABLE', 'TOKEN_UNAVAILABLE'])

/** Refusals that never meet a handler. None repeats what was sent. */
const refusals: Readonly<Record<number, readonly [error: string, remedy: string]>> = {
  400: ['the request is no HTTP that can be read, or its path cannot be decoded', 'write the request as RFC 9112 has it'],
  408: ['the request has not come within its time', 'send it at once'],
  414: ['the path or a part of it is too long', 'docs/service.md has the limits'],
  417: ['Expect has something else than 100-continue', 'leave the header out'],
  431: ['the headers are too large', 'docs/service.md has the limits'],
}

export function refusalOf(status: number, id: string): Problem {
  const [error, remedy] = refusals[status]!
  return { error, code: 'REQUEST_INVALID', remedy, request_id: id }
}

export function sendRefusal(reply: FastifyReply, status: number, id: string): void {
  send(reply, status, refusalOf(status, id))
}

/** Turns whatever a handler threw into a `Problem`. What we did not mean to say stays in the log: no stack, no message of a library. */
export function handleErrors(app: FastifyInstance, logger: Logger): void {
  app.setNotFoundHandler((request, reply) => send(reply, 404, { error: 'there is nothing at this path', code: 'NOT_FOUND', remedy: 'GET /openapi.json lists what is there', request_id: request.id }))
  const bug = (error: Error, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    logger.log('error', 'a request met a bug', { request: request.id, route: routeOf(request), cause: error.stack ?? error.message })
    return send(reply, 500, { error: 'an internal error; the log has it under the request id', code: 'INTERNAL', remedy: 'tell whoever runs the service, with the request id', request_id: request.id })
  }
  app.setErrorHandler((error: FastifyError | HarrierError | Error, request, reply) => {
    if (error instanceof HarrierError) {
      const { code, message, remedy, retryAfterMs } = error
      if (statusOf[code] === undefined) return bug(error, request, reply)
      const status = code === 'MODEL_FAILED' && retryAfterMs !== undefined ? 503 : statusOf[code]
      if (status >= 500 && code !== 'OVERLOADED') logger.log('warn', 'a request failed', { request: request.id, route: routeOf(request), code, cause: message })
      if (retryAfterMs !== undefined) reply.header('retry-after', Math.max(1, Math.ceil(retryAfterMs / 1000)))
      if (status === 401) reply.header('www-authenticate', 'Bearer realm="harrier"')
      return send(reply, status, { error: internal.has(code) ? errorCatalogue[code].summary : message, code, remedy: internal.has(code) ? errorCatalogue[code].remedy : remedy, request_id: request.id })
    }
    const status = 'statusCode' in error ? (error.statusCode ?? 500) : 500
    if (status < 500) return send(reply, status, { error: error.message, code: 'REQUEST_INVALID', remedy: errorCatalogue.REQUEST_INVALID.remedy, request_id: request.id })
    return bug(error, request, reply)
  })
}

function send(reply: FastifyReply, status: number, problem: Problem): FastifyReply {
  return reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(problem))
}

/** The pattern of a request's route: what may be logged of its URL. */
export function routeOf({ method, routeOptions }: FastifyRequest): string {
  return `${method} ${routeOptions.url ?? '(none)'}`
}

/** For the OpenAPI document. */
export const problemSchema = {
  type: 'object',
  description: 'What went wrong, and what to do.',
  required: ['error', 'code', 'remedy', 'request_id'],
  properties: { error: { type: 'string' }, code: { type: 'string' }, remedy: { type: 'string' }, request_id: { type: 'string' } },
} as const
