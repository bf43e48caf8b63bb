import type { Clock } from '../base/clock.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { withAdmin } from '../consumer/admin.js'

/** Creates the topics that are not there yet, with the broker's default replication; the others stay as they are. */
export async function createMissingTopics({ brokers, security, connectMsMax }: Omit<ClusterConnection, 'registryUrl'>, topics: readonly string[], partitions: number, clock: Clock): Promise<string[]> {
  return withAdmin({ brokers, security, clock, ...connectLimits({ connectMsMax }) }, async (admin) => {
    const there = await admin.partitionCounts(topics)
    const missing = topics.filter((topic) => !there.has(topic))
    if (missing.length > 0) await admin.ensureTopics(missing.map((topic) => ({ topic, partitions })), { create: true })
    return missing
  })
}
