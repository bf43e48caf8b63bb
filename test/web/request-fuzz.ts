import type { Prng } from '../../src/base/prng.js'

// Requests that are wrong in some way, drawn from a seed: bytes for a socket.

export interface FuzzedRequest {
  readonly bytes: Buffer
  /** Says less than it announces: no answer can come before the connection is closed. */
  readonly isCut: boolean
  /** Of the mutations, for the message of a failure. */
  readonly what: string
}

/** Stands in bodies, paths and headers: whatever is logged or answered must not have it where it is no name that we were asked for. */
export const marker = 'PAN4111111111111111'

const F = 14

/** Paths with bodies that are right, to begin from. */
function templates(prng: Prng): { path: string; body: unknown; tail?: Buffer }[] {
  const numbers = (count: number): number[] => Array.from({ length: count }, () => Math.round(prng.normal() * 1000) / 1000)
  const rows = 1 + prng.below(3)
  const tensor = { name: 'x', datatype: 'FP32', shape: [rows, F] }
  const binary = Buffer.from(Float32Array.from(numbers(rows * F)).buffer)
  return [
    { path: '/v2/models/card-row/infer', body: { id: 'r', inputs: [{ ...tensor, data: numbers(rows * F) }], outputs: [{ name: 'score', parameters: { binary_data: false } }], parameters: { priority: 1, timeout: 1000 } } },
    { path: '/v2/models/card-row/versions/1/infer', body: { inputs: [{ ...tensor, parameters: { binary_data_size: binary.length } }], parameters: { binary_data_output: true } }, tail: binary },
    { path: '/predict', body: { input: numbers(F), model: 'card-row' } },
    { path: '/predict', body: { input: [numbers(F), numbers(F)] } },
    { path: '/v1/score/card-fraud?timeout_ms=500', body: { transaction_id: prng.below(1e9), event_time: 1767225600000 + prng.below(1e9), customer_id: '4711', terminal_id: '12', amount_minor: prng.below(1e6), currency: 'EUR' } },
    { path: '/v2/repository/index', body: {} },
  ]
}

const reads = ['/v2', '/v2/models/card-row', '/v2/models/card-row/versions/1/stats', '/v2/models/stats', '/v2/models/card-row/config', '/metrics', '/readyz', '/healthz', '/openapi.json', '/v2/models/nobody', '/v1/score/card-fraud']

/** Values that parsers, coercions and prototypes trip over. */
function evil(prng: Prng): unknown {
  const values: unknown[] = [
    null, true, false, 0, -0, -1, 1.5, 1e308, -1e308, 5e-324, 2 ** 53, -(2 ** 63), 1e21, '', ' ', '0', 'NaN', 'null', '\u0000', '\ud800', '\u202e', marker, 'a'.repeat(5000), [], {}, [[]], [[[[[[]]]]]], [null], [marker], { [marker]: 1 },
    { toString: 1 }, { toString: null, valueOf: null }, { constructor: { prototype: { polluted: true } } }, { length: 1e9 }, { length: -1, 0: 1 }, { then: 1 }, { toJSON: 1 }, { hasOwnProperty: 1 }, { message: marker, statusCode: 500 },
    Array<number>(300).fill(0), Array<unknown>(50).fill([]), [1e15, 1e15], [0, 2 ** 53 - 1], [-1, F], ['1', F], 'FP16', 'INT64', 'BOOL', 'BYTES', 'card-row@1', 'card-row@', '@', '../../etc/passwd', 'x'.repeat(300),
  ]
  return values[prng.below(values.length)]
}

/** Puts something wrong at a random place of a value. */
function mutate(prng: Prng, value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || prng.uniform() < 0.15 + depth * 0.1) return evil(prng)
  if (Array.isArray(value)) {
    const copy = [...(value as unknown[])]
    const at = prng.below(copy.length + 1)
    const how = prng.below(4)
    if (how === 0) copy.splice(at, 1)
    else if (how === 1) copy.splice(at, 0, evil(prng))
    else copy[at] = mutate(prng, copy[at], depth + 1)
    return copy
  }
  const entries = Object.entries(value)
  const at = prng.below(entries.length + 1)
  const how = prng.below(5)
  if (how === 0) entries.splice(at, 1)
  else if (how === 1) entries.push([['__proto__', 'constructor', 'toString', marker, '', 'input', 'shape', 'parameters', 'data'][prng.below(9)]!, evil(prng)])
  else if (at < entries.length) entries[at] = [entries[at]![0], mutate(prng, entries[at]![1], depth + 1)]
  // by definition, not by assignment: `__proto__` becomes a key like any other
  const made = {}
  for (const [name, each] of entries) Object.defineProperty(made, name, { value: each, enumerable: true, configurable: true, writable: true })
  return made
}

/** JSON as a careless or hostile writer makes it. */
function written(prng: Prng, value: unknown): Buffer {
  let text = JSON.stringify(value) ?? ''
  const insert = (piece: string): void => {
    const at = prng.below(text.length + 1)
    text = text.slice(0, at) + piece + text.slice(at)
  }
  const how = prng.below(14)
  if (how === 0) text = text.slice(0, prng.below(text.length + 1))
  else if (how === 1) insert(['NaN', '1e400', '-', ',', '"', '\\', '[', '{', ']', '}', '\u0000', '\ufeff', '/*', '"\\u005f_proto__":1,', '\\ud800', '0'.repeat(400), '['.repeat(200), '{"a":'.repeat(200)][prng.below(18)]!)
  else if (how === 2) text = text.replace(/\d+/, ['1e999', '-0', '00', '9007199254740993', '123456789012345678901234567890', '.5', '0x10'][prng.below(7)]!)
  const bytes = Buffer.from(text)
  if (how === 3) for (let k = 0; k < 4 && bytes.length > 0; k++) bytes[prng.below(bytes.length)] = prng.below(256)
  return how === 4 ? Buffer.concat([bytes, Buffer.from([0xff, 0xfe, 0xc0])]) : bytes
}

const bytesOf = (prng: Prng, count: number): Buffer => Buffer.from(Array.from({ length: count }, () => prng.below(256)))

function wrongPath(prng: Prng, path: string): string {
  const junk = [
    '/%', '/%00', '/%ff%fe', '/%E0%A4%A', '/..%2f..%2fetc/passwd', '/../../etc/passwd', '//', '/./', '?', '?timeout_ms=', '?timeout_ms=-1', '?timeout_ms=1e9', '?timeout_ms[]=1',
    '?__proto__[a]=1', '?a=%', `?${marker}=${marker}`, '#x', ';a=b', '/\u00e4',
    `/${marker}`, '/'.repeat(300), `/${'a'.repeat(300)}`, `/${'a'.repeat(5000)}`,
  ]
  const how = prng.below(8)
  const piece = junk[prng.below(junk.length)]!
  if (how === 0) return piece
  if (how === 1) return ['*', 'http://localhost/v2', 'http://[::', '', 'card-row', '\\v2', '/v2/models//infer', '/v2/models/%2e%2e/infer', '/v2/models/__proto__',
  '/v2/models/constructor/infer', '/v2/models/toString/versions/valueOf', '/v1/score/__proto__'][prng.below(12)]!
  if (how === 2) return path.slice(0, prng.below(path.length) + 1)
  const at = prng.below(path.length + 1)
  return how < 5 ? path + piece : path.slice(0, at) + piece + path.slice(at)
}

function wrongHeader(prng: Prng): string {
  const value = [
    '', ' ', '\t', '-1', '1e3', '0x10', 'NaN', '99999999999999999999', '1, 2', ';;;', '\u00e4', marker, 'a'.repeat(3000), '"', '\\', 'application/json; charset=utf-16',
    'application/json;;', 'multipart/form-data', 'text/plain', '*/*', 'gzip', 'deflate, br', 'identity', '100-continue', 'chunked, chunked', 'websocket', 'h2c', 'close, TE',
    `Bearer ${marker}`, 'Bearer', 'Basic YTpi', `Bearer hk_000000000000_${'A'.repeat(43)}`, 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.', 'Bearer a.b.c',
    `hk_${marker}`, '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', '00-zz', 'bytes=0-1', '::1', '../..',
  ][prng.below(40)]!
  const name = [
    'content-type', 'content-length', 'transfer-encoding', 'content-encoding', 'expect', 'upgrade', 'connection', 'host', 'inference-header-content-length', 'idempotency-key',
    'authorization', 'x-api-key', 'traceparent', 'tracestate', 'accept', 'accept-encoding', 'accept-version', 'range', 'x-request-id',
    'x-forwarded-for', 'x-http-method-override', 'cookie', 'te', 'trailer', '__proto__', 'constructor', 'a b', 'a\u0000b', '', marker, 'x'.repeat(200), 'http2-settings', 'if-none-match', 'origin', 'access-control-request-method',
  ][prng.below(35)]!
  return `${name}:${prng.uniform() < 0.1 ? '' : ' '}${value}\r\n${prng.uniform() < 0.03 ? ' folded\r\n' : ''}`
}

const wrongMethod = (prng: Prng): string => ['get', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'CONNECT', 'HEAD', 'PROPFIND', 'M-SEARCH', 'G\u0000T', '', marker, 'POST POST', 'PRI'][prng.below(15)]!

/** The next request of a seed. */
export function nextRequest(prng: Prng): FuzzedRequest {
  const what: string[] = []
  const sometimes = (share: number, name: string): boolean => prng.uniform() < share && what.push(name) > 0
  if (sometimes(0.02, 'noise')) return { bytes: Buffer.concat([bytesOf(prng, prng.below(200)), Buffer.from('\r\n\r\n')]), isCut: false, what: 'noise' }
  const choices = templates(prng)
  const template = choices[prng.below(choices.length)]!
  const isRead = sometimes(0.15, 'read')
  let { path } = isRead ? { path: reads[prng.below(reads.length)]! } : template
  let method = isRead ? 'GET' : 'POST'
  let json: Buffer = isRead ? Buffer.alloc(0) : Buffer.from(JSON.stringify(template.body))
  let tail: Buffer | undefined = isRead ? undefined : template.tail
  if (!isRead && sometimes(0.75, 'body')) {
    let body = template.body
    for (let times = 1 + prng.below(3); times > 0; times--) body = mutate(prng, body)
    json = written(prng, body)
  }
  if (!isRead && sometimes(0.04, 'bytes')) json = bytesOf(prng, prng.below(2000))
  if (!isRead && sometimes(0.004, 'large')) json = Buffer.from(`{"input":[${'1,'.repeat(300_000)}1]}`)
  if (tail && sometimes(0.3, 'tail')) tail = tail.subarray(0, prng.below(tail.length))
  if (sometimes(0.15, 'path')) path = wrongPath(prng, path)
  if (sometimes(0.06, 'method')) method = wrongMethod(prng)
  const body = tail ? Buffer.concat([json, tail]) : json
  let headers = 'host: localhost\r\n'
  headers += sometimes(0.05, 'type') ? '' : 'content-type: application/json\r\n'
  if (tail) headers += `inference-header-content-length: ${sometimes(0.1, 'header length') ? prng.below(2000) - 500 : json.length}\r\n`
  if (sometimes(0.25, 'headers')) for (let times = 1 + prng.below(4); times > 0; times--) headers += wrongHeader(prng)
  if (sometimes(0.005, 'many headers')) headers += Array.from({ length: 300 }, (_, k) => `x-${k}: ${k}\r\n`).join('')
  let isCut = sometimes(0.01, 'cut')
  let payload: Buffer
  if (isRead) payload = Buffer.alloc(0)
  else if (sometimes(0.1, 'chunked')) {
    headers += 'transfer-encoding: chunked\r\n'
    const size = sometimes(0.3, 'chunk size') ? ['zz', '-1', 'ffffffffffffffff', '0', ' 5', '5;x', '5'][prng.below(7)]! : body.length.toString(16)
    payload = Buffer.concat([Buffer.from(`${size}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])
    if (what.includes('chunk size')) isCut = true
  } else {
    const length = sometimes(0.02, 'length') ? ['-1', '1e3', '99999999999', '0x10', 'x', ''][prng.below(6)]! : String(body.length)
    headers += `content-length: ${length}\r\n`
    payload = body
    if (what.includes('length')) isCut = true
  }
  const version = sometimes(0.01, 'version') ? ['HTTP/1.0', 'HTTP/2.0', 'HTTP/9.9', 'http/1.1', ''][prng.below(5)]! : 'HTTP/1.1'
  let bytes = Buffer.concat([Buffer.from(`${method} ${path} ${version}\r\n${headers}\r\n`, 'utf8'), payload])
  if (what.includes('cut')) bytes = bytes.subarray(0, prng.below(bytes.length))
  return { bytes, isCut: isCut || what.some((each) => ['headers', 'method', 'version', 'path'].includes(each)), what: what.join(', ') || 'nothing' }
}
