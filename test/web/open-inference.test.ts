import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { Validator } from '@seriousme/openapi-schema-validator'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { Prng } from '../../src/base/prng.js'
import { testService, type TestService } from './web-fixture.js'

const F = 14
const H = 64

type Operation = { requestBody?: unknown; responses: Record<string, { content?: Record<string, { schema: object }> }> }
type Document = { openapi: string; paths: Record<string, Record<string, Operation>> }

describe('the Open Inference Protocol', () => {
  let service: TestService
  let engineState = 'running'
  /** Answers that were seen, by operation and status: the document is held against them at the end. */
  const seen: { url: string; method: string; status: number; body: unknown }[] = []

  async function call(method: 'GET' | 'POST', url: string, more: InjectOptions = {}): Promise<LightMyRequestResponse> {
    const answer = await service.app.inject({ method, url, ...more })
    if (String(answer.headers['content-type']).startsWith('application/json')) seen.push({ url, method: method.toLowerCase(), status: answer.statusCode, body: answer.json() })
    return answer
  }
  const prng = new Prng(3)
  const numbers = (count: number): number[] => Array.from({ length: count }, () => Math.fround(prng.normal()))
  const infer = (body: object, path = '/v2/models/card-row'): Promise<LightMyRequestResponse> => call('POST', `${path}/infer`, { payload: body })

  before(async () => {
    service = await testService({ models: ['card-row', 'card-gru'], parts: { engine: { topology: 'card-fraud', metrics: () => [], get state() { return engineState as 'running' } } } })
  })
  after(() => service.close())

  it('describes the server and its models', async () => {
    const server = (await call('GET', '/v2')).json<{ name: string; extensions: string[] }>()
    assert.equal(server.name, 'harrier')
    assert.ok(server.extensions.includes('binary_tensor_data'))
    const model = (await call('GET', '/v2/models/card-gru/versions/1')).json<{ inputs: object[]; outputs: object[]; versions: string[]; sha256: string }>()
    assert.deepEqual(model.inputs, [{ name: 'x', datatype: 'FP32', shape: [-1, F] }, { name: 'h', datatype: 'FP32', shape: [-1, H] }])
    assert.deepEqual(model.outputs.map((output) => (output as { name: string }).name), ['score', 'h_next'])
    assert.deepEqual(model.versions, ['1'])
    const config = (await call('GET', '/v2/models/card-row/config')).json<{ dynamic_batching: { preferred_batch_size: number[] } }>()
    assert.deepEqual(config.dynamic_batching.preferred_batch_size, [2048])
    const index = (await call('POST', '/v2/repository/index')).json<{ name: string; state: string; reason: string }[]>()
    assert.equal(index.find(({ name }) => name === 'card-row')!.state, 'READY')
    assert.deepEqual(index.filter(({ name }) => name === 'card-cnn').map(({ state, reason }) => [state, reason]), [['UNAVAILABLE', 'not served']])
  })

  it('is ready when partitions are assigned, state is restored and models are warm, and says what is missing', async () => {
    assert.equal((await call('GET', '/v2/health/ready')).statusCode, 200)
    assert.equal((await call('GET', '/v2/models/card-row/ready')).statusCode, 200)
    engineState = 'restoring'
    const ready = await call('GET', '/v2/health/ready')
    assert.deepEqual([ready.statusCode, ready.json()], [503, { ready: false, reasons: ['the engine of card-fraud is restoring'] }])
    assert.equal((await call('GET', '/readyz')).statusCode, 503)
    assert.equal((await call('GET', '/v2/health/live')).statusCode, 200)
    engineState = 'failed'
    assert.equal((await call('GET', '/healthz')).statusCode, 503)
    engineState = 'running'
  })

  it('gives the same numbers for JSON, nested or flat, and for binary tensors', async () => {
    const x = numbers(3 * F)
    const input = { name: 'x', datatype: 'FP32', shape: [3, F] }
    const flat = (await infer({ id: 'a-1', inputs: [{ ...input, data: x }] })).json<{ id: string; model_version: string; outputs: { name: string; shape: number[]; data: number[] }[]; parameters: { batch_rows: number; queue_us: number; compute_us: number } }>()
    assert.equal(flat.id, 'a-1')
    assert.equal(flat.model_version, '1')
    assert.deepEqual(flat.outputs[0]!.shape, [3])
    assert.equal(flat.parameters.batch_rows, 3)
    assert.ok(flat.parameters.compute_us > 0 && flat.parameters.queue_us >= 0)
    const nested = (await infer({ inputs: [{ ...input, data: [x.slice(0, F), x.slice(F, 2 * F), x.slice(2 * F)] }] })).json<typeof flat>()
    assert.deepEqual(nested.outputs, flat.outputs)

    const header = Buffer.from(JSON.stringify({ inputs: [{ ...input, parameters: { binary_data_size: 3 * F * 4 } }], outputs: [{ name: 'score', parameters: { binary_data: true } }] }))
    const payload = Buffer.concat([header, Buffer.from(Float32Array.from(x).buffer)])
    const binary = await call('POST', '/v2/models/card-row/versions/1/infer', { payload, headers: { 'inference-header-content-length': String(header.length), 'content-type': 'application/octet-stream' } })
    assert.equal(binary.statusCode, 200)
    const jsonBytes = Number(binary.headers['inference-header-content-length'])
    const described = JSON.parse(binary.rawPayload.subarray(0, jsonBytes).toString()) as { outputs: { parameters: { binary_data_size: number } }[] }
    assert.equal(described.outputs[0]!.parameters.binary_data_size, 12)
    assert.deepEqual([...new Float32Array(new Uint8Array(binary.rawPayload.subarray(jsonBytes)).buffer)], flat.outputs[0]!.data)
  })

  it('carries the state of a recurrent model from answer to request: two steps are what /predict gives for the history', async () => {
    const [first, second] = [numbers(F), numbers(F)]
    const step = async (x: number[], h: number[]): Promise<{ score: number; h: number[] }> => {
      const { outputs } = (await infer({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1, F], data: x }, { name: 'h', datatype: 'FP32', shape: [1, H], data: h }] }, '/v2/models/card-gru')).json<{ outputs: { data: number[] }[] }>()
      return { score: outputs[0]!.data[0]!, h: outputs[1]!.data }
    }
    const { h } = await step(first, Array<number>(H).fill(0))
    const { score } = await step(second, h)
    const predicted = await call('POST', '/predict', { payload: { model: 'card-gru', input: [first, second] } })
    assert.deepEqual(predicted.json(), { prediction: score, model: 'card-gru@1' })
  })

  it('POST /predict takes a row, rows, features by name and histories', async () => {
    const predict = async (input: unknown, model: string): Promise<unknown> => (await call('POST', '/predict', { payload: { input, model } })).json<{ prediction: unknown }>().prediction
    const [a, b] = [numbers(F), numbers(F)]
    const { features } = (await call('GET', '/v2/models/card-row')).json<{ features: string[] }>()
    const one = await predict(a, 'card-row')
    assert.equal(typeof one, 'number')
    assert.deepEqual(await predict([a, b], 'card-row@1'), [one, await predict(b, 'card-row')])
    assert.equal(await predict(Object.fromEntries(features.map((name, index) => [name, a[index]])), 'card-row'), one)
    assert.deepEqual(await predict([[a, b], [b]], 'card-gru'), [await predict([a, b], 'card-gru'), await predict(b, 'card-gru')])
  })

  it('says what is wrong, with the status that fits, and nothing of its inside', async () => {
    const x = { name: 'x', datatype: 'FP32', shape: [1, F], data: numbers(F) }
    const cases: [Promise<LightMyRequestResponse>, number, string, RegExp][] = [
      [infer({ inputs: [x] }, '/v2/models/nobody'), 404, 'MODEL_NOT_FOUND', /no model "nobody"/],
      [infer({ inputs: [x] }, '/v2/models/card-row/versions/9'), 404, 'MODEL_NOT_FOUND', /card-row@9/],
      [infer({ inputs: [{ ...x, shape: [1, 13] }] }), 400, 'REQUEST_INVALID', /14 values, the shape needs 13/],
      [infer({ inputs: [{ ...x, shape: [14, 1] }] }), 400, 'REQUEST_INVALID', /takes float32 \[rows, 14\]/],
      [infer({ inputs: [{ ...x, datatype: 'BYTES' }] }), 400, 'REQUEST_INVALID', /datatype BYTES/],
      [infer({ inputs: [x], parameters: { priority: 9 } }), 400, 'REQUEST_INVALID', /priority/],
      [infer({ inputs: [{ ...x, data: [null] }] }), 400, 'REQUEST_INVALID', /1 values/],
      [call('POST', '/v2/models/card-row/infer', { payload: '{', headers: { 'content-type': 'application/json' } }), 400, 'REQUEST_INVALID', /^the body is not JSON$/],
      [call('POST', '/v2/models/card-row/infer', { payload: '['.repeat(40), headers: { 'content-type': 'application/json' } }), 400, 'REQUEST_INVALID', /16 brackets/],
      [call('POST', '/v2/models/card-row/infer', { payload: '{"__proto__":{"a":1}}' }), 400, 'REQUEST_INVALID', /__proto__/],
      [call('POST', '/v2/models/card-row/infer', { payload: 'xx', headers: { 'inference-header-content-length': '7' } }), 400, 'REQUEST_INVALID', /Inference-Header/],
      [call('POST', '/v2/models/card-row/infer', { payload: Buffer.alloc((8 << 20) + 1) }), 413, 'REQUEST_INVALID', /too large/],
      [call('POST', '/predict', { payload: 'a=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } }), 415, 'REQUEST_INVALID', /media type/i],
      [call('POST', '/predict', { payload: { input: [1] } }), 400, 'REQUEST_INVALID', /names none/],
      [call('POST', '/predict', { payload: { input: { amount: 1, fee: 2 }, model: 'card-row' } }), 400, 'REQUEST_INVALID', /no feature "fee"/],
      [call('GET', '/etc/passwd'), 404, 'NOT_FOUND', /nothing/],
    ]
    for (const [answer, status, code, message] of cases) {
      const { statusCode, headers, body } = await answer
      const problem = JSON.parse(body) as { error: string; code: string; remedy: string; request_id: string }
      assert.deepEqual([statusCode, problem.code], [status, code], body)
      assert.match(problem.error, message)
      assert.ok(problem.remedy.length > 0)
      assert.equal(problem.request_id, headers['x-request-id'])
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.doesNotMatch(body, /node_modules|\.js:|\n +at /)
    }
  })

  it('counts requests, batches and failures, queue and compute time apart', async () => {
    type Stats = { name: string; inference_count: number; inference_stats: Record<'success' | 'fail', { count: number }>; batch_stats: { batch_size: number; compute_infer: { count: number } }[] }
    const before = (await call('GET', '/v2/models/card-row/stats')).json<{ model_stats: Stats[] }>().model_stats[0]!
    await infer({ inputs: [{ name: 'x', datatype: 'FP32', shape: [5, F], data: numbers(5 * F) }] })
    await infer({ inputs: [] })
    const after = (await call('GET', '/v2/models/stats')).json<{ model_stats: Stats[] }>().model_stats.find(({ name }) => name === 'card-row')!
    assert.equal(after.inference_count - before.inference_count, 5)
    assert.equal(after.inference_stats.success.count - before.inference_stats.success.count, 1)
    assert.equal(after.inference_stats.fail.count - before.inference_stats.fail.count, 1)
    assert.equal(after.batch_stats.find(({ batch_size }) => batch_size === 5)!.compute_infer.count, 1)
  })

  it('answers 503 with Retry-After when a request has waited too long', async () => {
    const slow = await testService({ host: { queue: { delayMs: 1000, timeoutMsMax: 1 } } })
    try {
      const answer = await slow.app.inject({ method: 'POST', url: '/v2/models/card-row/infer', payload: { inputs: [{ name: 'x', datatype: 'FP32', shape: [1, F], data: numbers(F) }] } })
      assert.deepEqual([answer.statusCode, answer.json<{ code: string }>().code], [503, 'OVERLOADED'])
      assert.ok(Number(answer.headers['retry-after']) >= 1)
    } finally {
      await slow.close()
    }
  })

  it('is described by an OpenAPI document that is valid, has every route, and agrees with every answer above', async () => {
    const document = (await call('GET', '/openapi.json')).json<Document>()
    const { valid, errors } = await new Validator().validate(structuredClone(document) as never)
    assert.ok(valid, JSON.stringify(errors))
    const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`))
    const routes = [...service.app.printRoutes({ commonPrefix: false }).matchAll(/(\/\S*) \(([A-Z, ]+)\)/g)]
    assert.ok(operations.length >= 15 && routes.length > 0, operations.join())
    for (const path of ['/predict', '/v2/models/{model}/versions/{version}/infer']) assert.ok(document.paths[path]!.post!.requestBody, path)
    const ajv = new Ajv2020({ strict: false })
    const toPattern = (path: string): RegExp => new RegExp(`^${path.replace(/\{[^}]+\}/g, '[^/]+')}$`)
    let checked = 0
    for (const { url, method, status, body } of seen) {
      const path = Object.keys(document.paths).sort((a, b) => a.split('{').length - b.split('{').length).find((each) => toPattern(each).test(url))
      if (path === undefined) continue
      const schema = document.paths[path]![method]!.responses[status]?.content?.['application/json']?.schema
      assert.ok(schema ?? status === 415, `${method} ${path} does not say what ${status} is`)
      if (schema) assert.ok(ajv.validate(schema, body), `${method} ${path} ${status}: ${ajv.errorsText()}`)
      checked++
    }
    assert.ok(checked > 30, `answers that were held against the document: ${checked}`)
  })
})
