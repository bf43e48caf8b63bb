import { failures } from './openapi.js'

// JSON schemas of the Open Inference Protocol's documents: what /openapi.json says, and by what answers are written.

const text = { type: 'string' } as const
const number = { type: 'number' } as const
const loose = { type: 'object', additionalProperties: true } as const
const listOf = <T>(items: T): { readonly type: 'array'; readonly items: T } => ({ type: 'array', items })
const nullableText = { anyOf: [text, { type: 'null' }] } as const

const oip = { tags: ['Open Inference Protocol'] } as const

function pathParameters(isVersioned: boolean): object {
  const name = { type: 'string', maxLength: 100, description: 'Name of the model; without a version its newest is meant' }
  return { type: 'object', required: ['model', ...(isVersioned ? ['version'] : [])], properties: { model: name, ...(isVersioned ? { version: { type: 'string', maxLength: 100 } } : {}) } }
}

const tensor = { type: 'object', required: ['name', 'datatype', 'shape'], properties: { name: text, datatype: text, shape: listOf({ type: 'integer' }) } } as const

export const serverMetadata = {
  ...oip,
  summary: 'What this server is',
  response: { 200: { description: 'Name, version and extensions', type: 'object', required: ['name', 'version', 'extensions'], properties: { name: text, version: text, extensions: listOf(text), runtime: text } }, ...failures() },
} as const

const healthBody = { type: 'object', properties: { live: { type: 'boolean' }, ready: { type: 'boolean' }, reasons: listOf(text) } } as const

export function health(summary: string): object {
  return { tags: ['Health'], summary, response: { 200: { description: 'It does', ...healthBody }, 503: { description: 'Not now, and why', ...healthBody } } }
}

export function modelReady(isVersioned: boolean): object {
  const body = { type: 'object', required: ['name', 'ready'], properties: { name: text, ready: { type: 'boolean' } } }
  return { ...oip, summary: 'Whether a model answers', params: pathParameters(isVersioned), response: { 200: { description: 'It does', ...body }, 503: { description: 'It does not', ...body }, ...failures(404) } }
}

export function modelMetadata(isVersioned: boolean): object {
  const properties = {
    name: text, versions: listOf(text), platform: text, inputs: listOf(tensor), outputs: listOf(tensor), version: text, kind: text, features: listOf(text),
    window: { anyOf: [{ type: 'integer' }, { type: 'null' }] }, description: text, sha256: text, device: text, device_note: nullableText, file_bytes: number, opened_bytes: number,
  }
  const description = 'Tensors, features, and the device that really runs it'
  const ok = { description, type: 'object', required: ['name', 'versions', 'platform', 'inputs', 'outputs'], properties }
  return { ...oip, summary: 'What a model takes and gives', params: pathParameters(isVersioned), response: { 200: ok, ...failures(404) } }
}

export function modelConfig(isVersioned: boolean): object {
  return { ...oip, summary: 'How a model is batched', params: pathParameters(isVersioned), response: { 200: { description: "As Triton's model configuration", ...loose }, ...failures(404) } }
}

const stats = { description: "As Triton's statistics extension; `failures` by why is ours", type: 'object', required: ['model_stats'], properties: { model_stats: listOf(loose) } } as const

export function modelStats(isVersioned: boolean): object {
  return { ...oip, summary: 'What a model has done: requests, queue and compute time apart, batch sizes', params: pathParameters(isVersioned), response: { 200: stats, ...failures(404) } }
}

export const allStats = { ...oip, summary: 'The same of all models', response: { 200: stats, ...failures() } } as const

export const repositoryIndex = {
  ...oip,
  summary: 'Every model version of the folder, and whether it is served',
  response: {
    200: { description: 'The index', type: 'array', items: { type: 'object', required: ['name', 'version', 'state', 'reason'], properties: { name: text, version: text, state: { type: 'string', enum: ['READY', 'UNAVAILABLE', 'LOADING'] }, reason: text } } },
    ...failures(),
  },
} as const
export const repositoryIndexBody = { type: 'object', description: 'Taken for the sake of clients that send one', additionalProperties: true } as const

const given = {
  type: 'object',
  required: ['name', 'datatype', 'shape'],
  properties: {
    ...tensor.properties,
    data: { type: 'array', items: {}, description: 'Values, flat or nested' },
    parameters: { type: 'object', additionalProperties: true, properties: { binary_data_size: { type: 'integer', description: 'Bytes of this tensor after the JSON' } } },
  },
} as const

export const inferBody = {
  type: 'object',
  required: ['inputs'],
  properties: {
    id: { type: 'string', maxLength: 256 },
    inputs: listOf(given),
    outputs: listOf({ type: 'object', required: ['name'], properties: { name: text, parameters: { type: 'object', additionalProperties: true, properties: { binary_data: { type: 'boolean' } } } } }),
    parameters: {
      type: 'object',
      additionalProperties: true,
      properties: {
        priority: { type: 'integer', description: '1 (first) to 3; 0 or absent: 2' },
        timeout: { type: 'integer', description: 'Microseconds that it may wait' },
        binary_data_output: { type: 'boolean' },
      },
    },
  },
} as const

export function infer(isVersioned: boolean): object {
  return {
    ...oip,
    summary: 'Run a model on tensors',
    description: 'With the header Inference-Header-Content-Length the body is JSON of so many bytes, followed by the bytes of tensors (little-endian, row by row) in the order of the inputs; answers likewise.',
    params: pathParameters(isVersioned),
    response: {
      200: {
        description: 'Tensors; `parameters` has the microseconds in the queue and in the run, and the rows of its batch',
        type: 'object',
        required: ['model_name', 'model_version', 'outputs'],
        properties: { model_name: text, model_version: text, id: text, parameters: { type: 'object', properties: { queue_us: number, compute_us: number, batch_rows: number } }, outputs: listOf(given) },
      },
      ...failures(400, 404, 413, 429, 500, 503),
    },
  }
}
