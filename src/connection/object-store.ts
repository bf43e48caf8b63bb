import { HarrierError } from '../base/errors.js'
import { Secret } from './secret.js'
import type { ObjectStoreAccess, ObjectStoreCredentials } from './security.js'

type Environment = Readonly<Record<string, string | undefined>>

/** What requests to a store that is not Amazon's are signed for where nothing else is said. */
export const regionDefault = 'us-east-1'

const remedy = 'docs/connections.md#an-object-store says where they come from'

/** The object store of the variables that every S3 client reads. Credentials are looked for when the first request needs them. Errors: CONFIG_INVALID. */
export function environmentObjectStore(env: Environment): ObjectStoreAccess {
  const [endpointName, endpoint] = firstOf(env, 'AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL')
  if (endpoint !== undefined && !/^https?:\/\/[^@\s]+$/.test(endpoint)) throw new HarrierError('CONFIG_INVALID', `${endpointName} is no http or https URL without user name and password`, { remedy: 'write for example https://minio:9000' })
  const [, given] = firstOf(env, 'AWS_REGION', 'AWS_DEFAULT_REGION')
  const region = given ?? (endpoint === undefined ? undefined : regionDefault)
  if (region === undefined) {
    throw new HarrierError('CONFIG_INVALID', 'neither a region of Amazon S3 nor another object store is named', { remedy: 'set AWS_REGION, or AWS_ENDPOINT_URL_S3, or objectStore of the connection file (docs/connections.md)' })
  }
  return { endpoint: endpoint?.replace(/\/+$/, ''), region, pathStyle: endpoint !== undefined, credentials: () => environmentCredentials(env) }
}

/** Errors: CONFIG_INVALID. */
export function environmentCredentials(env: Environment): ObjectStoreCredentials {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = env
  if (!accessKeyId || !secretAccessKey) {
    throw new HarrierError('CONFIG_INVALID', `there are no credentials for the object store: ${accessKeyId ? 'AWS_SECRET_ACCESS_KEY' : 'AWS_ACCESS_KEY_ID'} is not set, and no connection file has them`, { remedy })
  }
  return { accessKeyId, secretAccessKey: new Secret(secretAccessKey), sessionToken: sessionToken ? new Secret(sessionToken) : undefined }
}

/** The first of the variables that is set, and its value. */
function firstOf(env: Environment, ...names: readonly string[]): [string, string | undefined] {
  const name = names.find((each) => env[each]) ?? names[0]!
  return [name, env[name] || undefined]
}
