/**
 * The error catalogue. Every error that a person can meet has a code, a consequence (what the engine does)
 * and a remedy (what the operator does). docs/errors.md is generated from this table and compared in a test.
 */
export type Consequence = 'retry' | 'dead-letter' | 'restart-task' | 'refuse' | 'fatal'

interface CatalogueEntry {
  readonly consequence: Consequence
  readonly summary: string
  readonly remedy: string
}

export const errorCatalogue = {
  USAGE: { consequence: 'fatal', summary: 'a command line option is wrong', remedy: 'see `harrier <command> --help`' },
  CONFIG_INVALID: { consequence: 'fatal', summary: 'a configuration value is wrong', remedy: 'correct the named setting' },
  PREREQUISITE_MISSING: { consequence: 'fatal', summary: 'a program that Harrier needs is not installed', remedy: 'install the named package' },
  STACK_FAILED: { consequence: 'fatal', summary: 'the local broker or registry did not start', remedy: 'read the named log file; `harrier stack down` and start again' },
  TOPOLOGY_INVALID: { consequence: 'fatal', summary: 'a topology file breaks its schema', remedy: 'correct the named path in the file; `harrier topology check` lists every problem' },
  SCHEMA_INVALID: { consequence: 'fatal', summary: 'a schema cannot serve the topology', remedy: 'correct the schema or the field mapping of the source' },
  REGISTRY_UNAVAILABLE: { consequence: 'retry', summary: 'the schema registry does not answer', remedy: 'start the registry or correct its URL; the engine waits meanwhile' },
  REGISTRY_REFUSED: { consequence: 'fatal', summary: 'the schema registry refused a request', remedy: 'read the cause: compatibility, credentials or subject' },
  BROKER_UNAVAILABLE: { consequence: 'retry', summary: 'no broker answers', remedy: 'start the broker, or correct --brokers or `brokers` of the connection file' },
  AUTHENTICATION_FAILED: { consequence: 'fatal', summary: 'a broker, the registry, the object store or a token endpoint does not accept who we are', remedy: 'correct the credentials in the connection file (docs/connections.md)' },
  PRIVACY_KEY_MISSING: { consequence: 'fatal', summary: 'a key of personal values or of dead letters is not at hand', remedy: 'name the file of keys with --privacy-keys (docs/privacy.md); `harrier privacy create` makes one' },
  TOKEN_UNAVAILABLE: { consequence: 'retry', summary: 'the token endpoint does not answer', remedy: 'start it, or correct tokenEndpoint of the connection file' },
  CERTIFICATE_REFUSED: { consequence: 'fatal', summary: 'a certificate, ours or the other side\'s, is expired, unknown or for another name', remedy: 'renew it, or correct tls.ca, tls.certificate and tls.key of the connection file' },
  NOT_AUTHORIZED: { consequence: 'fatal', summary: 'the broker or the object store does not allow our user to do this', remedy: '`harrier topology describe --acls` prints the rights that are needed' },
  STORE_UNAVAILABLE: { consequence: 'retry', summary: 'the object store does not answer', remedy: 'start it, or correct its endpoint (docs/connections.md); what is here already is used meanwhile' },
  STORE_REFUSED: { consequence: 'fatal', summary: 'the object store refused a request', remedy: 'read the cause: bucket, region or rights' },
  TOPIC_MISSING: { consequence: 'fatal', summary: 'a topic of the topology does not exist', remedy: 'create it, or run with --create-topics' },
  TOPIC_MISMATCH: { consequence: 'fatal', summary: 'a topic does not fit the topology', remedy: 'recreate the topic as the message says' },
  MANIFEST_INVALID: { consequence: 'fatal', summary: 'a model manifest breaks its schema', remedy: 'correct the named field of model.yaml' },
  MODEL_INVALID: { consequence: 'fatal', summary: 'a model file does not fit its manifest', remedy: 'export the model again or correct the manifest' },
  MODEL_NOT_FOUND: { consequence: 'fatal', summary: 'a model version is not there', remedy: '`harrier models list` shows what is there' },
  RELEASE_REFUSED: { consequence: 'fatal', summary: 'a release, a rollback or a registration would break a rule', remedy: '`harrier models show` says what is in force, and what was' },
  PACKAGE_REFUSED: { consequence: 'fatal', summary: 'an exported model version is not signed by who is trusted, or was altered', remedy: 'get it again from whoever exported it, or name their public key with --trust' },
  DEVICE_UNAVAILABLE: { consequence: 'fatal', summary: 'the wanted device cannot run this model', remedy: 'choose device: cpu or auto, or see `harrier doctor --gpu`' },
  MODEL_FAILED: { consequence: 'retry', summary: 'a model threw, timed out or gave a value that is not finite', remedy: 'events are scored by the fall-back of the topology; look at the model' },
  EVIDENCE_UNAVAILABLE: { consequence: 'fatal', summary: 'what would prove a score is not kept any more, or was changed', remedy: 'name an archive that has it (--archive), or a copy of one' },
  RECORD_UNDECODABLE: { consequence: 'dead-letter', summary: 'a record cannot be decoded', remedy: 'look at the dead-letter topic: `harrier tail <topology>.dlq`' },
  RECORD_INVALID: { consequence: 'dead-letter', summary: 'a record breaks the contract of its source', remedy: 'look at the dead-letter topic: `harrier tail <topology>.dlq`' },
  SCORE_PENDING: { consequence: 'retry', summary: 'a score that was asked for over HTTP has not come within its time', remedy: 'ask again with the same Idempotency-Key: the transaction is in the log, and is scored once' },
  TRANSACTION_ABORTED: { consequence: 'restart-task', summary: 'a Kafka transaction was aborted', remedy: 'none: the batch is processed again' },
  FENCED: { consequence: 'restart-task', summary: 'another instance took over this one\'s identity', remedy: 'give each instance its own --instance-id' },
  RESTORE_IMPOSSIBLE: { consequence: 'fatal', summary: 'state cannot be restored from the log', remedy: 'raise the retention of the input, or rebuild the state from what is there' },
  LAYOUT_CHANGED: { consequence: 'fatal', summary: 'the state on the log was written with another layout of windows and features', remedy: 'start a new state generation: raise `generation` of the stage, and fold its state with `harrier rebuild`' },
  REQUEST_INVALID: { consequence: 'refuse', summary: 'a request to the service cannot be understood', remedy: 'correct the named part of the request; /openapi.json describes each' },
  UNAUTHENTICATED: { consequence: 'refuse', summary: 'a request to the service has no key or token that is taken', remedy: 'send Authorization: Bearer with a key of `harrier keys create`, or with a token of the issuer' },
  FORBIDDEN: { consequence: 'refuse', summary: 'the key or token of a request does not allow it', remedy: 'ask whoever gives out keys for the role, the model or the topology' },
  QUOTA_EXCEEDED: { consequence: 'refuse', summary: 'a key has used up what it may', remedy: 'try again after the seconds of Retry-After, or ask for a larger quota' },
  OVERLOADED: { consequence: 'refuse', summary: 'the service has as much waiting as it may have, or a request has waited too long', remedy: 'try again after the seconds of Retry-After; for more: --serving-threads, or another instance' },
  NOT_FOUND: { consequence: 'fatal', summary: 'what was asked for is not where it was looked for', remedy: 'look at the name, or say where to look' },
  LIMIT_EXCEEDED: { consequence: 'fatal', summary: 'a named limit was exceeded', remedy: 'raise the named limit in the topology' },
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof errorCatalogue

export class HarrierError extends Error {
  override name = 'HarrierError'
  readonly code: ErrorCode
  readonly consequence: Consequence
  /** What to do about it; more particular than the catalogue's where `remedy` was given. */
  readonly remedy: string
  /** When it may be tried again, where that is known. */
  readonly retryAfterMs: number | undefined

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; remedy?: string; retryAfterMs?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.consequence = errorCatalogue[code].consequence
    this.remedy = options.remedy ?? errorCatalogue[code].remedy
    this.retryAfterMs = options.retryAfterMs
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
