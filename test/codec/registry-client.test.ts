import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import avro from 'avsc'
import { systemClock, ManualClock } from '../../src/base/clock.js'
import { Secret } from '../../src/connection/secret.js'
import { HarrierError } from '../../src/base/errors.js'
import type { Logger } from '../../src/base/logger.js'
import { parseAvroSchema } from '../../src/codec/avro-schema.js'
import { RegistryClient, UnknownSchemaIdError, WrongSchemaTypeError, type RegistryClientOptions } from '../../src/codec/registry-client.js'

interface Reply {
  readonly status: number
  readonly body: unknown
  /** Never answers. */
  readonly silent?: boolean
}

type Handler = (path: string, body: string, request: IncomingMessage) => Reply

/** A registry on a free port whose answers the test decides; `calls` are the paths asked for. */
async function startRegistry(t: TestContext, handler: Handler, port = 0): Promise<{ url: string; port: number; calls: string[] }> {
  const calls: string[] = []
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      calls.push(`${request.method} ${request.url}`)
      const reply = handler(request.url ?? '', body, request)
      if (reply.silent) return
      response.statusCode = reply.status
      response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body))
    })
  }
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const bound = (server.address() as AddressInfo).port
  return { url: `http://127.0.0.1:${bound}/api/v7/`, port: bound, calls }
}

function client(url: string, options: Partial<RegistryClientOptions> = {}): RegistryClient {
  return new RegistryClient(url, { clock: systemClock, retryDelayMsMin: 5, retryDelayMsMax: 20, requestTimeoutMs: 300, ...options })
}

const isCode =
  (code: string, message: RegExp) =>
  (error: unknown): boolean =>
    error instanceof HarrierError && error.code === code && message.test(error.message)

const record = { type: 'record', name: 'R', fields: [] }

test('registers a schema once, with the subject in the path and the schema as text', async (t) => {
  const bodies: string[] = []
  const registry = await startRegistry(t, (_, body) => {
    bodies.push(body)
    return { status: 200, body: { id: 12 } }
  })
  const registryClient = client(registry.url)
  assert.equal(await registryClient.register('a b/c-value', record), 12)
  assert.equal(await registryClient.register('a b/c-value', record), 12)
  assert.deepEqual(registry.calls, ['POST /api/v7/subjects/a%20b%2Fc-value/versions'])
  assert.deepEqual(JSON.parse(bodies[0]!), { schema: JSON.stringify(record) })
})

test('a hundred calls for one id make one request, and a known id none', async (t) => {
  const registry = await startRegistry(t, () => ({ status: 200, body: { schema: JSON.stringify(record) } }))
  const registryClient = client(registry.url)
  const schemas = await Promise.all(Array.from({ length: 100 }, () => registryClient.schemaById(7)))
  assert.ok(schemas.every((schema) => schema === schemas[0]))
  assert.equal(await registryClient.schemaById(7), schemas[0])
  assert.deepEqual(registry.calls, ['GET /api/v7/schemas/ids/7'])
})

test('an unknown id is definite, remembered for its time, and asked again afterwards', async (t) => {
  let known = false
  const registry = await startRegistry(t, () =>
    known ? { status: 200, body: { schema: '"string"' } } : { status: 404, body: { error_code: 40403, message: 'Schema not found' } },
  )
  const clock = new ManualClock()
  const registryClient = client(registry.url, { clock, unknownIdTtlMs: 1000 })
  await assert.rejects(registryClient.schemaById(9), (error) => error instanceof UnknownSchemaIdError && error.consequence === 'dead-letter')
  await assert.rejects(registryClient.schemaById(9), UnknownSchemaIdError)
  assert.equal(registryClient.isUnknownId(9), true)
  assert.equal(registry.calls.length, 1)
  known = true
  clock.advance(1001)
  assert.equal(registryClient.isUnknownId(9), false)
  assert.deepEqual(await registryClient.schemaById(9), { type: 'string' })
})

test('no more unknown ids are remembered than the limit', async (t) => {
  const registry = await startRegistry(t, () => ({ status: 404, body: { error_code: 40403 } }))
  const registryClient = client(registry.url, { unknownIdsMax: 3 })
  for (const id of [1, 2, 3, 4]) await assert.rejects(registryClient.schemaById(id), UnknownSchemaIdError)
  assert.deepEqual([1, 2, 3, 4].map((id) => registryClient.isUnknownId(id)), [false, true, true, true])
})

test('a registry that is down, fails or hangs is waited for, and said so now and then', async (t) => {
  const probe = await startRegistry(t, () => ({ status: 500, body: '' }))
  let tries = 0
  const registry = await startRegistry(t, () => {
    tries++
    if (tries === 1) return { status: 500, body: { error_code: 50001, message: 'store down' } }
    if (tries === 2) return { status: 503, body: '<html>' }
    if (tries === 3) return { status: 200, body: '', silent: true }
    if (tries === 4) return { status: 429, body: '' }
    return { status: 200, body: { schema: JSON.stringify(record) } }
  })
  assert.notEqual(probe.port, registry.port)
  const lines: string[] = []
  const logger: Logger = { log: (_, message, fields) => lines.push(`${message} ${String(fields?.['trouble'])}`) }
  assert.deepEqual(await client(registry.url, { logger }).schemaById(1), record)
  assert.equal(tries, 5)
  assert.deepEqual(lines, ['waiting for the schema registry status 500'])
})

test('a registry that starts late is found', async (t) => {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  const waiting = client(`http://127.0.0.1:${port}/`).schemaById(4)
  await systemClock.sleep(60)
  await startRegistry(t, () => ({ status: 200, body: { schema: JSON.stringify(record) } }), port)
  assert.deepEqual(await waiting, record)
})

test('waiting ends when the caller aborts', async () => {
  const stop = new AbortController()
  const waiting = client('http://127.0.0.1:9/').schemaById(4, stop.signal)
  void systemClock.sleep(30).then(() => stop.abort())
  await assert.rejects(waiting, isCode('REGISTRY_UNAVAILABLE', /does not answer/))
})

test('one caller that gives up does not take the request from the others', async (t) => {
  let answers = false
  const registry = await startRegistry(t, () => (answers ? { status: 200, body: { schema: JSON.stringify(record) } } : { status: 500, body: '' }))
  const registryClient = client(registry.url)
  const stop = new AbortController()
  const first = registryClient.schemaById(5, stop.signal)
  const second = registryClient.schemaById(5)
  stop.abort()
  await assert.rejects(first, isCode('REGISTRY_UNAVAILABLE', /does not answer/))
  answers = true
  assert.deepEqual(await second, record)
})

test('refusals carry the subject and what the registry says', async (t) => {
  const replies: Record<string, Reply> = {
    a: { status: 409, body: { error_code: 409, message: 'Schema being registered is incompatible' } },
    b: { status: 422, body: { error_code: 42201, message: 'Invalid schema' } },
    c: { status: 401, body: { error_code: 40101, message: 'Unauthorized' } },
  }
  const registry = await startRegistry(t, (path) => replies[path.split('/')[4]!]!)
  const registryClient = client(registry.url)
  await assert.rejects(registryClient.register('a', record), isCode('REGISTRY_REFUSED', /subject a with status 409.*incompatible/))
  await assert.rejects(registryClient.register('b', record), isCode('REGISTRY_REFUSED', /subject b with status 422 \(42201\): Invalid schema/))
  await assert.rejects(registryClient.register('c', record), isCode('REGISTRY_REFUSED', /subject c with status 401 \(40101\): Unauthorized/))
})

test('a wrong base URL is refused, not taken for an unknown id', async (t) => {
  const registry = await startRegistry(t, (path) => (path.includes('/1') ? { status: 404, body: '<html>Not found</html>' } : { status: 200, body: '<html>' }))
  await assert.rejects(client(registry.url).schemaById(1), isCode('REGISTRY_REFUSED', /status 404/))
  await assert.rejects(client(`${registry.url}/1`).latest('a'), (error: HarrierError) => error.code === 'REGISTRY_REFUSED' && /correct the registry's URL: it is what stands before \/subjects/.test(error.remedy))
  await assert.rejects(client(registry.url).schemaById(2), isCode('REGISTRY_REFUSED', /other than JSON/))
  assert.throws(() => client('registry:port'), isCode('CONFIG_INVALID', /not the URL/))
})

test('credentials are sent as a header and kept out of messages', async (t) => {
  let authorization = ''
  const registry = await startRegistry(t, (_, __, request) => {
    authorization = request.headers.authorization ?? ''
    return { status: 403, body: { message: 'forbidden' } }
  })
  const registryClient = client(registry.url, { security: { login: { type: 'basic', username: 'ada', password: new Secret('s/cret') } } })
  await assert.rejects(registryClient.schemaById(1), (error) => error instanceof HarrierError && !error.message.includes('cret') && /allowed to read/.test(error.remedy))
  assert.equal(authorization, `Basic ${Buffer.from('ada:s/cret').toString('base64')}`)
})

test('credentials in the URL are refused, without being repeated', () => {
  const withPassword = 'http://ada:s%2Fcret@127.0.0.1:1'
  assert.throws(() => client(withPassword), (error) => error instanceof HarrierError && error.code === 'CONFIG_INVALID' && !error.message.includes('cret'))
})

test('latest gives the newest version, or undefined for a subject that is not there', async (t) => {
  const registry = await startRegistry(t, (path) => {
    if (path.includes('absent')) return { status: 404, body: { error_code: 40401, message: 'Subject not found' } }
    return { status: 200, body: { id: 3, version: 2, schema: JSON.stringify(record) } }
  })
  assert.deepEqual(await client(registry.url).latest('present'), { id: 3, version: 2, type: 'AVRO', schema: record })
  assert.equal(await client(registry.url).latest('absent'), undefined)
})

test('compatibility is asked before it is needed', async (t) => {
  const registry = await startRegistry(t, (path) => {
    if (path.includes('absent')) return { status: 404, body: { error_code: 40401 } }
    return { status: 200, body: { is_compatible: false, messages: ['READER_FIELD_MISSING_DEFAULT_VALUE'] } }
  })
  assert.deepEqual(await client(registry.url).compatible('present', record), { compatible: false, messages: ['READER_FIELD_MISSING_DEFAULT_VALUE'] })
  assert.deepEqual(await client(registry.url).compatible('absent', record), { compatible: true, messages: [] })
})

test('Avro types of other subjects are written into the schema that names them, each once', async (t) => {
  const amount = { type: 'record', name: 'Amount', namespace: 'bank.common', fields: [{ name: 'value', type: 'long' }, { name: 'currency', type: 'Currency' }] }
  const currency = { type: 'enum', name: 'bank.common.Currency', symbols: ['CHF', 'EUR'] }
  const fee = { type: 'record', name: 'Fee', fields: [{ name: 'amount', type: 'bank.common.Amount' }] }
  const payment = {
    type: 'record',
    name: 'Payment',
    namespace: 'bank.pay',
    fields: [{ name: 'instructed', type: ['null', 'bank.common.Amount'] }, { name: 'fees', type: { type: 'array', items: 'Fee' } }, { name: 'currency', type: { type: 'bank.common.Currency' } }],
  }
  const subjects: Record<string, [schema: object, references: object[]]> = {
    '/subjects/currency/versions/2': [currency, []],
    '/subjects/amount/versions/1': [amount, [{ name: 'bank.common.Currency', subject: 'currency', version: 2 }]],
    '/subjects/fee/versions/1': [fee, [{ name: 'bank.common.Amount', subject: 'amount', version: 1 }]],
    '/schemas/ids/9': [payment, [{ name: 'Fee', subject: 'fee', version: 1 }, { name: 'bank.common.Amount', subject: 'amount', version: 1 }]],
  }
  const registry = await startRegistry(t, (path) => {
    const [schema, references] = subjects[path.replace('/api/v7', '')]!
    return { status: 200, body: { schema: JSON.stringify(schema), references } }
  })
  const schema = await client(registry.url).schemaById(9)
  const type = avro.Type.forSchema(schema as avro.Schema)
  const value = { instructed: { value: 3, currency: 'EUR' }, fees: [{ amount: { value: 4, currency: 'CHF' } }], currency: 'CHF' }
  assert.ok(type.isValid(value), 'avsc understands it without another schema')
  assert.doesNotThrow(() => parseAvroSchema(schema))
  assert.equal(registry.calls.length, 4, 'each subject is asked once')
})

test('a schema of another type than wanted is refused by its type', async (t) => {
  const registry = await startRegistry(t, (path) => ({ status: 200, body: path.endsWith('1') ? { schemaType: 'PROTOBUF', schema: 'message A {}' } : { schemaType: 'JSON', schema: '{"type":"object"}' } }))
  const registryClient = client(registry.url)
  await assert.rejects(registryClient.schemaById(1), (error) => error instanceof WrongSchemaTypeError && error.message === 'schema 1 is of type PROTOBUF, not AVRO')
  await assert.rejects(registryClient.schemaById(2), WrongSchemaTypeError)
  assert.deepEqual(await registryClient.schemaById(2, undefined, 'JSON'), { type: 'object' })
  assert.equal(registry.calls.length, 2)
})

test('a reference that is not there is refused by the subject that lacks it', async (t) => {
  const registry = await startRegistry(t, (path) =>
    path.includes('/subjects/') ? { status: 404, body: { error_code: 40401, message: 'not found' } } : { status: 200, body: { schema: JSON.stringify(record), references: [{ name: 'A', subject: 'gone', version: 3 }] } },
  )
  await assert.rejects(client(registry.url).schemaById(4), isCode('REGISTRY_REFUSED', /no version 3 of subject gone, to which schema id 4 refers as A/))
})
