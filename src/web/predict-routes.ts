import type { FastifyInstance } from 'fastify'
import { demand } from '../access/access-control.js'
import { HarrierError } from '../base/errors.js'
import type { Manifest } from '../inference/manifest.js'
import { priorityDefault } from '../inference/serving/request-queue.js'
import { scoreSequences } from '../inference/serving/row-scores.js'
import { clipped } from '../inference/serving/tensor-value.js'
import { counted } from './guard.js'
import { goneSignal } from './gone-signal.js'
import * as schemas from './predict-schemas.js'
import type { ServiceParts } from './service-parts.js'

interface PredictBody {
  readonly input: unknown
  readonly model?: string
}

/** `POST /predict`: rows of features in, scores out, for a client that wants no protocol. */
export function predictRoutes(app: FastifyInstance, { host, access }: ServiceParts): void {
  app.post('/predict', { schema: schemas.predict, config: { role: 'scorer', documentedBody: schemas.predictBody } }, async (request, reply) => {
    const { input, model } = readBody(request.body)
    const only = host.served().length === 1 ? host.served()[0]!.reference : undefined
    const reference = model ?? only
    if (reference === undefined) throw new HarrierError('REQUEST_INVALID', 'several models are served, and the request names none', { remedy: 'write "model": "<name>" or "<name>@<version>"' })
    const [name, version] = reference.split('@') as [string, string?]
    demand(request.principal, 'scorer', { model: name })
    const served = host.find(name, version)
    const { sequences, isSingle } = readInput(input, served.model.manifest)
    const wait = { priority: priorityDefault, timeoutMs: Infinity, signal: goneSignal(reply) }
    const scores = await counted(access, request, reply, name, sequences.length, () => scoreSequences(served, sequences, wait))
    // JSON has no NaN: null says that the model gave nothing
    const predictions = Array.from(scores, (score) => (Number.isFinite(score) ? score : null))
    return { prediction: isSingle ? predictions[0]! : predictions, model: served.reference }
  })
}

function readBody(body: unknown): PredictBody {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return invalid('the body is no JSON object', 'write {"input": [...], "model": "<name>"}')
  const unknown = Object.keys(body).find((name) => name !== 'input' && name !== 'model')
  if (unknown !== undefined) return invalid(`the body has "${clipped(unknown)}", which is neither input nor model`)
  const { input, model } = body as Readonly<Record<string, unknown>>
  if (model !== undefined && (typeof model !== 'string' || model.length > 200)) return invalid('model is no text of at most 200 characters')
  return { input, ...(model === undefined ? {} : { model }) }
}

type Row = readonly number[] | Readonly<Record<string, number>>

const invalid = (message: string, remedy?: string): never => {
  throw new HarrierError('REQUEST_INVALID', message, remedy === undefined ? {} : { remedy })
}

const isRow = (value: unknown): value is Row => (Array.isArray(value) ? value.length > 0 && value.every((each) => typeof each === 'number') : typeof value === 'object' && value !== null)

/**
 * A row is a list of numbers in the manifest's order, or an object by feature name. One row: one event without a past. A list of
 * rows: several such events for a row model, one sequence with the event last for a model of sequences. A list of lists of
 * rows: several sequences.
 */
export function readInput(input: unknown, { kind, features }: Manifest): { sequences: Float32Array[][]; isSingle: boolean } {
  const toRow = (row: unknown): Float32Array => {
    if (!isRow(row)) return invalid('input has something that is no row of features', `a row is a list of ${features.length} numbers, or an object with ${features.slice(0, 3).join(', ')}${features.length > 3 ? ', …' : ''}`)
    if (Array.isArray(row)) return row.length === features.length ? Float32Array.from(row as number[]) : invalid(`a row has ${row.length} numbers, the model reads ${features.length} features`, `in this order: ${features.join(', ')}`)
    const named = row as Readonly<Record<string, unknown>>
    const unknown = Object.keys(named).find((name) => !features.includes(name))
    if (unknown !== undefined) return invalid(`the model has no feature "${clipped(unknown)}"`, `it reads ${features.join(', ')}`)
    return Float32Array.from(features, (name) => {
      const value = named[name]
      return typeof value === 'number' ? value : invalid(`feature "${name}" is missing or no number`)
    })
  }
  if (isRow(input)) return { sequences: [[toRow(input)]], isSingle: true }
  if (!Array.isArray(input) || input.length === 0) return invalid('input is neither a row of features nor a list of them')
  if (kind === 'row') return { sequences: input.map((row) => [toRow(row)]), isSingle: false }
  if (input.every(isRow)) return { sequences: [input.map(toRow)], isSingle: true }
  return { sequences: input.map((rows) => (Array.isArray(rows) ? (rows as unknown[]).map(toRow) : invalid('input mixes rows and lists of rows'))), isSingle: false }
}
