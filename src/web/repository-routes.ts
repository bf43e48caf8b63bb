import type { FastifyInstance, FastifyRequest } from 'fastify'
import { HarrierError } from '../base/errors.js'
import { noted } from './noted.js'
import { failures } from './openapi.js'
import { parseUntrusted } from './safe-json.js'
import type { ServiceParts } from './service-parts.js'

interface ModelPath {
  Params: { model: string }
}

const params = { type: 'object', required: ['model'], properties: { model: { type: 'string', minLength: 1, maxLength: 100 } } } as const
const done = { 200: { description: 'Done', type: 'object', properties: {} }, ...failures(400, 404, 413, 422, 503) } as const
const tags = ['Open Inference Protocol']
const load = { tags, summary: 'Serve a model of the folder: its newest version, or those that a configuration names', params, response: done } as const
const unload = { tags, summary: 'Serve a model no more', params, response: done } as const
const documentedBody = { type: 'object', additionalProperties: true, description: "As Triton's: `parameters.config` is a configuration in JSON, of which `version_policy.specific.versions` is read" } as const

/** Triton's load and unload. Only what is registered in the folder is served, with the sha256 of its manifest. */
export function repositoryRoutes(app: FastifyInstance, parts: ServiceParts): void {
  const { host, limits } = parts
  app.register((inner, _, registered) => {
    inner.removeAllContentTypeParsers()
    inner.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: limits.bodyBytesMax }, (_request, body, parsed) => parsed(null, body))
    inner.post<ModelPath>('/v2/repository/models/:model/load', { schema: load, config: { role: 'releaser', documentedBody } }, (request) =>
      changing(parts, request, 'serving.load', () => host.load(request.params.model, versionsOf(request.body, limits.jsonDepthMax))))
    inner.post<ModelPath>('/v2/repository/models/:model/unload', { schema: unload, config: { role: 'releaser', documentedBody } }, (request) =>
      changing(parts, request, 'serving.unload', () => host.unload(request.params.model)))
    registered()
  })
}

/** Versions of a configuration in the body; undefined where none are named. Errors: REQUEST_INVALID. */
function versionsOf(body: unknown, depthMax: number): string[] | undefined {
  if (!Buffer.isBuffer(body) || body.length === 0) return undefined
  const { parameters } = (parseUntrusted(body, depthMax) ?? {}) as { parameters?: { config?: unknown } }
  if (parameters?.config === undefined) return undefined
  if (typeof parameters.config !== 'string') throw new HarrierError('REQUEST_INVALID', 'parameters.config is a configuration as a text of JSON')
  const config = (parseUntrusted(Buffer.from(parameters.config), depthMax) ?? {}) as { version_policy?: { specific?: { versions?: unknown } } }
  const versions = config.version_policy?.specific?.versions
  if (versions === undefined) return undefined
  if (!Array.isArray(versions) || versions.length === 0) throw new HarrierError('REQUEST_INVALID', 'version_policy.specific.versions is a list of versions')
  return versions.map(String)
}

/** Changes what is served, and notes it where that was so. */
async function changing(parts: ServiceParts, { principal, id }: FastifyRequest, action: string, work: () => Promise<string[]>): Promise<object> {
  const { host, versions } = parts
  const audit = versions?.audit
  await audit?.ready()
  const names = (): string[] => host.served().map(({ reference }) => reference)
  const before = names()
  const changed = await work()
  if (changed.length === 0) return {}
  await noted(parts, audit, principal, { action, subject: changed.join(', '), request: id, before: { served: before }, after: { served: names() } })
  return {}
}
