import { rootCertificates } from 'node:tls'
import type { KafkaConfig, SASLOptions } from 'kafkajs'
import { HarrierError } from '../base/errors.js'
import type { KafkaLogin, KafkaSecurity } from '../connection/security.js'
import { nodeTls } from '../connection/http-client.js'
import { oauthBearer } from './oauth-bearer.js'
import { requireNative } from './native-binding.js'

/** What librdkafka can do here; its TLS depends on headers that were there when `npm ci` compiled it. */
export function librdkafkaFeatures(): string[] {
  return requireNative().features.split(',')
}

/** What a connection needs, and these features lack. */
function missingFeatures({ tls, login }: KafkaSecurity, features: readonly string[]): string[] {
  const wanted = [...(tls ? ['ssl'] : []), ...(login ? [featureOf[login.mechanism]] : [])]
  return wanted.filter((feature) => !features.includes(feature))
}

const featureOf: Record<KafkaLogin['mechanism'], string> = {
  PLAIN: 'sasl_plain',
  'SCRAM-SHA-256': 'sasl_scram',
  'SCRAM-SHA-512': 'sasl_scram',
  OAUTHBEARER: 'sasl_oauthbearer',
}

/** How a build without TLS gets it. */
export const rebuildRemedy = 'apt-get install libssl-dev (macOS: brew install openssl), then npm rebuild node-rdkafka, which compiles librdkafka anew'

/** @throws HarrierError PREREQUISITE_MISSING when the build lacks what the connection needs. */
export function requireFeatures(security: KafkaSecurity, features?: readonly string[]): void {
  if (security.tls === undefined && security.login === undefined) return
  const missing = missingFeatures(security, features ?? librdkafkaFeatures())
  if (missing.length === 0) return
  throw new HarrierError('PREREQUISITE_MISSING', `librdkafka was compiled without ${missing.join(' and ')}, which this connection needs`, { remedy: rebuildRemedy })
}

/** The settings of librdkafka for a connection. Tokens are no setting: see `keepToken`. */
export function librdkafkaSecurity(security: KafkaSecurity = {}): Record<string, string> {
  requireFeatures(security)
  const { tls, login } = security
  const settings: Record<string, string> = {}
  if (tls || login) settings['security.protocol'] = `${login ? 'sasl_' : ''}${tls ? 'ssl' : 'plaintext'}`
  if (tls) {
    // The same authorities as for the admin client and the registry, wherever OpenSSL would look for its own.
    settings['ssl.ca.pem'] = tls.ca ?? rootCertificates.join('\n')
    if (tls.certificate !== undefined) settings['ssl.certificate.pem'] = tls.certificate
    if (tls.key !== undefined) settings['ssl.key.pem'] = tls.key.reveal()
    if (tls.keyPassword !== undefined) settings['ssl.key.password'] = tls.keyPassword.reveal()
    settings['ssl.endpoint.identification.algorithm'] = tls.verifyHostname ? 'https' : 'none'
  }
  if (login) {
    settings['sasl.mechanisms'] = login.mechanism
    if (login.mechanism !== 'OAUTHBEARER') {
      settings['sasl.username'] = login.username
      settings['sasl.password'] = login.password.reveal()
    }
  }
  return settings
}

/** The same for kafkajs. */
export function kafkaJsSecurity({ tls, login }: KafkaSecurity = {}): Pick<KafkaConfig, 'ssl' | 'sasl' | 'reauthenticationThreshold'> {
  return { ...(tls ? { ssl: nodeTls(tls) } : {}), ...(login ? { sasl: kafkaJsLogin(login), reauthenticationThreshold: reauthenticationMs } : {}) }
}

/**
 * So long before a session ends kafkajs shows anew who it is. Brokers refuse that within a second of the last time, which
 * its default of 10 s would do for each request of a session that is shorter.
 */
const reauthenticationMs = 2000

function kafkaJsLogin(login: KafkaLogin): NonNullable<KafkaConfig['sasl']> {
  if (login.mechanism === 'OAUTHBEARER') return oauthBearer(login.tokens)
  return { mechanism: login.mechanism.toLowerCase(), username: login.username, password: login.password.reveal() } as SASLOptions
}
