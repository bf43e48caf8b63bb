import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { seesModel } from '../access/access-control.js'
import { HarrierError } from '../base/errors.js'
import { readOipRequest, writeOipReply } from './oip-codec.js'
import { modelConfig, modelMetadata, modelStats, serverMetadata } from './oip-documents.js'
import { counted } from './guard.js'
import * as schemas from './oip-schemas.js'
import { goneSignal } from './gone-signal.js'
import type { ServiceParts } from './service-parts.js'

interface ModelPath {
  Params: { model: string; version?: string }
}

/**
 * The Open Inference Protocol v2 with Triton's binary tensors, repository index, statistics and configuration.
 * https://github.com/kserve/open-inference-protocol and Triton's docs/protocol
 */
export function oipRoutes(app: FastifyInstance, parts: ServiceParts): void {
  const { host, limits } = parts
  const served = ({ model, version }: ModelPath['Params']): ReturnType<typeof host.find> => host.find(model, version)

  app.get('/v2', { schema: schemas.serverMetadata }, () => serverMetadata())
  for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version'] as const) {
    const isVersioned = path.endsWith(':version')
    app.get<ModelPath>(path, { schema: schemas.modelMetadata(isVersioned) }, (request) => modelMetadata(host, served(request.params)))
    app.get<ModelPath>(`${path}/ready`, { schema: schemas.modelReady(isVersioned) }, (request, reply) => {
      const { isReady, reference } = served(request.params)
      return reply.code(isReady ? 200 : 503).send({ name: reference, ready: isReady })
    })
    app.get<ModelPath>(`${path}/config`, { schema: schemas.modelConfig(isVersioned) }, (request) => modelConfig(served(request.params), parts.batchDelayMs))
    app.get<ModelPath>(`${path}/stats`, { schema: schemas.modelStats(isVersioned) }, (request) => {
      const { model, version } = request.params
      const versions = version === undefined ? host.versionsOf(host.find(model).model.manifest.name) : [version]
      return { model_stats: versions.map((each) => modelStats(host.find(model, each))) }
    })
    inferRoute(app, parts, `${path}/infer`, isVersioned)
  }
  app.get('/v2/models/stats', { schema: schemas.allStats }, ({ principal }) => ({ model_stats: host.served().filter(({ model }) => seesModel(principal, model.manifest.name)).map(modelStats) }))
  app.register((index, _, done) => {
    index.removeAllContentTypeParsers()
    index.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: limits.bodyBytesMax }, (_request, body, parsed) => parsed(null, body))
    index.post('/v2/repository/index', { schema: schemas.repositoryIndex, config: { documentedBody: schemas.repositoryIndexBody } }, ({ principal }) => host.index().filter(({ name }) => seesModel(principal, name)))
    done()
  })
}

/** Takes its body as bytes: JSON may be followed by tensors. */
function inferRoute(app: FastifyInstance, parts: ServiceParts, path: string, isVersioned: boolean): void {
  const { host, limits } = parts
  app.register((inner, _, done) => {
    inner.removeAllContentTypeParsers()
    inner.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: limits.bodyBytesMax }, (_request, body, parsed) => parsed(null, body))
    inner.post<ModelPath>(path, { schema: schemas.infer(isVersioned), config: { documentedBody: schemas.inferBody, role: 'scorer' } }, async (request, reply) => {
      const model = host.find(request.params.model, request.params.version)
      const { inputs, outputs, binaryOutput, priority, timeoutMs, id } = readOipRequest(bodyOf(request), headerLength(request), limits.jsonDepthMax)
      const wanted = { inputs, outputs: outputs?.map(({ name: each }) => each) ?? null, priority, timeoutMs, signal: goneSignal(reply) }
      const answer = await counted(parts.access, request, reply, model.model.manifest.name, model.rowsOf(wanted), () => model.infer(wanted))
      const { name, version } = model.model.manifest
      return sendAnswer(reply, writeOipReply({ model_name: name, model_version: version, ...(id === undefined ? {} : { id }), parameters: timesOf(answer) }, answer.outputs, { outputs, binaryOutput }))
    })
    done()
  })
}

function bodyOf({ body, headers }: FastifyRequest): Uint8Array {
  if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity') throw new HarrierError('REQUEST_INVALID', 'Content-Encoding is not taken', { remedy: 'send the body as it is' })
  if (Buffer.isBuffer(body)) return body
  throw new HarrierError('REQUEST_INVALID', 'the body is empty')
}

function headerLength({ headers }: FastifyRequest): string | undefined {
  const value = headers['inference-header-content-length']
  return Array.isArray(value) ? 'several' : value
}

/** How long the request waited, how long its batch took, and how large that was. */
export function timesOf({ queueMs, computeMs, batchRows }: { readonly queueMs: number; readonly computeMs: number; readonly batchRows: number }): { queue_us: number; compute_us: number; batch_rows: number } {
  return { queue_us: Math.round(queueMs * 1000), compute_us: Math.round(computeMs * 1000), batch_rows: batchRows }
}

function sendAnswer(reply: FastifyReply, { body, headerBytes }: ReturnType<typeof writeOipReply>): FastifyReply {
  if (headerBytes === undefined) return reply.type('application/json; charset=utf-8').send(body)
  return reply.header('inference-header-content-length', headerBytes).type('application/octet-stream').send(body)
}
