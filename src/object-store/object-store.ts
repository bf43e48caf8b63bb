import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, statSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { AwsV4Signer } from 'aws4fetch'
import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { HttpClient, readText, type HttpStream } from '../connection/http-client.js'
import type { ObjectStoreAccess } from '../connection/security.js'
import { lastingTrouble } from '../connection/trouble.js'
import type { ObjectPlace } from './object-url.js'
import { failureOf, isPassing, listedPage, refusalOf, type ListedObject, type ListedPage, type StoreFailure } from './store-answer.js'

export const objectStoreLimits = {
  /** Tries of one request; then STORE_UNAVAILABLE. */
  triesMax: 5,
  /** Before the second try; twice as long before each further one. */
  waitMsMin: 200,
  /** No byte either way for so long ends a try: connecting, waiting for the answer, and each pause within it. */
  idleMsMax: 30_000,
  /** What S3 takes in one request. */
  objectBytesMax: 5 * 2 ** 30,
  /** Objects of one listing. */
  listedMax: 100_000,
} as const

export type ObjectStoreLimits = { readonly [name in keyof typeof objectStoreLimits]: number }

export interface ObjectStoreOptions {
  readonly access: ObjectStoreAccess
  readonly place: ObjectPlace
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: Partial<ObjectStoreLimits> | undefined
}

/** What stands beside an object that was read. */
export interface ObjectRead {
  readonly sha256: string
  /** As the store names this very content; undefined: it names none. */
  readonly etag: string | undefined
}

/** On what a write depends. */
export type WriteIf = { readonly absent: true } | { readonly etag: string } | undefined

interface Wanted {
  readonly method: 'GET' | 'PUT'
  /** In an error: "read s3://bucket/object". */
  readonly what: string
  readonly key: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | HttpStream
  /** Of the body. */
  readonly sha256?: string
}

type Answered<T> = { readonly value: T; readonly etag: string | undefined; readonly failure?: undefined } | { readonly failure: StoreFailure }

const emptySha256 = createHash('sha256').digest('hex')

/**
 * Objects of an S3-compatible store whose names begin with a prefix. Each request is signed (AWS signature version 4, over the
 * body's sha256, too), has a longest silence, and is tried again where that may help. Redirects are not followed.
 * Errors of all calls: STORE_UNAVAILABLE, STORE_REFUSED, AUTHENTICATION_FAILED, NOT_AUTHORIZED, CERTIFICATE_REFUSED, NOT_FOUND (no such
 * bucket), CONFIG_INVALID (no credentials).
 */
export class ObjectStore {
  /** `s3://bucket/prefix` */
  readonly name: string
  readonly #options: ObjectStoreOptions
  readonly #limits: ObjectStoreLimits
  readonly #http: HttpClient
  /** Ends without a slash. */
  readonly #base: string

  constructor(options: ObjectStoreOptions) {
    const { access: { endpoint, region, pathStyle, tls }, place: { bucket, prefix } } = options
    this.#options = options
    this.#limits = { ...objectStoreLimits, ...options.limits }
    this.#http = new HttpClient(tls)
    this.name = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`
    const { protocol, host, pathname } = new URL(endpoint ?? `https://s3.${region}.amazonaws.com`)
    const path = pathname.replace(/\/$/, '')
    // A name with a dot has no certificate as part of a host name.
    this.#base = pathStyle || bucket.includes('.') ? `${protocol}//${host}${path}/${bucket}` : `${protocol}//${bucket}.${host}${path}`
  }

  /** Objects whose names begin so, with names after the prefix of the store. Errors: LIMIT_EXCEEDED. */
  async list(begin: string): Promise<ListedObject[]> {
    const all: ListedObject[] = []
    const what = `list ${this.name}/${begin}`
    const skipped = this.#key('').length
    for (let next: string | undefined = ''; next !== undefined; ) {
      const query: Record<string, string> = { 'list-type': '2', 'encoding-type': 'url', prefix: this.#key(begin), ...(next === '' ? {} : { 'continuation-token': next }) }
      const page: ListedPage = await this.#done({ method: 'GET', what, key: '', query }, async (answer) => listedPage(await readText(answer)))
      all.push(...page.objects.map(({ key, bytes }) => ({ key: key.slice(skipped), bytes })))
      if (all.length > this.#limits.listedMax) throw new HarrierError('LIMIT_EXCEEDED', `${this.name}/${begin} has more than ${this.#limits.listedMax} objects`, { remedy: 'name a prefix under which only those of Harrier are' })
      next = page.next
    }
    return all
  }

  /** Undefined where there is no such object. */
  async readText(object: string): Promise<({ readonly text: string } & ObjectRead) | undefined> {
    const answered = await this.#ask(this.#reading(object), readText)
    if (answered.failure) return this.#orAbsent(answered.failure, object)
    return { text: answered.value, sha256: createHash('sha256').update(answered.value).digest('hex'), etag: answered.etag }
  }

  /** Writes an object into a file, which it replaces. Undefined where there is no such object. */
  async readFile(object: string, file: string): Promise<ObjectRead | undefined> {
    const answered = await this.#ask(this.#reading(object), async (answer) => {
      const hash = createHash('sha256')
      await pipeline(answer, async function* (pieces: AsyncIterable<Buffer>) {
        for await (const piece of pieces) {
          hash.update(piece)
          yield piece
        }
      }, createWriteStream(file))
      return hash.digest('hex')
    })
    if (answered.failure) return this.#orAbsent(answered.failure, object)
    return { sha256: answered.value, etag: answered.etag }
  }

  /** Undefined: it was not written, because what it depended on is not so. */
  async writeText(object: string, text: string, writeIf?: WriteIf): Promise<{ readonly etag: string | undefined } | undefined> {
    return await this.#write(object, text, createHash('sha256').update(text).digest('hex'), writeIf)
  }

  /** As `writeText`, of a file with that sha256. Errors: LIMIT_EXCEEDED. */
  async writeFile(object: string, file: string, sha256: string, writeIf?: WriteIf): Promise<{ readonly etag: string | undefined } | undefined> {
    const bytes = statSync(file).size
    if (bytes > this.#limits.objectBytesMax) throw new HarrierError('LIMIT_EXCEEDED', `${file} has ${bytes} bytes, and one request takes ${this.#limits.objectBytesMax}`, { remedy: 'keep it on a disk: name a folder instead' })
    return await this.#write(object, { bytes, open: () => createReadStream(file) }, sha256, writeIf)
  }

  async #write(object: string, body: string | HttpStream, sha256: string, writeIf: WriteIf): Promise<{ readonly etag: string | undefined } | undefined> {
    const headers = writeIf === undefined ? {} : 'absent' in writeIf ? { 'if-none-match': '*' } : { 'if-match': writeIf.etag }
    const wanted: Wanted = { method: 'PUT', what: `write ${this.name}/${object}`, key: this.#key(object), body, sha256 }
    let answered = await this.#ask({ ...wanted, headers }, readText)
    // Servers of before 2024 do not know conditions of a write; then what was there a moment ago decides.
    if (answered.failure?.status === 501 && writeIf !== undefined) {
      const there = await this.readText(object)
      if ('absent' in writeIf ? there !== undefined : there?.etag !== writeIf.etag) return undefined
      answered = await this.#ask(wanted, readText)
    }
    if (!answered.failure) return { etag: answered.etag }
    if (answered.failure.status === 412) return undefined
    throw this.#refusal(answered.failure, wanted)
  }

  #reading(object: string): Wanted {
    return { method: 'GET', what: `read ${this.name}/${object}`, key: this.#key(object) }
  }

  #orAbsent(failure: StoreFailure, object: string): undefined {
    if (failure.status === 404 && failure.code !== 'NoSuchBucket') return undefined
    throw this.#refusal(failure, this.#reading(object))
  }

  #refusal(failure: StoreFailure, { what }: Wanted): HarrierError {
    return refusalOf(failure, what, this.#options.place.bucket, this.#where)
  }

  get #where(): string {
    return new URL(this.#base).origin
  }

  #key(object: string): string {
    const { prefix } = this.#options.place
    return prefix === '' ? object : `${prefix}/${object}`
  }

  async #done<T>(wanted: Wanted, take: (answer: IncomingMessage) => Promise<T>): Promise<T> {
    const answered = await this.#ask(wanted, take)
    if (answered.failure) throw this.#refusal(answered.failure, wanted)
    return answered.value
  }

  /** The answer of a try that was neither cut off nor told to come again. `take` reads it to its end, perhaps several times. */
  async #ask<T>(wanted: Wanted, take: (answer: IncomingMessage) => Promise<T>): Promise<Answered<T>> {
    const { clock, logger } = this.#options
    const { triesMax, waitMsMin } = this.#limits
    for (let tried = 1; ; tried++) {
      let cause: string
      try {
        const answered = await this.#try(wanted, take)
        if (!answered.failure || !isPassing(answered.failure)) return answered
        cause = `status ${answered.failure.status} ${answered.failure.code}`.trim()
      } catch (error) {
        if (error instanceof HarrierError) throw error
        cause = messageOf(error) || String((error as NodeJS.ErrnoException).code ?? 'no answer')
        const trouble = lastingTrouble(`the object store ${this.#where}`, `${cause} ${String((error as NodeJS.ErrnoException).code ?? '')}`, error)
        if (trouble) throw trouble
      }
      if (tried >= triesMax) throw new HarrierError('STORE_UNAVAILABLE', `the object store ${this.#where} does not ${wanted.what}, tried ${tried} times: ${cause}`)
      logger.log('warn', 'the object store is asked again', { what: wanted.what, tried, cause })
      await clock.sleep(waitMsMin << (tried - 1))
    }
  }

  async #try<T>(wanted: Wanted, take: (answer: IncomingMessage) => Promise<T>): Promise<Answered<T>> {
    const { method, body } = wanted
    const { url, headers } = await this.#signed(wanted)
    const answer = await this.#http.open(url, { method, headers, body, idleMsMax: this.#limits.idleMsMax })
    const status = answer.statusCode ?? 0
    if (status < 200 || status > 299) return { failure: failureOf(status, await readText(answer)) }
    const { etag } = answer.headers
    return { value: await take(answer), etag }
  }

  async #signed({ method, key, query = {}, headers = {}, sha256 = emptySha256 }: Wanted): Promise<{ url: string; headers: Record<string, string> }> {
    const { access: { region, credentials }, clock } = this.#options
    const { accessKeyId, secretAccessKey, sessionToken } = credentials()
    const search = Object.entries(query).map(([name, value]) => `${name}=${encode(value)}`).join('&')
    const url = `${this.#base}/${key.split('/').map(encode).join('/')}${search === '' ? '' : `?${search}`}`
    const datetime = new Date(clock.nowMs()).toISOString().replace(/[:-]|\.\d{3}/g, '')
    const signer = new AwsV4Signer({
      url, method, headers: { ...headers, 'x-amz-content-sha256': sha256 }, service: 's3', region, datetime,
      accessKeyId, secretAccessKey: secretAccessKey.reveal(), ...(sessionToken === undefined ? {} : { sessionToken: sessionToken.reveal() }),
    })
    const signed = await signer.sign()
    return { url, headers: Object.fromEntries(signed.headers) }
  }
}

/** As S3 encodes names before it signs them: all but letters, digits and - . _ ~ */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`)
}
