import { compareDefaults } from '../backtest/compare-live.js'
import { deskActions } from '../topology/release-action.js'
import { failures } from './openapi.js'
import { versionLimits } from './version-limits.js'

// JSON schemas of versions and releases over HTTP.

const text = { type: 'string' } as const
const number = { type: 'number' } as const
const integer = { type: 'integer' } as const
const loose = { type: 'object', additionalProperties: true } as const
const nullable = <T>(schema: T): { readonly anyOf: readonly [T, { readonly type: 'null' }] } => ({ anyOf: [schema, { type: 'null' }] })
const listOf = <T>(items: T): { readonly type: 'array'; readonly items: T } => ({ type: 'array', items })
const object = <T extends object>(properties: T): { type: 'object'; required: string[]; properties: T } => ({ type: 'object', required: Object.keys(properties), properties })
const name = { type: 'string', minLength: 1, maxLength: 100 } as const
const parameters = (...names: string[]): object => ({ type: 'object', required: names, properties: Object.fromEntries(names.map((each) => [each, each === 'revision' ? { type: 'integer', minimum: 1 } : name])) })

const versions = { tags: ['Versions'] } as const
const summary = object({ model: text, kind: text, features: integer, window: nullable(integer), hidden: nullable(integer), bytes: integer, sha256: text, registered: nullable(text), description: text })
const released = object({ role: { type: 'string', enum: ['champion', 'challenger', 'shadow'] }, model: text, sha256: text, share: number, epoch: integer })
const entryProperties = {
  topology: text, stage: text, revision: integer, action: text, model: text, sha256: text, actor: text, reason: text, time: { type: 'integer', description: 'ms since 1970' },
  from: listOf(released), to: listOf(released), details: { type: 'object', additionalProperties: text }, harrier: text,
} as const
const entry = object(entryProperties)
const inForce = listOf(object({ partition: integer, from: nullable(object({ sequence: integer, offset: integer, exact: { type: 'boolean' } } as const)) } as const))

export const listVersions = { ...versions, summary: 'Model versions of the folder', response: { 200: listOf(summary), ...failures() } } as const

export const showVersion = {
  ...versions, summary: 'One version: its manifest, with all defaults, and its registration', params: parameters('model', 'version'),
  response: { 200: { description: 'The manifest and who registered it', type: 'object', required: ['summary', 'manifest', 'registration'], properties: { summary, manifest: loose, registration: nullable(loose) } }, ...failures(404) },
} as const

export const card = {
  ...versions, summary: 'A model card in Markdown, with the ledger of the topology that this service has', params: parameters('model', 'version'), produces: ['text/markdown'],
  response: { 200: { description: 'Markdown', type: 'string' }, ...failures(404) },
} as const

export const register = {
  ...versions,
  consumes: ['application/octet-stream'],
  summary: 'Register an exported version',
  description: `The body is the signed file that \`harrier models export\` wrote, ${versionLimits.packageBytesMax >> 20} MiB at most. One of the keys of --trust must have signed it. It is tried before it is taken; the same files again change nothing.`,
  response: {
    200: { description: 'It was registered before, with the same files', ...object({ registration: loose, isNew: { type: 'boolean' }, bytes: integer, signedBy: text } as const) },
    201: { description: 'It is registered', ...object({ registration: loose, isNew: { type: 'boolean' }, bytes: integer, signedBy: text } as const) },
    ...failures(400, 409, 413, 422, 503),
  },
} as const
export const registerBody = { type: 'string', format: 'binary', description: 'An exported version' } as const

export const topologies = {
  ...versions, summary: 'Topologies that this service has, and their stages with models',
  response: { 200: listOf(object({ topology: text, stages: listOf(text) })), ...failures() },
} as const

const rules = object({ validation: { type: 'boolean' }, approval: { type: 'boolean' } } as const)
const stageDocument = object({ topology: text, stage: text, revision: integer, models: listOf(released), rollback: nullable(text), candidates: listOf(text), proposals: listOf(entry), rules })

export const stage = {
  ...versions, summary: 'What is in force in a stage', params: parameters('topology', 'stage'),
  response: { 200: { description: 'Models in force, what a rollback would bring back, versions that fit, open proposals', ...stageDocument }, ...failures(404, 503) },
} as const

export const ledger = {
  ...versions, summary: 'The ledger of a stage, newest entries, oldest first', params: parameters('topology', 'stage'),
  querystring: { type: 'object', additionalProperties: false, properties: { last: { type: 'integer', minimum: 1, maximum: versionLimits.entriesMax, default: 100 } } },
  response: { 200: listOf(entry), ...failures(400, 404, 503) },
} as const

export const oneRelease = {
  ...versions, summary: 'One entry of the ledger, and since which batch and offset each partition scores by it', params: parameters('topology', 'stage', 'revision'),
  response: { 200: { description: 'An entry; `from` of a partition is null until a batch was scored by it', ...object({ ...entryProperties, inForce }) }, ...failures(404, 503) },
} as const

export const act = {
  ...versions,
  summary: 'Release, roll back, canary, shadow, withdraw, validate, approve or reject',
  description: 'The entry that it gives is in the ledger, and in force from the next batch of each process on. `propose` instead of the action: somebody else has to approve it. The actor is the name of the key, or the subject of the token.',
  params: parameters('topology', 'stage'),
  body: {
    type: 'object',
    required: ['action', 'reason'],
    additionalProperties: false,
    properties: {
      action: { type: 'string', enum: deskActions },
      reason: { type: 'string', minLength: 1, maxLength: 1000, description: 'Why, for those who read the ledger' },
      model: { type: 'string', minLength: 3, maxLength: 200, description: '<name>@<version>; of release, canary, shadow, withdraw and validate' },
      share: { type: 'number', description: 'Of a canary: part of the entities, above 0 and below 1' },
      revision: { type: 'integer', minimum: 1, description: 'Of approve and reject: that of the proposal' },
      report: { type: 'object', additionalProperties: false, required: ['name', 'sha256'], properties: { name: { type: 'string', minLength: 1, maxLength: 200 }, sha256: { type: 'string', minLength: 64, maxLength: 64 } }, description: 'Of validate' },
    },
  },
  response: { 201: { description: 'The entry of the ledger', ...entry }, ...failures(400, 404, 409, 422, 503) },
} as const

export const compare = {
  ...versions,
  summary: 'Two models on the events that both have scored, by the labels that have come',
  description: '`a` is the one that is there, `b` the candidate. null stands for a figure that there is not.',
  params: parameters('topology', 'stage'),
  querystring: {
    type: 'object',
    required: ['a', 'b'],
    additionalProperties: false,
    properties: {
      a: { type: 'string', minLength: 3, maxLength: 200 }, b: { type: 'string', minLength: 3, maxLength: 200 },
      events: { type: 'integer', minimum: 1, maximum: compareDefaults.eventsMax, default: compareDefaults.eventsMax, description: 'The newest scored events to read' },
      alerts_a_day: { type: 'integer', minimum: 1, maximum: 1_000_000, default: compareDefaults.alertsADay },
      top: { type: 'integer', minimum: 1, maximum: 1_000_000, default: compareDefaults.top, description: 'k of card precision' },
      mature_days: { type: 'number', minimum: 0, maximum: 3650, description: 'An event without a label counts as genuine when it is so much older than the newest label' },
    },
  },
  response: { 200: { description: 'Figures with intervals of 95 %, and a recommendation', ...loose }, ...failures(400, 404, 413, 503) },
} as const
