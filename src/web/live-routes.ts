import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { seesModel } from '../access/access-control.js'
import { mayAct } from '../access/key-record.js'
import { HarrierError } from '../base/errors.js'
import { modelNameOf } from '../inference/manifest.js'
import { seenRow } from '../topology/record-view.js'
import type { StreamNews } from '../topology/stream-watch.js'
import { credentialOf } from './guard.js'
import * as schemas from './live-schemas.js'
import type { ServiceParts, StreamParts } from './service-parts.js'

export const liveLimits = {
  /** Bytes that wait for a client: one that is further behind is dropped. */
  clientBytesMax: 512 << 10,
  /** After so long a client connects again. */
  connectionMsMax: 3_600_000,
} as const

interface RecordPath {
  topology: string
  partition: number
  offset: number
}

/** The stream for people: as it goes, the past of an entity, dead letters from near and on their way again. */
export function liveRoutes(app: FastifyInstance, parts: ServiceParts): void {
  const { stream } = parts
  app.get('/v1/me', { schema: schemas.me }, ({ principal: { name, role, models, topologies } }) => ({ name, role, models, topologies, asked: parts.access !== undefined }))
  if (!stream) return
  const { desk } = stream
  const sees = ({ principal }: FastifyRequest) => (model: string): boolean => seesModel(principal, model)
  const here = (topology: string): StreamParts => {
    if (topology === stream.topology) return stream
    throw new HarrierError('NOT_FOUND', `topology "${topology}" is not here`, { remedy: 'GET /v1/topologies lists those that are' })
  }
  liveRoute(app, parts, here)
  app.get<{ Params: { topology: string; entity: string }; Querystring: { count: number; partition?: number } }>('/v1/topologies/:topology/entities/:entity/events', { schema: schemas.history }, async (request) => {
    here(request.params.topology)
    const { events, scanned } = await desk.history(request.params.entity, request.query.partition, request.query.count)
    return { events: events.map((row) => seenRow(row, sees(request))).filter((row) => row !== undefined), scanned }
  })
  app.get<{ Params: { topology: string }; Querystring: { last: number } }>('/v1/topologies/:topology/dead-letters', { schema: schemas.deadLetters }, ({ params, query }) => here(params.topology).desk.deadLetters(query.last))
  app.get<{ Params: RecordPath }>('/v1/topologies/:topology/dead-letters/:partition/:offset', { schema: schemas.deadLetter }, ({ params, principal }) =>
    here(params.topology).desk.deadLetter(params.partition, params.offset, { whole: mayAct(principal.role, 'admin') }))
  app.post<{ Params: RecordPath; Body: { reason: string; again: boolean } }>('/v1/topologies/:topology/dead-letters/:partition/:offset/redrive', { schema: schemas.redrive, config: { role: 'releaser' } }, async (request, reply) => {
    const { params, body, principal, id } = request
    here(params.topology)
    if (body.reason.trim() === '') throw new HarrierError('REQUEST_INVALID', 'reason is for people: it cannot be empty')
    await parts.versions?.audit?.ready()
    const went = await desk.redrive(params.partition, params.offset, { actor: principal.name, id: principal.id, reason: body.reason, request: id, again: body.again })
    parts.logger.log('info', 'an administrative action', { action: 'dead-letters.redrive', partition: params.partition, offset: params.offset, request: id, actor: principal.name, who: principal.id })
    return reply.code(201).send(went)
  })
}

function liveRoute(app: FastifyInstance, { access, clock }: ServiceParts, here: (topology: string) => StreamParts): void {
  const open = new Set<Readable>()
  // A stream has no end of its own: whoever closes the service would wait for it.
  app.addHook('preClose', (done) => {
    for (const each of open) each.destroy()
    done()
  })
  app.get<{ Params: { topology: string } }>('/v1/topologies/:topology/live', { schema: schemas.live }, (request, reply) => {
    const { watch } = here(request.params.topology)
    const { principal } = request
    const events = new Readable({ read: () => undefined })
    const sinceMs = clock.monotonicMs()
    const send = (news: StreamNews): void => {
      const isLate = events.readableLength > liveLimits.clientBytesMax
      if (isLate || clock.monotonicMs() - sinceMs > liveLimits.connectionMsMax) return void events.destroy()
      events.push(`event: news\ndata: ${JSON.stringify(forEyes(news, (model) => seesModel(principal, model)))}\n\n`)
    }
    const stop = watch.watch((news) => {
      if (!access) return send(news)
      // A key that has ended since ends this, too.
      access.authenticate(credentialOf(request)).then(() => send(news), () => events.destroy())
    })
    open.add(events)
    events.once('close', () => {
      stop()
      open.delete(events)
    })
    reply.raw.once('close', () => events.destroy())
    return reply.type('text/event-stream; charset=utf-8').header('x-accel-buffering', 'no').send(events)
  })
}

/** Without what is of models that somebody may not see. */
function forEyes({ figures, scored, alerts, deadLetters }: StreamNews, sees: (model: string) => boolean): StreamNews {
  const seen = (rows: StreamNews['scored']): StreamNews['scored'] => rows.map((row) => seenRow(row, sees)).filter((row) => row !== undefined)
  return { figures: figures.map((each) => ({ ...each, models: each.models.filter(({ model }) => sees(modelNameOf(model))) })), scored: seen(scored), alerts: seen(alerts), deadLetters }
}
