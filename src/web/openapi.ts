import swagger from '@fastify/swagger'
import type { FastifyInstance, FastifySchema } from 'fastify'
import { harrierVersion } from '../topology/harrier-version.js'
import { problemSchema } from './problem.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Of a route that reads its body itself: what the document says of it. */
    documentedBody?: object
  }
}

const meanings: Readonly<Record<number, string>> = {
  400: 'The request is not understood', 401: 'No key or token, or one that is not taken', 403: 'The key or token does not allow it', 429: 'The quota of the key is used up: try again after Retry-After seconds',
  404: 'There is no such thing',
  409: 'It would break a rule of the registry, or needs a key that is not at hand',
  413: 'The body is too large', 422: 'What was sent breaks its contract', 500: 'The model failed', 504: 'No score within the time; it will come', 503: 'Overloaded, or not ready: try again after Retry-After seconds',
}

/** Responses of a route that are no success, for its schema. */
export function failures<S extends number>(...statuses: readonly S[]): Readonly<Record<S, object>> {
  return Object.fromEntries([401, 403, ...statuses].map((status) => [status, { ...problemSchema, description: meanings[status]! }])) as Record<S, object>
}

/** Serves the OpenAPI document of all routes that are added after it: /openapi.json. */
export function serveOpenapi(app: FastifyInstance): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'A key of `harrier keys create`, or a token of the issuer; where the service asks for one' }, header: { type: 'apiKey', in: 'header', name: 'X-API-Key' } } },
      security: [{ key: [] }, { header: [] }, {}],
      info: { title: 'Harrier', version: harrierVersion, description: 'Streaming scoring for finance: models, features and lineage behind HTTP.', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    },
    transform: ({ schema, url, route }) => {
      const body = route.config?.documentedBody
      return { schema: (body === undefined ? (schema ?? {}) : { ...schema, body }) as FastifySchema, url }
    },
  })
  app.register((inner, _, done) => {
    inner.get('/openapi.json', { schema: { tags: ['Simple'], summary: 'This document', response: { 200: { description: 'OpenAPI 3.1', type: 'object', additionalProperties: true } } } }, () => app.swagger())
    done()
  })
}
