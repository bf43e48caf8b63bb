import { recordDeskLimits } from '../topology/record-desk.js'
import { failures } from './openapi.js'

const text = { type: 'string' } as const
const integer = { type: 'integer' } as const
const loose = { type: 'object', additionalProperties: true } as const
const name = { type: 'string', minLength: 1, maxLength: 100 } as const
const stream = { tags: ['Stream'] } as const
const names = { type: 'array', items: text } as const

export const me = {
  ...stream, summary: 'Who asks, and what they may',
  response: {
    200: {
      description: 'Name and role; null: all models or topologies', type: 'object', required: ['name', 'role', 'models', 'topologies', 'asked'],
      properties: { name: text, role: text, models: { anyOf: [names, { type: 'null' }] }, topologies: { anyOf: [names, { type: 'null' }] }, asked: { type: 'boolean', description: 'Whether the service asks for keys at all' } },
    },
    ...failures(),
  },
} as const

const topology = { type: 'object', required: ['topology'], properties: { topology: name } } as const
const place = { type: 'object', required: ['topology', 'partition', 'offset'], properties: { topology: name, partition: { type: 'integer', minimum: 0 }, offset: { type: 'integer', minimum: 0 } } } as const

export const live = {
  ...stream, summary: 'The stream as it goes, for people: server-sent events', params: topology, produces: ['text/event-stream'],
  description: 'Each event `news` has figures, and the newest scored events, alerts and dead letters since the one before; the first has what was seen last. A fast stream is shown in part. A client that reads too slowly is dropped, and one whose key ends.',
  response: { 200: { description: 'Events', type: 'string' }, ...failures(404, 503) },
} as const

const clear = { type: 'boolean', default: false, description: 'Personal values in clear text: for admins, and noted in the audit' } as const

const entity = { type: 'string', minLength: 1, maxLength: 200 } as const

export const history = {
  ...stream, summary: 'The newest scored events of an entity', params: { type: 'object', required: ['topology', 'entity'], properties: { topology: name, entity } },
  description: `Of a personal entity by its token, or by its alert; by its value for admins. Among the newest ${recordDeskLimits.historyWindows.reduce((sum, each) => sum + each, 0).toLocaleString('en')} of its partition; oldest first.`,
  querystring: {
    type: 'object', additionalProperties: false,
    properties: {
      count: { type: 'integer', minimum: 1, maximum: recordDeskLimits.historyRecordsMax, default: 20 }, partition: { type: 'integer', minimum: 0, description: 'By default the one that its key goes to' }, clear,
      alert: { type: 'integer', minimum: 0, description: 'Offset of an alert of the partition: its entity, whatever the path says' },
    },
  },
  response: { 200: { description: 'Scored events, and how many were looked through', type: 'object', required: ['events', 'scanned'], properties: { events: { type: 'array', items: loose }, scanned: integer } }, ...failures(400, 404, 409, 503) },
} as const

export const deadLetters = {
  ...stream, summary: 'The newest dead letters and their causes, oldest first', params: topology,
  querystring: { type: 'object', additionalProperties: false, properties: { last: { type: 'integer', minimum: 1, maximum: 500, default: 50 } } },
  response: { 200: { type: 'array', items: loose, description: 'Dead letters' }, ...failures(400, 404, 503) },
} as const

export const deadLetter = {
  ...stream, summary: 'One dead letter from near', params: place,
  description: 'Its contents are for admins: others see names of fields and headers, types in place of values, and no key. Where a topology has personal fields, or encrypts its dead letters, admins ask for them with `clear`; an encrypted one is opened then.',
  querystring: { type: 'object', additionalProperties: false, properties: { clear } },
  response: { 200: { description: 'Cause, headers, bytes, and who has sent it again', ...loose }, ...failures(400, 404, 409, 422, 503) },
} as const

export const redrive = {
  ...stream, summary: 'Send a dead letter again', params: place,
  description: 'As a new record of the input that it came from, at its end, once: a second time is refused unless `again` says that it is meant. It and its note in the audit are one transaction.',
  body: { type: 'object', required: ['reason'], additionalProperties: false, properties: { reason: { type: 'string', minLength: 1, maxLength: 1000 }, again: { type: 'boolean', default: false } } },
  response: { 201: { description: 'Where it went', type: 'object', required: ['topic', 'partition'], properties: { topic: text, partition: integer } }, ...failures(400, 404, 409, 422, 503) },
} as const
