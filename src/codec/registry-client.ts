import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { silentLogger, type Logger } from '../base/logger.js'
import { HttpClient } from '../connection/http-client.js'
import type { RegistryLogin, RegistrySecurity } from '../connection/security.js'
import { lastingTrouble } from '../connection/trouble.js'
import { bundleSchema, readRegistered, referencesMax, type RegisteredSchema, type SchemaType } from './registered-schema.js'
import { SharedRequest } from './shared-request.js'

export interface RegistryClientOptions {
  readonly clock: Clock
  readonly logger?: Logger | undefined
  /** Its authorities, our certificate, and who we are to it. */
  readonly security?: RegistrySecurity | undefined
  /** One request takes at most so long. */
  readonly requestTimeoutMs?: number | undefined
  /** Waits between tries while the registry is down: doubling from Min to Max. */
  readonly retryDelayMsMin?: number | undefined
  readonly retryDelayMsMax?: number | undefined
  /** A registry that is down is logged once in so long. */
  readonly logIntervalMs?: number | undefined
  /** How long an unknown schema id is taken as unknown before the registry is asked again, and how many are kept. */
  readonly unknownIdTtlMs?: number | undefined
  readonly unknownIdsMax?: number | undefined
}

const defaults = {
  requestTimeoutMs: 5_000,
  retryDelayMsMin: 100,
  retryDelayMsMax: 5_000,
  logIntervalMs: 10_000,
  unknownIdTtlMs: 30_000,
  unknownIdsMax: 10_000,
}

/** The registry answered, definitely, that it has no such schema: the record that names it is a dead letter. */
export class UnknownSchemaIdError extends HarrierError {
  constructor(readonly schemaId: number) {
    super('RECORD_UNDECODABLE', `unknown schema id ${schemaId}`)
  }
}

/** The registry has a schema of this id, but of another type than wanted. */
export class WrongSchemaTypeError extends HarrierError {
  constructor(
    readonly schemaId: number,
    readonly found: string,
    wanted: SchemaType,
  ) {
    super('RECORD_UNDECODABLE', `schema ${schemaId} is of type ${found}, not ${wanted}`)
  }
}

/** What decoders need of a registry. */
export interface SchemaLookup {
  /** As `RegistryClient.schemaById`. */
  schemaById(id: number, signal?: AbortSignal, type?: SchemaType): Promise<object>
  isUnknownId(id: number): boolean
}

/** A version of a subject; `schema` stands for itself, references included, and is empty where `type` is neither AVRO nor JSON. */
export interface SubjectVersion {
  readonly id: number
  readonly version: number
  readonly type: string
  readonly schema: object
}

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

const conflict = 409
/** How often a subject that conflicts is tried, and the pause between. */
const conflictTriesMax = 4
const conflictPauseMs = 50
const schemaNotFound = 40403
/** Codes of things that are not there have five digits: 40401, 40402, 40403. */
const notFoundCodesMin = 40_400
const subjectNotFound = 40401
const versionNotFound = 40402

/**
 * A schema registry that speaks the Confluent REST API.
 *
 * A registry that is down (no connection, 5xx, 429, time-out) is waited for: calls end when it answers or when their
 * `signal` aborts (REGISTRY_UNAVAILABLE). A certificate that is refused on either side is CERTIFICATE_REFUSED. Whatever else it refuses is REGISTRY_REFUSED with its own message. Schemas are
 * cached for ever, unknown ids for `unknownIdTtlMs`; there is never more than one request in flight for an id.
 */
export class RegistryClient {
  readonly #baseUrl: string
  readonly #login: RegistryLogin | undefined
  readonly #http: HttpClient
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #limits: typeof defaults
  readonly #schemas = new Map<number, { type: string; schema: object }>()
  readonly #unknownUntilMs = new Map<number, number>()
  readonly #inFlight = new Map<number, SharedRequest<{ type: string; schema: object }>>()
  readonly #registered = new Map<string, number>()
  #loggedAtMs = -Infinity

  constructor(baseUrl: string, options: RegistryClientOptions) {
    const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
    if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
      throw new HarrierError('CONFIG_INVALID', 'this is not the URL of a schema registry', { remedy: 'write for example http://host:8081' })
    }
    // What is in a URL ends in logs and in process lists.
    if (url.username !== '' || url.password !== '') {
      throw new HarrierError('CONFIG_INVALID', `the URL of the schema registry at ${url.host} has credentials in it`, { remedy: 'put them into a connection file (docs/connections.md)' })
    }
    this.#login = options.security?.login
    this.#http = new HttpClient(options.security?.tls)
    this.#baseUrl = url.href.replace(/\/+$/, '')
    this.#clock = options.clock
    this.#logger = options.logger ?? silentLogger
    this.#limits = {
      requestTimeoutMs: options.requestTimeoutMs ?? defaults.requestTimeoutMs,
      retryDelayMsMin: options.retryDelayMsMin ?? defaults.retryDelayMsMin,
      retryDelayMsMax: options.retryDelayMsMax ?? defaults.retryDelayMsMax,
      logIntervalMs: options.logIntervalMs ?? defaults.logIntervalMs,
      unknownIdTtlMs: options.unknownIdTtlMs ?? defaults.unknownIdTtlMs,
      unknownIdsMax: options.unknownIdsMax ?? defaults.unknownIdsMax,
    }
  }

  /** Registers a schema under a subject and returns its id. The same schema again gives the same id. */
  async register(subject: string, schema: object, signal?: AbortSignal, type: SchemaType = 'AVRO'): Promise<number> {
    const text = JSON.stringify(schema)
    const key = `${subject}\n${text}`
    const known = this.#registered.get(key)
    if (known !== undefined) return known
    const post = (): Promise<Answer> => this.#request('POST', `/subjects/${encodeURIComponent(subject)}/versions`, { schema: text, ...typeMember(type) }, signal)
    let answer = await post()
    // Also the answer to the slower of two that make the same new subject at once; a refusal that is meant stays one.
    for (let tries = 1; answer.status === conflict && tries < conflictTriesMax && signal?.aborted !== true; tries++) {
      await this.#clock.sleep(conflictPauseMs, signal)
      answer = await post()
    }
    const id = answer.body['id']
    if (answer.status !== 200 || typeof id !== 'number') throw refused(`refused the schema of subject ${subject}`, answer)
    this.#registered.set(key, id)
    return id
  }

  /**
   * The schema with an id, references written into it. Throws UnknownSchemaIdError when the registry says that there is
   * none, WrongSchemaTypeError when it is of another type.
   */
  async schemaById(id: number, signal?: AbortSignal, type: SchemaType = 'AVRO'): Promise<object> {
    const found = this.#schemas.get(id) ?? (await this.#sharedFetch(id, signal))
    if (found.type !== type) throw new WrongSchemaTypeError(id, found.type, type)
    return found.schema
  }

  async #sharedFetch(id: number, signal: AbortSignal | undefined): Promise<{ type: string; schema: object }> {
    if (this.isUnknownId(id)) throw new UnknownSchemaIdError(id)
    let shared = this.#inFlight.get(id)
    if (!shared) {
      shared = new SharedRequest((abort) => this.#fetchSchema(id, abort))
      this.#inFlight.set(id, shared)
      const done = (): boolean => this.#inFlight.delete(id)
      shared.result.then(done, done)
    }
    return await shared.join(signal, () => this.#unavailable('the caller gave up'))
  }

  /** Whether the registry has said, not too long ago, that an id is unknown. */
  isUnknownId(id: number): boolean {
    const untilMs = this.#unknownUntilMs.get(id)
    if (untilMs === undefined) return false
    if (this.#clock.monotonicMs() < untilMs) return true
    this.#unknownUntilMs.delete(id)
    return false
  }

  /** The newest version under a subject; undefined when the subject has none. */
  async latest(subject: string, signal?: AbortSignal): Promise<SubjectVersion | undefined> {
    const answer = await this.#request('GET', `/subjects/${encodeURIComponent(subject)}/versions/latest`, undefined, signal)
    const { id, version } = answer.body
    if (isAbsent(answer)) return undefined
    if (answer.status !== 200 || typeof id !== 'number' || typeof version !== 'number') throw refused(`refused subject ${subject}`, answer)
    return { id, version, ...(await this.#bundled(`subject ${subject}`, answer, signal)) }
  }

  /** The version under a subject that is this very schema; undefined when the subject has none such. */
  async lookup(subject: string, schema: object, signal?: AbortSignal): Promise<{ id: number; version: number } | undefined> {
    const answer = await this.#request('POST', `/subjects/${encodeURIComponent(subject)}`, { schema: JSON.stringify(schema) }, signal)
    const { id, version } = answer.body
    if (isAbsent(answer) || answer.status === 404) return undefined
    if (answer.status !== 200 || typeof id !== 'number' || typeof version !== 'number') throw refused(`refused to look under subject ${subject}`, answer)
    return { id, version }
  }

  /** Whether a schema could be registered under a subject; a subject without versions takes any. */
  async compatible(subject: string, schema: object, signal?: AbortSignal): Promise<{ compatible: boolean; messages: string[] }> {
    const path = `/compatibility/subjects/${encodeURIComponent(subject)}/versions/latest?verbose=true`
    const answer = await this.#request('POST', path, { schema: JSON.stringify(schema) }, signal)
    if (isAbsent(answer)) return { compatible: true, messages: [] }
    const compatible = answer.body['is_compatible']
    if (answer.status !== 200 || typeof compatible !== 'boolean') throw refused(`refused to compare subject ${subject}`, answer)
    const messages = Array.isArray(answer.body['messages']) ? answer.body['messages'].map(String) : []
    return { compatible, messages }
  }

  /** Sets which versions the registry takes under a subject; BACKWARD: a new schema reads what the one before wrote. */
  async setCompatibility(subject: string, level: 'NONE' | 'BACKWARD' | 'BACKWARD_TRANSITIVE' | 'FULL', signal?: AbortSignal): Promise<void> {
    const answer = await this.#request('PUT', `/config/${encodeURIComponent(subject)}`, { compatibility: level }, signal)
    if (answer.status !== 200) throw refused(`refused compatibility ${level} for subject ${subject}`, answer)
  }

  async #fetchSchema(id: number, signal: AbortSignal | undefined): Promise<{ type: string; schema: object }> {
    const answer = await this.#request('GET', `/schemas/ids/${id}`, undefined, signal)
    if (answer.status === 404 && answer.body['error_code'] === schemaNotFound) {
      this.#rememberUnknown(id)
      throw new UnknownSchemaIdError(id)
    }
    if (answer.status !== 200) throw refused(`refused schema id ${id}`, answer)
    const schema = await this.#bundled(`schema id ${id}`, answer, signal)
    this.#schemas.set(id, schema)
    return schema
  }

  /** The schema of an answer with all that it refers to. */
  async #bundled(what: string, answer: Answer, signal: AbortSignal | undefined): Promise<{ type: string; schema: object }> {
    const registered = parseSchema(what, answer)
    const referred = new Map<string, unknown>()
    const open = [...registered.references]
    for (let next = open.shift(); next; next = open.shift()) {
      if (referred.has(next.name)) continue
      if (referred.size === referencesMax) throw new HarrierError('REGISTRY_REFUSED', `${what} refers to more than ${referencesMax} schemas`)
      const path = `/subjects/${encodeURIComponent(next.subject)}/versions/${next.version}`
      const found = await this.#request('GET', path, undefined, signal)
      if (found.status !== 200) throw refused(`has no version ${next.version} of subject ${next.subject}, to which ${what} refers as ${next.name}: it answered`, found)
      const { schema, references } = parseSchema(`subject ${next.subject}`, found)
      referred.set(next.name, schema)
      open.push(...references)
    }
    return { type: registered.type, schema: bundleSchema(registered.type, registered.schema, referred) }
  }

  #rememberUnknown(id: number): void {
    if (this.#unknownUntilMs.size >= this.#limits.unknownIdsMax) {
      const [oldest] = this.#unknownUntilMs.keys()
      if (oldest !== undefined) this.#unknownUntilMs.delete(oldest)
    }
    this.#unknownUntilMs.set(id, this.#clock.monotonicMs() + this.#limits.unknownIdTtlMs)
  }

  async #request(method: string, path: string, body: object | undefined, signal: AbortSignal | undefined): Promise<Answer> {
    let delayMs = this.#limits.retryDelayMsMin
    let renewed = false
    for (;;) {
      let trouble: string
      try {
        const answer = await this.#try(method, path, body, signal)
        if (answer.status === 401 && this.#login?.type === 'bearer' && !renewed) {
          // The token may have been revoked before its time; a new one is worth one more try.
          renewed = true
          this.#login.tokens.forget()
          continue
        }
        if (answer.status < 500 && answer.status !== 429) return answer
        trouble = `status ${answer.status}`
      } catch (error) {
        if (error instanceof HarrierError && error.consequence !== 'retry') throw error
        const lasting = lastingTrouble(`the schema registry ${this.#baseUrl}`, `${messageOf(error)} ${String((error as { code?: unknown }).code ?? '')}`.trim(), error)
        if (lasting) throw lasting
        trouble = messageOf(error)
      }
      this.#throwIfAborted(signal, trouble)
      this.#logTrouble(trouble)
      await this.#clock.sleep(delayMs, signal)
      this.#throwIfAborted(signal, trouble)
      delayMs = Math.min(delayMs * 2, this.#limits.retryDelayMsMax)
    }
  }

  async #try(method: string, path: string, body: object | undefined, signal: AbortSignal | undefined): Promise<Answer> {
    const abort = new AbortController()
    const finished = new AbortController()
    const onAbort = (): void => abort.abort(new Error('stopped'))
    if (signal?.aborted) onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    const { requestTimeoutMs } = this.#limits
    const timer = this.#clock.sleep(requestTimeoutMs, finished.signal)
    void timer.then(() => {
      if (!finished.signal.aborted) abort.abort(new Error(`no answer in ${requestTimeoutMs} ms`))
    })
    try {
      const headers: Record<string, string> = { accept: 'application/vnd.schemaregistry.v1+json, application/json' }
      if (body) headers['content-type'] = 'application/vnd.schemaregistry.v1+json'
      if (this.#login) headers['authorization'] = await authorization(this.#login)
      const { status, text } = await this.#http.request(this.#baseUrl + path, { method, headers, body: body && JSON.stringify(body), signal: abort.signal })
      return { status, body: parseBody(text, status, `${this.#baseUrl}${path}`) }
    } finally {
      finished.abort()
      signal?.removeEventListener('abort', onAbort)
    }
  }

  #throwIfAborted(signal: AbortSignal | undefined, trouble: string): void {
    if (signal?.aborted) throw this.#unavailable(trouble)
  }

  #unavailable(trouble: string): HarrierError {
    return new HarrierError('REGISTRY_UNAVAILABLE', `the schema registry ${this.#baseUrl} does not answer: ${trouble}`)
  }

  #logTrouble(trouble: string): void {
    const now = this.#clock.monotonicMs()
    if (now - this.#loggedAtMs < this.#limits.logIntervalMs) return
    this.#loggedAtMs = now
    this.#logger.log('warn', 'waiting for the schema registry', { url: this.#baseUrl, trouble })
  }
}

function parseBody(text: string, status: number, url: string): Record<string, unknown> {
  try {
    const body: unknown = text === '' ? {} : JSON.parse(text)
    if (typeof body === 'object' && body !== null) return body as Record<string, unknown>
  } catch {
    // Said below: what answers is not a schema registry.
  }
  if (status !== 200) return {}
  throw new HarrierError('REGISTRY_REFUSED', `${url} answered something other than JSON`, { remedy: 'correct the URL of the schema registry' })
}

function parseSchema(what: string, answer: Answer): RegisteredSchema {
  if (typeof answer.body['schema'] !== 'string') throw refused(`gave no schema for ${what}`, answer)
  try {
    return readRegistered(answer.body)
  } catch (error) {
    throw new HarrierError('REGISTRY_REFUSED', `the schema registry gave ${what} as something other than JSON`, { cause: error })
  }
}

/** AVRO goes without saying. */
function typeMember(type: SchemaType): { schemaType?: SchemaType } {
  return type === 'AVRO' ? {} : { schemaType: type }
}

const wrongUrl = "correct the registry's URL: it is what stands before /subjects, on Apicurio http://host:port/apis/ccompat/v7"

const remedies: Readonly<Record<number, { remedy: string }>> = {
  401: { remedy: 'correct registry.auth and its credentials in the connection file (docs/connections.md)' },
  403: { remedy: 'have this user allowed to read, and for a new schema to write, this subject' },
}

function isAbsent(answer: Answer): boolean {
  const code = answer.body['error_code']
  return answer.status === 404 && (code === subjectNotFound || code === versionNotFound)
}

function refused(what: string, answer: Answer): HarrierError {
  const { message, error_code: code } = answer.body
  const said = typeof message === 'string' ? `: ${message}` : ''
  const number = typeof code === 'number' ? ` (${code})` : ''
  // A registry says by its own code which of its things is not there; whoever answers 404 without is something else.
  const elsewhere = answer.status === 404 && !(typeof code === 'number' && code >= notFoundCodesMin)
  return new HarrierError('REGISTRY_REFUSED', `the schema registry ${what} with status ${answer.status}${number}${said}`, elsewhere ? { remedy: wrongUrl } : (remedies[answer.status] ?? {}))
}

/** The header that says who asks. */
export async function authorization(login: RegistryLogin): Promise<string> {
  if (login.type === 'bearer') return `Bearer ${(await login.tokens.token()).value.reveal()}`
  return `Basic ${Buffer.from(`${login.username}:${login.password.reveal()}`).toString('base64')}`
}
