import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { demand, seesModel, seesTopology } from '../access/access-control.js'
import { compareDefaults, labelsTopicOf, type CompareTask, type ModelComparison } from '../backtest/compare-live.js'
import { HarrierError } from '../base/errors.js'
import { modelNameOf } from '../inference/manifest.js'
import { workApart } from '../registry/apart.js'
import { importTask, type doImport } from '../registry/import-version.js'
import { modelCard } from '../registry/model-card.js'
import { versionSummary } from '../registry/model-shelf.js'
import { readRegistration } from '../inference/registration.js'
import { harrierVersion } from '../topology/harrier-version.js'
import { actAtDesk, releaseAt, seenEntries, stageState, withoutOthers, type DeskWish } from '../topology/release-action.js'
import { goneSignal } from './gone-signal.js'
import { noted } from './noted.js'
import type { ServiceParts, VersionParts } from './service-parts.js'
import { versionLimits } from './version-limits.js'
import * as schemas from './version-schemas.js'

interface StagePath {
  topology: string
  stage: string
}

interface CompareQuery {
  a: string
  b: string
  events: number
  alerts_a_day: number
  top: number
  mature_days?: number
}

const sees = ({ principal }: FastifyRequest) => (model: string): boolean => seesModel(principal, model)

/** At most so many at once; the next one is told to come again. Errors: OVERLOADED. */
class Slots {
  #used = 0
  constructor(private readonly max: number, private readonly what: string) {}

  async in<T>(work: () => Promise<T>): Promise<T> {
    if (this.#used >= this.max) throw new HarrierError('OVERLOADED', `${this.what} is under way already`, { retryAfterMs: 5000 })
    this.#used++
    try {
      return await work()
    } finally {
      this.#used--
    }
  }
}

/** Model versions, and their releases: what `harrier models` does. */
export function versionRoutes(app: FastifyInstance, parts: ServiceParts): void {
  const { versions } = parts
  if (!versions) return
  const { shelf, desks } = versions
  app.get('/v1/models', { schema: schemas.listVersions }, (request) => shelf.list(sees(request)))
  app.get<{ Params: { model: string; version: string } }>('/v1/models/:model/versions/:version', { schema: schemas.showVersion }, ({ params }) => {
    const model = shelf.find(params.model, params.version)
    return { summary: versionSummary(model), manifest: model.manifest, registration: readRegistration(model.folder) ?? null }
  })
  app.get<{ Params: { model: string; version: string } }>('/v1/models/:model/versions/:version/card', { schema: schemas.card }, async (request, reply) => {
    const model = shelf.find(request.params.model, request.params.version)
    const own = desks && seesTopology(request.principal, desks.topology.name) ? desks : undefined
    const entries = own && (await Promise.all(own.stages().map(({ stageName }) => own.at(stageName, (desk) => desk.releases())))).flatMap((stage) => stage.entries)
    const releases = entries ? seenEntries(entries, sees(request)) : null
    return reply.type('text/markdown; charset=utf-8').send(modelCard({ model, registration: readRegistration(model.folder), releases }))
  })
  app.get('/v1/topologies', { schema: schemas.topologies }, ({ principal }) =>
    desks && seesTopology(principal, desks.topology.name) ? [{ topology: desks.topology.name, stages: desks.stages().map(({ stageName }) => stageName) }] : [])
  registerRoute(app, parts, versions)
  stageRoutes(app, parts, versions)
}

/** `POST /v1/models`: the body goes to a file, and a process of its own registers that. */
function registerRoute(app: FastifyInstance, parts: ServiceParts, { shelf, trusted, device, audit }: VersionParts): void {
  const imports = new Slots(versionLimits.importsMax, 'a registration')
  app.register((inner, _, done) => {
    inner.removeAllContentTypeParsers()
    inner.addContentTypeParser('*', (_request, body, parsed) => parsed(null, body))
    inner.post('/v1/models', { schema: schemas.register, bodyLimit: versionLimits.packageBytesMax, config: { role: 'releaser', documentedBody: schemas.registerBody } }, async (request, reply) => {
      if (trusted.length === 0) throw new HarrierError('PACKAGE_REFUSED', 'this service trusts nobody to sign versions', { remedy: 'start it with --trust <public key>' })
      const { principal, id } = request
      const folder = await mkdtemp(join(tmpdir(), 'harrier-upload-'))
      try {
        return await imports.in(async () => {
          await audit?.ready()
          const file = join(folder, 'version')
          await keep(request.body as Readable | undefined, file)
          const task = importTask({ file, root: shelf.root, trusted, names: principal.models, actor: principal.name, device, harrier: harrierVersion })
          const options = { timeoutMs: versionLimits.importMsMax, clock: parts.clock, signal: goneSignal(reply) }
          const { registration, isNew, bytes, signedBy } = await workApart<Awaited<ReturnType<typeof doImport>>>(new URL('../registry/import-apart.js', import.meta.url), task, options).catch((error: unknown) => {
            // the file has a name on this machine that is nobody's business
            throw error instanceof HarrierError ? new HarrierError(error.code, error.message.replaceAll(file, 'the file'), { remedy: error.remedy }) : error
          })
          if (isNew) await noted(parts, audit, principal, { action: 'models.register', subject: registration.model, request: id, before: null, after: { sha256: registration.sha256, signedBy } })
          reply.code(isNew ? 201 : 200)
          return { registration, isNew, bytes, signedBy }
        })
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    })
    done()
  })
}

async function keep(body: Readable | undefined, file: string): Promise<void> {
  if (!body) throw new HarrierError('REQUEST_INVALID', 'the body is empty', { remedy: 'send the file that `harrier models export` wrote' })
  let bytes = 0
  await pipeline(body, async function* (pieces: AsyncIterable<Buffer>) {
    for await (const piece of pieces) {
      bytes += piece.length
      if (bytes > versionLimits.packageBytesMax) throw new HarrierError('LIMIT_EXCEEDED', `the file is larger than ${versionLimits.packageBytesMax} bytes`, { remedy: '`harrier models import` has no such limit' })
      yield piece
    }
  }, createWriteStream(file, { flags: 'wx' }))
}

function stageRoutes(app: FastifyInstance, parts: ServiceParts, { desks, audit, connectionFile }: VersionParts): void {
  const comparisons = new Slots(versionLimits.comparisonsMax, 'a comparison')
  const path = '/v1/topologies/:topology/stages/:stage'
  const desksOf = ({ topology }: StagePath): NonNullable<typeof desks> => {
    if (desks?.topology.name === topology) return desks
    throw new HarrierError('NOT_FOUND', `topology "${topology}" is not here`, { remedy: desks ? 'GET /v1/topologies lists those that are' : 'start the service with `harrier run --serve`, or with --topology' })
  }
  app.get<{ Params: StagePath }>(path, { schema: schemas.stage }, (request) => desksOf(request.params).at(request.params.stage, (desk, view) => stageState(desk, view, sees(request))))
  app.get<{ Params: StagePath; Querystring: { last: number } }>(`${path}/releases`, { schema: schemas.ledger }, async (request) => {
    const { entries } = await desksOf(request.params).at(request.params.stage, (desk) => desk.releases())
    return seenEntries(entries, sees(request)).slice(-request.query.last)
  })
  app.get<{ Params: StagePath & { revision: number } }>(`${path}/releases/:revision`, { schema: schemas.oneRelease }, (request) =>
    desksOf(request.params).at(request.params.stage, (desk) => releaseAt(desk, request.params.revision, sees(request))))
  app.post<{ Params: StagePath; Body: DeskWish & { reason: string } }>(`${path}/releases`, { schema: schemas.act, config: { role: 'releaser' } }, async (request, reply) => {
    const { params, body, principal, id } = request
    const admit = (names: readonly string[]): void => names.forEach((model) => demand(principal, 'releaser', { model }))
    const entry = await desksOf(params).at(params.stage, async (desk) => {
      await audit?.ready()
      return await withoutOthers(sees(request), () => actAtDesk(desk, body, { actor: principal.name, reason: body.reason, admit, details: { by: principal.id } }))
    })
    const { action, model, from, to, revision } = entry
    await noted(parts, audit, principal, { action: `models.${action}`, subject: model, reason: body.reason, request: id, before: { models: from }, after: { models: to, revision } })
    return reply.code(201).send(entry)
  })
  app.get<{ Params: StagePath; Querystring: CompareQuery }>(`${path}/compare`, { schema: schemas.compare }, async (request, reply) => {
    const { params, query, principal } = request
    const models = [query.a, query.b] as const
    for (const model of models) demand(principal, 'viewer', { model: modelNameOf(model) })
    const { topology } = desksOf(params)
    const { connection, namespace } = desks!
    const task: CompareTask = {
      topology: topology.file, stage: desks!.stage(params.stage).stageName, namespace, models, labelsTopic: labelsTopicOf(topology, namespace), eventsMax: query.events, alertsADay: query.alerts_a_day,
      top: query.top, resamples: compareDefaults.resamples, matureMs: query.mature_days === undefined ? undefined : query.mature_days * 86_400_000,
      connection: connectionFile === undefined ? { brokers: connection.brokers, registryUrl: connection.registryUrl, connectMsMax: connection.connectMsMax } : { file: connectionFile },
    }
    const options = { timeoutMs: versionLimits.comparisonMsMax, clock: parts.clock, signal: goneSignal(reply) }
    return await comparisons.in(() => workApart<ModelComparison>(new URL('../backtest/compare-apart.js', import.meta.url), task, options))
  })
}
