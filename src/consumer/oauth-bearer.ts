import type { Mechanism } from 'kafkajs'
import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { TokenSource } from '../connection/token-source.js'

/** What takes a token. */
export interface TokenClient {
  setOauthBearerToken(token: string): void
}

export const tokenKeeperLimits = {
  /** How often a client looks whether its token must be replaced. */
  checkIntervalMs: 1000,
  /** After a failure the source is asked again so much later. */
  retryMs: 5000,
} as const

/**
 * Gives a client of librdkafka its token, before it connects, and a new one whenever its source has one; until the
 * returned function is called. Errors of the first token: AUTHENTICATION_FAILED; later ones are logged and tried again.
 */
export async function keepToken(client: TokenClient, tokens: TokenSource, { clock, logger }: { clock: Clock; logger: Logger }): Promise<() => void> {
  const give = async (): Promise<number> => {
    const { value, refreshAtMs } = await tokens.token()
    client.setOauthBearerToken(value.reveal())
    return refreshAtMs
  }
  let nextMs = await give()
  let giving = false
  return clock.every(tokenKeeperLimits.checkIntervalMs, () => {
    if (giving || clock.nowMs() < nextMs) return
    giving = true
    give()
      .then((refreshAtMs) => (nextMs = refreshAtMs))
      .catch((error: unknown) => {
        nextMs = clock.nowMs() + tokenKeeperLimits.retryMs
        logger.log('warn', 'the token for Kafka could not be refreshed; it is tried again', { cause: messageOf(error) })
      })
      .finally(() => (giving = false))
  })
}

/**
 * SASL OAUTHBEARER for kafkajs (RFC 7628). Its own takes the broker's refusal for success: a broker says no in a first
 * answer that is not empty, and tells why only after the client has acknowledged that.
 */
export function oauthBearer(tokens: TokenSource): Mechanism {
  // In front of the bytes stands their length.
  const refusal = { decode: (bytes: Buffer): Buffer => bytes.subarray(4), parse: (bytes: Buffer): string => bytes.toString() }
  const say = (text: string): { encode: () => Buffer } => ({ encode: () => withLength(Buffer.from(text)) })
  return {
    mechanism: 'oauthbearer',
    authenticationProvider: ({ saslAuthenticate }) => ({
      authenticate: async () => {
        const { value } = await tokens.token()
        const answer = await saslAuthenticate({ request: say(`n,,\x01auth=Bearer ${value.reveal()}\x01\x01`), response: refusal })
        if (answer === undefined || answer === '') return
        tokens.forget()
        // The broker answers this with its error; should it not, the refusal stands all the same.
        await saslAuthenticate({ request: say('\x01'), response: refusal })
        throw new Error(`SASL OAUTHBEARER authentication failed: ${answer}`)
      },
    }),
  }
}

/** kafkajs hands the bytes on as they are; on the wire they have their length in front. */
function withLength(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
