import { Agent as PlainAgent, request as plainRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Agent as TlsAgent, request as tlsRequest } from 'node:https'
import type { TlsSettings } from './security.js'

export interface HttpAnswer {
  readonly status: number
  readonly text: string
}

export interface HttpRequest {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | undefined
  readonly signal?: AbortSignal | undefined
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
  request(url: string, { method, headers, body, signal }: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(toError(signal.reason))
      const given: RequestOptions = { method, headers: { ...headers, ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }) } }
      const onAnswer = (answer: IncomingMessage): void => {
        readText(answer).then((text) => resolve({ status: answer.statusCode ?? 0, text }), reject)
      }
      const secure = url.startsWith('https:')
      const sent: ClientRequest = secure ? tlsRequest(url, { ...given, agent: this.#tls }, onAnswer) : plainRequest(url, { ...given, agent: this.#plain }, onAnswer)
      const onAbort = (): void => void sent.destroy(toError(signal?.reason))
      signal?.addEventListener('abort', onAbort, { once: true })
      sent.on('close', () => signal?.removeEventListener('abort', onAbort))
      sent.on('error', reject)
      sent.end(body)
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

async function readText(answer: IncomingMessage): Promise<string> {
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
