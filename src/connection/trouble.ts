import { HarrierError } from '../base/errors.js'

/**
 * What is wrong with a connection, read from the words of librdkafka, kafkajs and Node.js: they have no codes in common,
 * and some of their errors have none at all. Undefined: nothing that another try could not mend.
 */
interface Sign {
  readonly pattern: RegExp
  readonly code: 'AUTHENTICATION_FAILED' | 'CERTIFICATE_REFUSED' | 'CONFIG_INVALID'
  readonly what: string
  readonly remedy: string
}

const signs: readonly Sign[] = [
  {
    pattern: /unsupported sasl mechanism|does not support the requested sasl mechanism|mechanism is not supported/i,
    code: 'AUTHENTICATION_FAILED',
    what: 'it does not know the SASL mechanism',
    remedy: 'set sasl.mechanism of the connection file to one that this listener has',
  },
  {
    pattern: /invalid_token|oauthbearer.*authentication failed/i,
    code: 'AUTHENTICATION_FAILED',
    what: 'it refused the token',
    remedy: 'compare issuer, audience, scope and expiry of the token with what the broker expects',
  },
  {
    pattern: /invalid credentials|invalid username or password|sasl authentication error|sasl .*authentication failed/i,
    code: 'AUTHENTICATION_FAILED',
    what: 'it refused user name or password',
    remedy: 'correct sasl.username and sasl.password of the connection file',
  },
  {
    pattern: /alert certificate expired|ALERT_CERTIFICATE_EXPIRED/i,
    code: 'CERTIFICATE_REFUSED',
    what: 'it says that our client certificate has expired',
    remedy: 'renew tls.certificate of the connection file',
  },
  {
    pattern: /alert (bad certificate|certificate (required|unknown|revoked)|unknown ca|unsupported certificate)|ALERT_(BAD_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA)|alert handshake failure/i,
    code: 'CERTIFICATE_REFUSED',
    what: 'it refused our client certificate, or wants one and got none',
    remedy: 'set tls.certificate and tls.key of the connection file to a pair that its authority has signed',
  },
  {
    pattern: /certificate has expired|CERT_HAS_EXPIRED/i,
    code: 'CERTIFICATE_REFUSED',
    what: 'its certificate has expired',
    remedy: 'renew the certificate of the server',
  },
  {
    pattern: /does not match certificate's altnames|ALTNAME_INVALID|hostname mismatch|IP address mismatch/i,
    code: 'CERTIFICATE_REFUSED',
    what: 'its certificate is for another host name',
    remedy: 'connect by a name that is in the certificate; tls.verifyHostname: false gives up this protection',
  },
  {
    // librdkafka does not say which.
    pattern: /certificate verify failed|could not be verified/i,
    code: 'CERTIFICATE_REFUSED',
    what: 'its certificate cannot be verified: its authority is not in tls.ca, it has expired, or it is for another host name',
    remedy: 'set tls.ca of the connection file to the certificate of its authority; `harrier doctor --connection` tells which of them it is',
  },
  {
    pattern: /unable to (verify|get)|self.signed certificate|UNABLE_TO_|SELF_SIGNED|unknown authority/i,
    code: 'CERTIFICATE_REFUSED',
    what: 'its certificate is not signed by an authority that we trust',
    remedy: 'set tls.ca of the connection file to the certificate of its authority',
  },
  {
    pattern: /PLAINTEXT broker listener|before secure TLS connection|wrong version number|packet length too long|http request/i,
    code: 'CONFIG_INVALID',
    what: 'it does not speak TLS there',
    remedy: 'connect to its TLS listener, or leave tls out of the connection file',
  },
]

/** The error for a connection that no further try will mend, or undefined. `whom`: "the broker 10.0.0.1:9093". */
export function lastingTrouble(whom: string, said: string, cause?: unknown): HarrierError | undefined {
  const sign = signs.find(({ pattern }) => pattern.test(said))
  if (!sign) return undefined
  return new HarrierError(sign.code, `${whom} cannot be used: ${sign.what} (${withoutNoise(said)})`, { remedy: sign.remedy, ...(cause === undefined ? {} : { cause }) })
}

/**
 * What to do where a listener may want TLS and we speak without: it closes the connection and says nothing, and not every client
 * tells even that.
 */
export function tlsRemedy(said: string, encrypted: boolean): { remedy?: string } {
  if (encrypted || !/^$|^Closed connection$|\bDisconnected\b|transport failure/.test(said)) return {}
  return { remedy: 'start the broker or correct its address; if it is there, this listener may want TLS: give a connection file with tls (docs/connections.md)' }
}

/** Without thread names, file names of OpenSSL and line ends. */
export function withoutNoise(said: string): string {
  return said
    .replace(/\s+/g, ' ')
    .replace(/^\[thrd:[^\]]*\]: /, '')
    .replace(/^\w+:\/\/\S+\/(bootstrap|\d+): /, '')
    .replace(/ \(after \d+ms in state (?:[^()]|\([^)]*\))*\)/g, '')
    .replace(/[0-9A-F]{8,}:(error:[0-9A-F]+:[^:]*:[^:]*:[^:]*):\S+\.c:\d+:/g, '$1: ')
    .trim()
}
