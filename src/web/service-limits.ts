/** What one HTTP service takes. Whatever comes beyond is refused, and nothing waits without an end. */
export interface ServiceLimits {
  /** Bytes of a request's body. */
  readonly bodyBytesMax: number
  /** Bytes of all headers of a request. */
  readonly headerBytesMax: number
  readonly headersMax: number
  /** Bytes of path and query. */
  readonly urlBytesMax: number
  /** Time until all headers of a request have come. */
  readonly headerMsMax: number
  /** Time until the whole request has come. */
  readonly requestMsMax: number
  /** A connection without a request is closed after so long. */
  readonly keepAliveMsMax: number
  /** A connection that is silent in the middle of something is closed after so long. */
  readonly silentMsMax: number
  readonly connectionsMax: number
  /** Time for the handshake of TLS. */
  readonly handshakeMsMax: number
  /** How often connections are looked at for the times above. */
  readonly checkMs: number
  /** Levels of brackets in a JSON body. */
  readonly jsonDepthMax: number
  /** Bytes of one path parameter. */
  readonly parameterBytesMax: number
  /** From the wish to stop until connections are cut. */
  readonly closeMsMax: number
}

export const serviceLimits: ServiceLimits = {
  bodyBytesMax: 8 << 20,
  headerBytesMax: 16 << 10,
  headersMax: 100,
  urlBytesMax: 4096,
  headerMsMax: 10_000,
  requestMsMax: 30_000,
  keepAliveMsMax: 72_000,
  silentMsMax: 60_000,
  connectionsMax: 4096,
  handshakeMsMax: 10_000,
  checkMs: 2000,
  jsonDepthMax: 16,
  parameterBytesMax: 200,
  closeMsMax: 3000,
}
