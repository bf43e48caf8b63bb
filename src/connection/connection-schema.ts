import { z } from 'zod'
import { durationSchema } from '../base/durations.js'

/** How long clients wait for the first answer of a broker when nothing else is said. */
export const connectMsMaxDefault = 30_000

/** Settings that hold a secret: a reference to where it is, never the secret itself. */
export const secretSettings: ReadonlySet<string> = new Set(['password', 'keyPassword', 'clientSecret', 'token', 'secretAccessKey', 'sessionToken'])

const secret = z.string().regex(/^(\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:.+)$/, 'a secret is not written out here: name a variable, ${NAME}, or a file, file:PATH')
const brokers = z.string().regex(/^\s*(\[[0-9a-fA-F:]+\]|[^\s:/,@]+):\d{1,5}(\s*,\s*(\[[0-9a-fA-F:]+\]|[^\s:/,@]+):\d{1,5})*\s*$/, 'host:port, several separated by commas')
const url = z.string().regex(/^https?:\/\/[^@\s]+$/, 'an http or https URL without user name and password')
const path = z.string().min(1)

const tlsSchema = z.strictObject({
  ca: path.optional().describe('PEM file of the authorities that sign the server\'s certificate. Default: the public ones that Node.js brings.'),
  certificate: path.optional().describe('PEM file of our certificate and the chain above it, where the server demands one (mutual TLS).'),
  key: path.optional().describe('PEM file of its private key.'),
  keyPassword: secret.optional().describe('Password of the key, if it is encrypted.'),
  verifyHostname: z.boolean().default(true).describe('Whether the server\'s certificate must be for the name by which we connect.'),
})
  .check(({ value, issues }) => {
    if ((value.certificate === undefined) !== (value.key === undefined)) issues.push({ code: 'custom', input: undefined, message: 'certificate and key go together' })
  })

/** The settings of an OAuth client, for brokers and registry alike. */
const tokenSettings = {
  tokenEndpoint: url.optional().describe('OAuth 2.0 token endpoint; tokens come by client credentials and are replaced at 80 % of their life.'),
  clientId: z.string().min(1).optional().describe('The client at the token endpoint.'),
  clientSecret: secret.optional().describe('Its secret.'),
  scope: z.string().min(1).optional().describe('The scope to ask for.'),
  tokenCa: path.optional().describe('PEM file of the token endpoint\'s authorities. Default: the public ones.'),
  tokenFile: path.optional().describe('Instead of an endpoint: a file with a token that somebody else keeps fresh. It is read again at least once a minute.'),
}

interface TokenSettings {
  tokenEndpoint?: string | undefined
  clientId?: string | undefined
  clientSecret?: string | undefined
  scope?: string | undefined
  tokenCa?: string | undefined
  tokenFile?: string | undefined
}

const saslSchema = z.strictObject({
  mechanism: z.enum(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER']).describe('As the listener of the brokers has it.'),
  username: z.string().min(1).optional().describe('For PLAIN and SCRAM.'),
  password: secret.optional().describe('For PLAIN and SCRAM.'),
  ...tokenSettings,
  withoutTls: z.boolean().default(false).describe('Allows PLAIN and OAUTHBEARER without `tls`, where anybody on the way can read the secret.'),
})
  .check(({ value, issues }) => {
    const problem = value.mechanism === 'OAUTHBEARER' ? tokenProblem(value) : value.username === undefined || value.password === undefined ? `${value.mechanism} needs username and password` : undefined
    if (problem !== undefined) issues.push({ code: 'custom', input: undefined, message: problem })
  })

const registrySchema = z.strictObject({
  url: url.describe('Base of the registry\'s Confluent-compatible API.'),
  tls: tlsSchema.optional().describe('TLS of the registry. Default for https: its certificate is checked against the public authorities.'),
  auth: z.enum(['none', 'basic', 'bearer']).default('none').describe('How requests say who asks. A client certificate alone needs none.'),
  username: z.string().min(1).optional().describe('For basic.'),
  password: secret.optional().describe('For basic.'),
  token: secret.optional().describe('For bearer: a token that stays as it is. Else an endpoint or a file as below.'),
  ...tokenSettings,
})
  .check(({ value, issues }) => {
    const basic = value.auth === 'basic' && (value.username === undefined || value.password === undefined) ? 'basic needs username and password' : undefined
    const problem = value.auth === 'bearer' && value.token === undefined ? tokenProblem(value) : basic
    if (problem !== undefined) issues.push({ code: 'custom', input: undefined, message: problem })
  })

function tokenProblem({ tokenFile, tokenEndpoint, clientId, clientSecret }: TokenSettings): string | undefined {
  if ((tokenFile === undefined) === (tokenEndpoint === undefined)) return 'a token comes from tokenEndpoint or from tokenFile: give one of them'
  return tokenEndpoint !== undefined && (clientId === undefined || clientSecret === undefined) ? 'tokenEndpoint needs clientId and clientSecret' : undefined
}

const objectStoreSchema = z.strictObject({
  endpoint: url.optional().describe('Base of the S3 API of a store that is not Amazon\'s. Default: Amazon S3 of the region.'),
  region: z.string().regex(/^[a-z0-9-]+$/, 'a region such as eu-central-1').optional().describe('What requests are signed for. Default where an endpoint is given: `us-east-1`.'),
  accessKeyId: z.string().min(1).optional().describe('Whose requests they are. Default: `AWS_ACCESS_KEY_ID` with its `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.'),
  secretAccessKey: secret.optional().describe('Its secret. A file is read again for each request, so a renewed one needs no restart.'),
  sessionToken: secret.optional().describe('Of temporary credentials.'),
  pathStyle: z.boolean().optional().describe('Whether the bucket is in the path of an address, and not in its host name. Default: it is where an endpoint is given.'),
  tls: tlsSchema.optional().describe('TLS of the store. Default for https: its certificate is checked against the public authorities.'),
})
  .check(({ value, issues }) => {
    const { endpoint, region, accessKeyId, secretAccessKey, sessionToken } = value
    const problem = (accessKeyId === undefined) !== (secretAccessKey === undefined) ? 'accessKeyId and secretAccessKey go together'
      : sessionToken !== undefined && accessKeyId === undefined ? 'sessionToken goes with accessKeyId and secretAccessKey'
        : endpoint === undefined && region === undefined ? 'give region, or endpoint where the store is not Amazon\'s' : undefined
    if (problem !== undefined) issues.push({ code: 'custom', input: undefined, message: problem })
  })

/** The connection file. Its descriptions are printed into docs/connections.md. */
export const connectionSchema = z.strictObject({
  brokers: brokers.describe('Addresses of some brokers; the others are found through them.'),
  tls: tlsSchema.optional().describe('TLS to the brokers; `tls: {}` for public authorities and no certificate of ours. Without it the connection is open.'),
  sasl: saslSchema.optional().describe('Who we are to the brokers, where they ask for more than a certificate.'),
  connectTimeout: durationSchema.default(connectMsMaxDefault).describe('How long the first answer of a broker is waited for.'),
  registry: registrySchema.describe('The schema registry.'),
  objectStore: objectStoreSchema.optional().describe('Where `s3://` leads. Default: what the `AWS_` variables say.'),
})
  .check(({ value: { sasl, tls }, issues }) => {
    if (sasl && !tls && !sasl.withoutTls && (sasl.mechanism === 'PLAIN' || sasl.mechanism === 'OAUTHBEARER')) {
      issues.push({ code: 'custom', input: undefined, path: ['sasl'], message: `${sasl.mechanism} sends a secret that is open without tls; withoutTls: true allows it` })
    }
  })

export type ConnectionSpec = z.infer<typeof connectionSchema>
export type ObjectStoreSpec = z.infer<typeof objectStoreSchema>
export type TlsSpec = z.infer<typeof tlsSchema>
export type TokenSpec = TokenSettings
