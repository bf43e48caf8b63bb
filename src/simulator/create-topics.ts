import { Kafka as KafkaJs, logLevel } from 'kafkajs'
import { HarrierError, messageOf } from '../base/errors.js'

const adminLimits = { connectMsMax: 10_000, requestMsMax: 30_000, retriesMax: 5 } as const

/** Creates the topics that are not there yet, with the broker's default replication; the others stay as they are. */
export async function createMissingTopics(brokers: string, topics: readonly string[], partitions: number): Promise<string[]> {
  const kafka = new KafkaJs({
    clientId: 'harrier-simulator',
    brokers: brokers.split(','),
    logLevel: logLevel.NOTHING,
    connectionTimeout: adminLimits.connectMsMax,
    requestTimeout: adminLimits.requestMsMax,
    retry: { retries: adminLimits.retriesMax },
  })
  const admin = kafka.admin()
  try {
    await admin.connect()
    const there = new Set(await admin.listTopics())
    const missing = topics.filter((topic) => !there.has(topic))
    if (missing.length > 0) await admin.createTopics({ topics: missing.map((topic) => ({ topic, numPartitions: partitions })), waitForLeaders: true })
    return missing
  } catch (error) {
    throw new HarrierError('BROKER_UNAVAILABLE', `creating topics at ${brokers} failed: ${messageOf(error)}`, { cause: error })
  } finally {
    await admin.disconnect()
  }
}
