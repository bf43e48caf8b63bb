import { failures } from './openapi.js'

const row = {
  anyOf: [
    { type: 'array', items: { type: 'number' }, description: 'Features in the order of the manifest' },
    { type: 'object', additionalProperties: { type: 'number' }, description: 'Features by name' },
  ],
} as const

/** For the document: the route reads its body itself, since a validator that turns null into 0 would score what nobody sent. */
export const predictBody = {
  type: 'object',
  required: ['input'],
  additionalProperties: false,
  properties: {
    input: { anyOf: [...row.anyOf, { type: 'array', items: row }, { type: 'array', items: { type: 'array', items: row } }] },
    model: { type: 'string', maxLength: 200, description: '<name> (its newest version) or <name>@<version>; may be left out where one model is served' },
  },
} as const

export const predict = {
  tags: ['Simple'],
  summary: 'Score rows of features',
  description: 'One row: an event without a past. A list of rows: several events for a row model, one history with the event last for a model of sequences. A list of lists: several histories.',
  response: {
    200: {
      description: 'A score for each row or history; null where the model gave nothing finite',
      type: 'object',
      required: ['prediction', 'model'],
      properties: {
        prediction: { anyOf: [{ type: 'number' }, { type: 'null' }, { type: 'array', items: { anyOf: [{ type: 'number' }, { type: 'null' }] } }] },
        model: { type: 'string' },
      },
    },
    ...failures(400, 404, 413, 429, 500, 503),
  },
} as const
