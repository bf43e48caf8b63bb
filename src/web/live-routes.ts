import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { demand, seesModel } from '../access/access-control.js'
import { mayAct } from '../access/key-record.js'
import { HarrierError } from '../base/errors.js'
import { modelNameOf } from '../inference/manifest.js'
import { isToken } from '../privacy/token-text.js'
import type { RecordMask } from '../topology/record-mask.js'
import { maskedRow, seenRow } from '../topology/record-view.js'
import type { StreamNews } from '../topology/stream-watch.js'
import { credentialOf } from './guard.js'
import { noted } from './noted.js'
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
  app.get<{ Params: { topology: string; entity: string }; Querystring: { count: number; partition?: number; alert?: number; clear: boolean } }>('/v1/topologies/:topology/entities/:entity/events', { schema: schemas.history }, async (request) => {
    here(request.params.topology)
    const { params: { entity }, query: { count, partition, alert, clear } } = request
    // Whoever asks by a person's value learns that the person is known here.
    if (desk.mask.hidesEntity && !isToken(entity) && alert === undefined) demand(request.principal, 'admin')
    const mask = await maskFor(parts, request, desk.mask, clear, 'events of an entity')
    const { events, scanned } = await desk.history({ entity, partition, alert, count })
    return { events: events.map((row) => seenRow(mask ? maskedRow(row, mask) : row, sees(request))).filter((row) => row !== undefined), scanned }
  })
  app.get<{ Params: { topology: string }; Querystring: { last: number } }>('/v1/topologies/:topology/dead-letters', { schema: schemas.deadLetters }, ({ params, query }) => here(params.topology).desk.deadLetters(query.last))
  app.get<{ Params: RecordPath; Querystring: { clear: boolean } }>('/v1/topologies/:topology/dead-letters/:partition/:offset', { schema: schemas.deadLetter }, async (request) => {
    const { params: { topology, partition, offset }, principal, query: { clear } } = request
    const mask = await maskFor(parts, request, here(topology).desk.mask, clear, `dead letter ${partition}/${offset}`)
    return await desk.deadLetter(partition, offset, { whole: mayAct(principal.role, 'admin') && mask?.hides !== true })
  })
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

/** What hides personal values from whoever asks; undefined: an admin asks for clear text, and it is noted that they did. Errors: FORBIDDEN. */
async function maskFor(parts: ServiceParts, { principal, id }: FastifyRequest, mask: RecordMask, clear: boolean, subject: string): Promise<RecordMask | undefined> {
  if (!clear) return mask
  demand(principal, 'admin')
  if (mask.hides) await noted(parts, parts.versions?.audit, principal, { action: 'personal.show', subject, request: id, before: null, after: null })
  return undefined
}

function liveRoute(app: FastifyInstance, { access, clock }: ServiceParts, here: (topology: string) => StreamParts): void {
  const open = new Set<Readable>()
  // A stream has no end of its own: whoever closes the service would wait for it.
  app.addHook('preClose', (done) => {
    for (const each of open) each.destroy()
    done()
  })
  app.get<{ Params: { topology: string } }>('/v1/topologies/:topology/live', { schema: schemas.live }, (request, reply) => {
    const { watch, desk } = here(request.params.topology)
    const { principal } = request
    const events = new Readable({ read: () => undefined })
    const sinceMs = clock.monotonicMs()
    const send = (news: StreamNews): void => {
      const isLate = events.readableLength > liveLimits.clientBytesMax
      if (isLate || clock.monotonicMs() - sinceMs > liveLimits.connectionMsMax) return void events.destroy()
      events.push(`event: news\ndata: ${JSON.stringify(forEyes(news, desk.mask, (model) => seesModel(principal, model)))}\n\n`)
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

/** Personal values masked, and without what is of models that somebody may not see. */
function forEyes({ figures, scored, alerts, deadLetters }: StreamNews, mask: RecordMask, sees: (model: string) => boolean): StreamNews {
  const seen = (rows: StreamNews['scored']): StreamNews['scored'] => rows.map((row) => seenRow(maskedRow(row, mask), sees)).filter((row) => row !== undefined)
  return { figures: figures.map((each) => ({ ...each, models: each.models.filter(({ model }) => sees(modelNameOf(model))) })), scored: seen(scored), alerts: seen(alerts), deadLetters }
}
