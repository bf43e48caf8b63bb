import { HarrierError } from '../base/errors.js'

/** What a store said that is no success. */
export interface StoreFailure {
  readonly status: number
  /** As S3 names it, such as NoSuchKey; empty where the answer has none. */
  readonly code: string
  readonly message: string
}

/** Characters of a store's own words in an error. */
const messageCharactersMax = 200

/** Only code and message are taken: other parts of a refusal repeat what was signed. */
export function failureOf(status: number, text: string): StoreFailure {
  return { status, code: elementOf(text, 'Code') ?? '', message: (elementOf(text, 'Message') ?? '').slice(0, messageCharactersMax) }
}

/** Whether another try may go better. */
export function isPassing({ status, code }: StoreFailure): boolean {
  return status >= 500 ? status !== 501 : status === 408 || status === 429 || code === 'SlowDown' || code === 'RequestTimeout' || code === 'ConditionalRequestConflict' || code === 'OperationAborted'
}

const credentialCodes: ReadonlySet<string> = new Set(['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken', 'TokenRefreshRequired', 'InvalidSecurity'])
const regionCodes: ReadonlySet<string> = new Set(['PermanentRedirect', 'TemporaryRedirect', 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException'])

/** The error for what a store refuses. `what`: "read s3://bucket/object"; `where`: the store's address. */
export function refusalOf(failure: StoreFailure, what: string, bucket: string, where: string): HarrierError {
  const { status, code, message } = failure
  const said = `status ${status}${code === '' ? '' : `, ${code}`}${message === '' ? '' : `: ${message}`}`
  if (credentialCodes.has(code)) return new HarrierError('AUTHENTICATION_FAILED', `the object store ${where} does not accept our credentials (${said})`, {
    remedy: 'correct accessKeyId and secretAccessKey of objectStore in the connection file, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
  })
  if (code === 'NoSuchBucket') return new HarrierError('NOT_FOUND', `there is no bucket ${bucket} in the object store ${where}`, { remedy: 'create it, or correct its name or the endpoint' })
  if (code === 'RequestTimeTooSkewed') return new HarrierError('STORE_REFUSED', `the object store ${where} finds our clock wrong (${said})`, { remedy: 'set the clock of this machine' })
  if (regionCodes.has(code) || status === 301) return new HarrierError('STORE_REFUSED', `bucket ${bucket} is not to be reached at ${where} with this region (${said})`, {
    remedy: 'set region of objectStore in the connection file, or AWS_REGION, to that of the bucket',
  })
  if (status === 401 || status === 403) return new HarrierError('NOT_AUTHORIZED', `the object store ${where} does not let us ${what} (${said})`, {
    remedy: 'give the user s3:ListBucket on the bucket, and s3:GetObject and s3:PutObject on its objects; docs/connections.md#an-object-store says which command needs which',
  })
  return new HarrierError('STORE_REFUSED', `the object store ${where} did not ${what} (${said})`)
}

/** An object of a listing. */
export interface ListedObject {
  readonly key: string
  readonly bytes: number
}

/** One page of ListObjectsV2. */
export interface ListedPage {
  readonly objects: readonly ListedObject[]
  /** Where the next page begins; undefined: this is the last. */
  readonly next: string | undefined
}

export function listedPage(text: string): ListedPage {
  const isEncoded = elementOf(text, 'EncodingType') === 'url'
  const plain = (value: string): string => (isEncoded ? decodeURIComponent(value.replaceAll('+', ' ')) : value)
  const objects = [...text.matchAll(/<Contents>([\s\S]*?)<\/Contents>/g)].map(([, entry]) => ({ key: plain(elementOf(entry!, 'Key') ?? ''), bytes: Number(elementOf(entry!, 'Size')) }))
  return { objects, next: elementOf(text, 'IsTruncated') === 'true' ? elementOf(text, 'NextContinuationToken') : undefined }
}

/** The text of the first element of that name. */
function elementOf(xml: string, name: string): string | undefined {
  const found = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
  return found?.replace(/&(?:(lt|gt|quot|apos|amp)|#(\d+)|#x([0-9a-fA-F]+));/g, (_, named?: string, decimal?: string, hex?: string) =>
    named === undefined ? String.fromCodePoint(decimal === undefined ? parseInt(hex!, 16) : Number(decimal)) : entities[named]!)
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: '\'', amp: '&' }
