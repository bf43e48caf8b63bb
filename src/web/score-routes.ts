import type { FastifyInstance } from 'fastify'
import { HarrierError } from '../base/errors.js'
import { scoreGatewayLimits } from '../topology/score-gateway.js'
import { counted } from './guard.js'
import { failures } from './openapi.js'
import { parseUntrusted } from './safe-json.js'
import type { ServiceParts } from './service-parts.js'

const { timeoutMsDefault, timeoutMsMax } = scoreGatewayLimits
/** Headers of a trace, which go with the event. */
const traceHeaders = ['traceparent', 'tracestate'] as const

const schema = {
  tags: ['Score'],
  summary: 'Score a transaction in the stream',
  description: 'The body is a transaction as the input topic has it, in JSON. It becomes a record of the input, is scored exactly once with the live state of its entity, and the answer is its scored event.',
  params: { type: 'object', required: ['topology'], properties: { topology: { type: 'string', maxLength: 100 } } },
  querystring: { type: 'object', additionalProperties: false, properties: { timeout_ms: { type: 'integer', minimum: 1, maximum: timeoutMsMax, default: timeoutMsDefault } } },
  headers: { type: 'object', properties: { 'idempotency-key': { type: 'string', minLength: 1, maxLength: 200, description: 'A second request with it gets the answer of the first, and makes no second record' } } },
  response: {
    200: {
      description: 'The scored event',
      type: 'object',
      required: ['event_id', 'entity', 'score', 'decision', 'model', 'lineage'],
      additionalProperties: true,
      properties: {
        event_id: { type: 'string' }, entity: { type: 'string' }, score: { type: 'number' }, decision: { type: 'string', enum: ['APPROVE', 'REVIEW', 'DECLINE'] }, model: { type: 'string' },
        reasons: { type: 'array', items: { type: 'string' } }, lineage: { type: 'object', additionalProperties: true }, repeated: { type: 'boolean', description: 'The answer of an earlier request with this key' },
      },
    },
    ...failures(400, 404, 413, 422, 429, 503, 504),
  },
} as const

interface ScoreCall {
  Params: { topology: string }
  Querystring: { timeout_ms: number }
  Headers: { 'idempotency-key'?: string }
}

/** `POST /v1/score/<topology>` */
export function scoreRoutes(app: FastifyInstance, { gateway, access, limits }: ServiceParts): void {
  app.register((inner, _, done) => {
    inner.removeAllContentTypeParsers()
    inner.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit: limits.bodyBytesMax }, (_request, body, parsed) => parsed(null, body))
    const config = { role: 'scorer' as const, documentedBody: { type: 'object', description: 'A transaction, as the source of the topology has it', additionalProperties: true } }
    inner.post<ScoreCall>('/v1/score/:topology', { schema, config }, async (request, reply) => {
      const { topology } = request.params
      if (gateway?.topology !== topology) throw new HarrierError('MODEL_NOT_FOUND', `topology "${topology}" takes no transactions here`, { remedy: gateway ? `this service has ${gateway.topology}` : 'start it with `harrier run --serve`, or with --topology' })
      if (!Buffer.isBuffer(request.body)) throw new HarrierError('REQUEST_INVALID', 'the body is empty')
      const { body } = request
      const headers = Object.fromEntries(traceHeaders.flatMap((name) => (typeof request.headers[name] === 'string' ? [[name, request.headers[name]]] : [])))
      const call = { body, json: parseUntrusted(body, limits.jsonDepthMax), caller: request.principal.id, idempotencyKey: request.headers['idempotency-key'], timeoutMs: request.query.timeout_ms, headers }
      const { event, isRepeated } = await counted(access, request, reply, topology, 1, () => gateway.score(call))
      // written here: a schema for answers would leave out or turn what it does not know
      return reply.type('application/json; charset=utf-8').send(JSON.stringify({ ...event, repeated: isRepeated }))
    })
    done()
  })
}
