import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { LocalStack } from '../../src/stack/local-stack.js'
import { freePort } from '../../src/stack/ports.js'
import { makeCertificate, type Certificate } from './certificates.js'

/** Users of the broker, as SASL knows them. What they may do is up to ACLs: nothing, to begin with. */
export const users = { harrier: 'kestrel-7f3a', operator: 'merlin-9c1e' } as const

export interface SecureStack {
  readonly folder: string
  /** The open listener: whoever comes there may do everything. For the test itself. */
  readonly openBrokers: string
  readonly saslBrokers: string
  /** Demands a client certificate; its principal is the common name. */
  readonly mtlsBrokers: string
  readonly registryUrl: string
  readonly authority: Certificate
  /** Writes a file for a connection and returns its path. */
  write(name: string, text: string): string
  stop(): Promise<void>
}

/**
 * A broker with StandardAuthorizer: SASL_SSL (PLAIN, SCRAM-SHA-512, OAUTHBEARER), SSL with client certificates, and an
 * open listener for the test. OAUTHBEARER tokens are checked against `jwksUrl`. The registry behind it is open.
 */
export async function startSecureStack({ jwksUrl, registry = true }: { jwksUrl: string; registry?: boolean }): Promise<SecureStack> {
  const folder = mkdtempSync(join(tmpdir(), 'harrier-secure-'))
  const write = (name: string, text: string): string => {
    const path = join(folder, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }
  const authority = makeCertificate({ commonName: 'Test Authority' })
  const server = makeCertificate({ commonName: 'broker', issuer: authority })
  write('ca.pem', authority.certificate)
  const base = 20_000 + (process.pid % 4_000) * 3
  const sasl = await freePort(base)
  const mtls = await freePort(sasl + 1)
  const jaas = (line: string): string => `org.apache.kafka.common.security.${line} required`
  const plainUsers = Object.entries(users).map(([name, password]) => `user_${name}="${password}"`).join(' ')
  const stack = new LocalStack({
    stateDir: mkdtempSync(join(tmpdir(), 'harrier-test-')),
    ephemeral: true,
    registry,
    broker: {
      listeners: { SASL: { port: sasl, protocol: 'SASL_SSL' }, MTLS: { port: mtls, protocol: 'SSL' } },
      settings: {
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': 'User:ANONYMOUS',
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': write('broker.pem', server.key + server.certificate),
        'ssl.truststore.type': 'PEM',
        'ssl.truststore.location': write('trust.pem', authority.certificate),
        'listener.name.mtls.ssl.client.auth': 'required',
        'ssl.principal.mapping.rules': 'RULE:^CN=(.*?)$/$1/,DEFAULT',
        // Each connection must say anew who it is, as clusters with tokens demand; the test runs through several times of it.
        'connections.max.reauth.ms': 4000,
        'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-512,OAUTHBEARER',
        'listener.name.sasl.plain.sasl.jaas.config': `${jaas('plain.PlainLoginModule')} ${plainUsers};`,
        'listener.name.sasl.scram-sha-512.sasl.jaas.config': `${jaas('scram.ScramLoginModule')};`,
        'listener.name.sasl.oauthbearer.sasl.jaas.config': `${jaas('oauthbearer.OAuthBearerLoginModule')};`,
        'listener.name.sasl.oauthbearer.sasl.server.callback.handler.class': 'org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler',
        'listener.name.sasl.oauthbearer.sasl.oauthbearer.jwks.endpoint.url': jwksUrl,
        'listener.name.sasl.oauthbearer.sasl.oauthbearer.expected.audience': 'kafka',
      },
      formatArguments: Object.entries(users).flatMap(([name, password]) => ['--add-scram', `SCRAM-SHA-512=[name=${name},iterations=4096,password=${password}]`]),
      jvmOptions: [`-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=${jwksUrl}`],
    },
  })
  try {
    const { brokers, registryUrl } = await stack.up()
    return {
      folder,
      openBrokers: brokers,
      saslBrokers: `127.0.0.1:${sasl}`,
      mtlsBrokers: `127.0.0.1:${mtls}`,
      registryUrl: registry ? registryUrl : '',
      authority,
      write,
      stop: async () => {
        await stack.down()
        rmSync(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await stack.down()
    throw error
  }
}

/** A kafkajs client that may do everything. */
export function openKafka({ openBrokers }: Pick<SecureStack, 'openBrokers'>): Kafka {
  return new Kafka({ clientId: 'test', brokers: openBrokers.split(','), logLevel: logLevel.NOTHING })
}
