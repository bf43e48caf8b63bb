import { Agent as PlainAgent, request as plainRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Agent as TlsAgent, request as tlsRequest } from 'node:https'
import type { Readable } from 'node:stream'
import type { TlsSettings } from './security.js'

export interface HttpAnswer {
  readonly status: number
  readonly text: string
}

/** A body that is read while it is sent. */
export interface HttpStream {
  readonly bytes: number
  open(): Readable
}

export interface HttpRequest {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | HttpStream | undefined
  readonly signal?: AbortSignal | undefined
  /** The longest time in which no byte goes either way, from the first try to connect to the end of the answer; absent: none. */
  readonly idleMsMax?: number | undefined
}

/** The longest answer of a registry or a token endpoint; a longer one is cut off with an error. */
const answerBytesMax = 64 << 20
/** Connections that wait for the next request; a registry is asked for a handful of schemas. */
const idleSocketsMax = 2

/** HTTP and HTTPS with authorities and client certificates of one's own, which `fetch` of Node.js has no setting for. */
export class HttpClient {
  readonly #plain = new PlainAgent({ keepAlive: true, maxFreeSockets: idleSocketsMax })
  readonly #tls: TlsAgent

  constructor(tls?: TlsSettings) {
    this.#tls = new TlsAgent({ keepAlive: true, maxFreeSockets: idleSocketsMax, ...(tls ? nodeTls(tls) : {}) })
  }

  /** Rejects with the error of the connection, whose `code` tells what it was. Redirects are not followed: credentials stay with whom they are meant for. */
  async request(url: string, request: HttpRequest): Promise<HttpAnswer> {
    const answer = await this.open(url, request)
    return { status: answer.statusCode ?? 0, text: await readText(answer) }
  }

  /** As `request`; the body of the answer is the caller's to read, to its end. */
  open(url: string, { method, headers, body, signal, idleMsMax }: HttpRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(toError(signal.reason))
      const bytes = typeof body === 'string' ? Buffer.byteLength(body) : body?.bytes
      const given: RequestOptions = { method, headers: { ...headers, ...(bytes === undefined ? {} : { 'content-length': String(bytes) }) } }
      const secure = url.startsWith('https:')
      const sent: ClientRequest = secure ? tlsRequest(url, { ...given, agent: this.#tls }, resolve) : plainRequest(url, { ...given, agent: this.#plain }, resolve)
      const onAbort = (): void => void sent.destroy(toError(signal?.reason))
      signal?.addEventListener('abort', onAbort, { once: true })
      sent.on('close', () => signal?.removeEventListener('abort', onAbort))
      sent.on('error', reject)
      if (idleMsMax !== undefined) sent.setTimeout(idleMsMax, () => sent.destroy(new Error(`no byte for ${idleMsMax / 1000} s`)))
      if (typeof body !== 'object') return void sent.end(body)
      const source = body.open()
      source.on('error', (error) => sent.destroy(error))
      sent.on('close', () => source.destroy())
      source.pipe(sent)
    })
  }
}

/** The settings as `tls.connect` and kafkajs take them. */
export function nodeTls({ ca, certificate, key, keyPassword, verifyHostname }: TlsSettings): Record<string, unknown> {
  return {
    ...(ca === undefined ? {} : { ca: [ca] }),
    ...(certificate === undefined ? {} : { cert: certificate }),
    ...(key === undefined ? {} : { key: key.reveal() }),
    ...(keyPassword === undefined ? {} : { passphrase: keyPassword.reveal() }),
    ...(verifyHostname ? {} : { checkServerIdentity: () => undefined }),
  }
}

/** Errors: that of the connection; an answer that is longer than `answerBytesMax`. */
export async function readText(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > answerBytesMax) throw new Error(`the answer is longer than ${answerBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('stopped')
}
