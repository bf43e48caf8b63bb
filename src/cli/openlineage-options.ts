import type { Command } from 'commander'
import { HarrierError } from '../base/errors.js'
import { Secret } from '../connection/secret.js'
import type { OpenLineageOptions } from '../topology/open-run-lineage.js'

export interface LineageOptions {
  openlineageUrl?: string
  openlineageTopic?: string
}

/** As the OpenLineage clients have it. */
const endpointDefault = 'api/v1/lineage'
const jobNamespaceDefault = 'default'

export function addLineageOptions(command: Command): Command {
  return command
    .option('--openlineage-url <url>', 'tell a collector of OpenLineage events which models score (default: $OPENLINEAGE_URL)')
    .option('--openlineage-topic <topic>', 'write OpenLineage events to a topic of the cluster (default: $HARRIER_OPENLINEAGE_TOPIC)')
}

/** The options, and the environment variables of the OpenLineage clients; undefined: nobody is to be told. Errors: CONFIG_INVALID. */
export function lineageOptions({ openlineageUrl, openlineageTopic }: LineageOptions, env: NodeJS.ProcessEnv = process.env): OpenLineageOptions | undefined {
  const base = openlineageUrl ?? (env.OPENLINEAGE_URL || undefined)
  const topic = openlineageTopic ?? (env.HARRIER_OPENLINEAGE_TOPIC || undefined)
  if (/^true$/i.test(env.OPENLINEAGE_DISABLED ?? '') || (base === undefined && topic === undefined)) return undefined
  const apiKey = env.OPENLINEAGE_API_KEY
  return {
    url: base === undefined ? undefined : endpointOf(base, env.OPENLINEAGE_ENDPOINT || endpointDefault),
    apiKey: apiKey ? new Secret(apiKey) : undefined,
    topic,
    jobNamespace: env.OPENLINEAGE_NAMESPACE || jobNamespaceDefault,
  }
}

function endpointOf(base: string, endpoint: string): string {
  const url = URL.canParse(base) ? new URL(base) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new HarrierError('CONFIG_INVALID', 'the address of the OpenLineage collector is no http or https URL', { remedy: 'write for example http://localhost:5000 into --openlineage-url or OPENLINEAGE_URL' })
  }
  if (url.username !== '' || url.password !== '') {
    throw new HarrierError('CONFIG_INVALID', `the URL of the OpenLineage collector at ${url.host} has credentials in it, where process lists show them`, { remedy: 'put a key into OPENLINEAGE_API_KEY' })
  }
  return `${base.replace(/\/+$/, '')}/${endpoint.replace(/^\/+/, '')}`
}
