import { join } from 'node:path'
import { makeCertificate } from './certificates.js'
import { RegistryGuard } from './registry-guard.js'
import { openKafka, startSecureStack, users, type SecureStack } from './secure-stack.js'
import { TestIssuer } from './test-issuer.js'

export const registryPassword = 'gyrfalcon-2e6d'
const fixedToken = 'hobby-8c3f'

/** Every secret of the fixture; none of them may ever be printed. */
export const secretsOf = (issuer: TestIssuer): string[] => [...Object.values(users), registryPassword, fixedToken, issuer.clientSecret, 'peregrine-key']

/** What the connection files name by variable. */
export const secretEnv = { KAFKA_PASSWORD: users.harrier, OPERATOR_PASSWORD: users.operator, REGISTRY_PASSWORD: registryPassword } as const

/** A secured cluster with an authenticating registry and an issuer, and connection files for each way to connect. */
export class SecureFixture {
  readonly issuer: TestIssuer
  readonly guards: Record<'basic' | 'bearer' | 'mtls', RegistryGuard>
  readonly #stack: SecureStack

  /** `registry: false`: the guards stand before nothing; only what they refuse can be tried. */
  static async start({ registry = true } = {}): Promise<SecureFixture> {
    const issuer = new TestIssuer()
    await issuer.start()
    const stack = await startSecureStack({ jwksUrl: `${issuer.url}/jwks`, registry })
    const fixture = new SecureFixture(stack, issuer)
    await Promise.all(Object.values(fixture.guards).map((guard) => guard.start()))
    return fixture
  }

  private constructor(stack: SecureStack, issuer: TestIssuer) {
    this.#stack = stack
    this.issuer = issuer
    const { authority } = stack
    const server = makeCertificate({ commonName: 'registry', issuer: authority })
    const behind = { target: stack.registryUrl === '' ? 'http://127.0.0.1:1/' : stack.registryUrl, server, authority }
    const basic = `Basic ${Buffer.from(`harrier:${registryPassword}`).toString('base64')}`
    this.guards = {
      basic: new RegistryGuard({ ...behind, authorization: () => [basic] }),
      bearer: new RegistryGuard({ ...behind, authorization: () => [`Bearer ${fixedToken}`] }),
      mtls: new RegistryGuard(behind),
    }
    const client = makeCertificate({ commonName: 'harrier', issuer: authority, keyPassword: 'peregrine-key' })
    this.write('client.pem', client.certificate)
    this.write('client.key', client.key)
    this.write('key-password', 'peregrine-key\n')
    this.write('registry-token', `${fixedToken}\n`)
    this.write('client-secret', `${issuer.clientSecret}\n`)
  }

  get stack(): SecureStack {
    return this.#stack
  }

  get open(): { brokers: string; registryUrl: string } {
    return { brokers: this.#stack.openBrokers, registryUrl: this.#stack.registryUrl }
  }

  kafka(): ReturnType<typeof openKafka> {
    return openKafka(this.#stack)
  }

  write(name: string, text: string): string {
    return this.#stack.write(name, text)
  }

  /** A connection file: the brokers with this part, and the registry. */
  connection(name: string, kafka: string, registry: string = this.registry('basic')): string {
    return this.write(`${name}.yaml`, `${kafka.trim()}\n${registry.trim()}\n`)
  }

  registry(way: 'basic' | 'bearer' | 'mtls'): string {
    const how = {
      basic: 'auth: basic\n  username: harrier\n  password: ${REGISTRY_PASSWORD}',
      bearer: 'auth: bearer\n  token: file:registry-token',
      mtls: '',
    }
    const certificate = way === 'mtls' ? ', certificate: client.pem, key: client.key, keyPassword: file:key-password' : ''
    return `registry:\n  url: ${this.guards[way].url}\n  tls: { ca: ca.pem${certificate} }\n  ${how[way]}`
  }

  /** The SASL listener with a login, as text of a connection file. */
  sasl(login: string): string {
    return `brokers: ${this.#stack.saslBrokers}\ntls: { ca: ca.pem }\nsasl: { ${login} }`
  }

  /** Each way to be the same user, harrier. */
  ways(): Record<'plain' | 'scram' | 'oauth' | 'token-file' | 'mtls', string> {
    const password = 'username: harrier, password: "${KAFKA_PASSWORD}"'
    this.write('token', `${this.issuer.token('harrier')}\n`)
    return {
      plain: this.connection('plain', this.sasl(`mechanism: PLAIN, ${password}`), this.registry('bearer')),
      scram: this.connection('scram', this.sasl(`mechanism: SCRAM-SHA-512, ${password}`)),
      oauth: this.connection('oauth', this.sasl(`mechanism: OAUTHBEARER, tokenEndpoint: "${this.issuer.url}/token", clientId: ${this.issuer.clientId}, clientSecret: "file:client-secret"`)),
      'token-file': this.connection('token-file', this.sasl('mechanism: OAUTHBEARER, tokenFile: token')),
      mtls: this.connection('mtls', `brokers: ${this.#stack.mtlsBrokers}\ntls: { ca: ca.pem, certificate: client.pem, key: client.key, keyPassword: "file:key-password" }`, this.registry('mtls')),
    }
  }

  path(name: string): string {
    return join(this.#stack.folder, name)
  }

  async stop(): Promise<void> {
    await Promise.all(Object.values(this.guards).map((guard) => guard.stop()))
    await this.issuer.stop()
    await this.#stack.stop()
  }
}
