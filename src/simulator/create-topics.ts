import type { Clock } from '../base/clock.js'
import type { ClusterConnection } from '../connection/security.js'
import { KafkaAdmin } from '../consumer/admin.js'

/** Creates the topics that are not there yet, with the broker's default replication; the others stay as they are. */
export async function createMissingTopics({ brokers, security, connectMsMax }: Omit<ClusterConnection, 'registryUrl'>, topics: readonly string[], partitions: number, clock: Clock): Promise<string[]> {
  const admin = new KafkaAdmin({ brokers, security, clock, ...(connectMsMax === undefined ? {} : { limits: { connectMsMax } }) })
  await admin.start()
  try {
    const there = await admin.partitionCounts(topics)
    const missing = topics.filter((topic) => !there.has(topic))
    if (missing.length > 0) await admin.ensureTopics(missing.map((topic) => ({ topic, partitions })), { create: true })
    return missing
  } finally {
    await admin.close()
  }
}
