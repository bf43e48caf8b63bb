import { AssignerProtocol, Kafka, logLevel, type Admin, type KafkaConfig } from 'kafkajs'
import type { Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { recordBytesMax } from './kafka-settings.js'

export interface TopicSpecification {
  readonly topic: string
  readonly partitions: number
  /** Topic settings for its creation, for example `cleanup.policy`. */
  readonly config?: Readonly<Record<string, string>>
}

/** `RdkafkaGroupConsumer` has its group.instance.id as client id. */
export interface GroupMember {
  readonly memberId: string
  readonly clientId: string
  readonly partitions: readonly number[]
}

export interface AdminLimits {
  /** How long a broker that does not answer is waited for. */
  readonly connectMsMax: number
  readonly requestMsMax: number
  /** How long a coordinator or a new topic may take to wake up. */
  readonly wakeMsMax: number
  readonly retryPauseMs: number
}

export const adminLimits: AdminLimits = { connectMsMax: 30_000, requestMsMax: 30_000, wakeMsMax: 60_000, retryPauseMs: 200 }

export interface KafkaAdminOptions {
  readonly brokers: string
  readonly clock: Clock
  /** `ssl` and `sasl` of kafkajs. */
  readonly security?: Pick<KafkaConfig, 'ssl' | 'sasl'>
  readonly limits?: Partial<AdminLimits>
}

/** Settings of a topic that must hold whole records of others with headers added. */
export const deadLetterTopicConfig: Readonly<Record<string, string>> = { 'max.message.bytes': String(recordBytesMax) }

/**
 * Topics and groups, over kafkajs: a second implementation of the protocol, so that what the data plane did is checked by
 * another hand. kafkajs logs errors while a coordinator wakes up; they are silenced, and waited for within `wakeMsMax`.
 */
export class KafkaAdmin {
  readonly #admin: Admin
  readonly #brokers: string
  readonly #clock: Clock
  readonly #limits: AdminLimits

  constructor({ brokers, clock, security, limits }: KafkaAdminOptions) {
    this.#limits = { ...adminLimits, ...limits }
    this.#brokers = brokers
    this.#clock = clock
    const kafka = new Kafka({
      clientId: 'harrier-admin',
      brokers: brokers.split(','),
      logLevel: logLevel.NOTHING,
      requestTimeout: this.#limits.requestMsMax,
      retry: { retries: 3, initialRetryTime: this.#limits.retryPauseMs },
      ...security,
    })
    this.#admin = kafka.admin()
  }

  async start(): Promise<void> {
    // An engine that starts while its broker starts too waits for it, as long as its other clients do.
    const endMs = this.#clock.monotonicMs() + Math.min(this.#limits.wakeMsMax, this.#limits.connectMsMax)
    for (;;) {
      try {
        return await this.#admin.connect()
      } catch (error) {
        if (this.#clock.monotonicMs() > endMs) throw new HarrierError('BROKER_UNAVAILABLE', `no broker answers at ${this.#brokers}: ${messageOf(error)}`, { cause: error })
        await this.#clock.sleep(this.#limits.retryPauseMs)
      }
    }
  }

  async close(): Promise<void> {
    await this.#admin.disconnect()
  }

  /**
   * Makes sure that each topic is there with its partitions; with `create`, missing ones are made.
   * Errors: TOPIC_MISSING, TOPIC_MISMATCH. Settings of topics that exist are left alone.
   */
  async ensureTopics(wanted: readonly TopicSpecification[], { create }: { create: boolean }): Promise<{ created: string[] }> {
    const existing = await this.partitionCounts(wanted.map(({ topic }) => topic))
    const missing = wanted.filter(({ topic }) => !existing.has(topic))
    if (missing.length > 0 && !create) {
      const names = missing.map(({ topic, partitions }) => `${topic} (${partitions} partitions)`).join(', ')
      throw new HarrierError('TOPIC_MISSING', `not on the broker: ${names}`)
    }
    for (const { topic, partitions } of wanted) {
      const found = existing.get(topic)
      if (found !== undefined && found !== partitions) {
        throw new HarrierError('TOPIC_MISMATCH', `topic ${topic} has ${found} partitions, and ${partitions} are needed`, {
          remedy: `delete and create ${topic} with ${partitions} partitions, or give the topology another name`,
        })
      }
    }
    if (missing.length > 0) await this.#create(missing)
    return { created: missing.map(({ topic }) => topic) }
  }

  /** Deletes those of the topics that exist, and waits until they are gone. */
  async deleteTopics(topics: readonly string[]): Promise<void> {
    const existing = [...(await this.partitionCounts(topics)).keys()]
    if (existing.length === 0) return
    await this.#patiently(`deleting ${existing.join(', ')}`, () => this.#admin.deleteTopics({ topics: existing }))
    await this.#until('topics to go', async () => (await this.partitionCounts(existing)).size === 0)
  }

  /** Deletes the records before an offset, for good. */
  async deleteRecords(topic: string, partitions: readonly { partition: number; before: number }[]): Promise<void> {
    const offsets = partitions.map(({ partition, before }) => ({ partition, offset: String(before) }))
    await this.#patiently(`deleting records of ${topic}`, () => this.#admin.deleteTopicRecords({ topic, partitions: offsets }))
  }

  /** Partitions by topic; topics that do not exist are absent. */
  async partitionCounts(topics: readonly string[]): Promise<Map<string, number>> {
    const counts = new Map<string, number>()
    const all = new Set(await this.#patiently('listing topics', () => this.#admin.listTopics()))
    const there = topics.filter((topic) => all.has(topic))
    if (there.length === 0) return counts
    const metadata = await this.#patiently('reading topics', () => this.#admin.fetchTopicMetadata({ topics: there }))
    for (const { name, partitions } of metadata.topics) counts.set(name, partitions.length)
    return counts
  }

  /** Committed offsets of a group by partition (next to read), as the broker tells another client; null where none is. */
  async committedOffsets(groupId: string, topic: string): Promise<Map<number, number | null>> {
    const found = await this.#patiently(`reading the offsets of ${groupId}`, () => this.#admin.fetchOffsets({ groupId, topics: [topic] }))
    const partitions = found[0]?.partitions ?? []
    return new Map(partitions.map(({ partition, offset }) => [partition, Number(offset) < 0 ? null : Number(offset)]))
  }

  /** First offset and stable end by partition: records of open transactions, and those after them, are not counted. */
  async ends(topic: string): Promise<Map<number, { low: number; high: number }>> {
    const found = await this.#patiently(`reading the ends of ${topic}`, () => this.#admin.fetchTopicOffsets(topic))
    return new Map(found.map(({ partition, low, high }) => [partition, { low: Number(low), high: Number(high) }]))
  }

  /** Retention and clean-up of a topic; -1 = without limit. */
  async retention(topic: string): Promise<{ retentionMs: number; retentionBytes: number; compacted: boolean; recordBytesMax: number }> {
    const configNames = ['retention.ms', 'retention.bytes', 'cleanup.policy', 'max.message.bytes']
    const described = await this.#patiently(`reading the settings of ${topic}`, () =>
      this.#admin.describeConfigs({ includeSynonyms: false, resources: [{ type: topicResource, name: topic, configNames }] }),
    )
    const entries = new Map(described.resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]))
    return {
      retentionMs: Number(entries.get('retention.ms') ?? -1),
      retentionBytes: Number(entries.get('retention.bytes') ?? -1),
      compacted: (entries.get('cleanup.policy') ?? 'delete').includes('compact'),
      recordBytesMax: Number(entries.get('max.message.bytes') ?? 0),
    }
  }

  /** Client ids of the group's members; `RdkafkaGroupConsumer` has its group.instance.id there. */
  async memberClientIds(groupId: string): Promise<string[]> {
    const described = await this.#patiently(`describing group ${groupId}`, () => this.#admin.describeGroups([groupId]))
    return described.groups.flatMap(({ members }) => members.map(({ clientId }) => clientId))
  }

  /** Who owns which partitions of a topic; undefined while the group is not settled. */
  async groupMembers(groupId: string, topic: string): Promise<GroupMember[] | undefined> {
    const described = await this.#patiently(`describing group ${groupId}`, () => this.#admin.describeGroups([groupId]))
    const group = described.groups[0]
    if (!group || (group.state !== 'Stable' && group.members.length > 0)) return undefined
    return group.members.map(({ memberId, clientId, memberAssignment }) => ({
      memberId,
      clientId,
      partitions: AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment[topic] ?? [],
    }))
  }

  async deleteGroup(groupId: string): Promise<void> {
    await this.#patiently(`deleting group ${groupId}`, () => this.#admin.deleteGroups([groupId]))
  }

  async #create(missing: readonly TopicSpecification[]): Promise<void> {
    await this.#patiently(`creating ${missing.map(({ topic }) => topic).join(', ')}`, () =>
      this.#admin.createTopics({
        waitForLeaders: true,
        topics: missing.map(({ topic, partitions, config = {} }) => ({
          topic,
          numPartitions: partitions,
          configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
        })),
      }),
    )
    const names = missing.map(({ topic }) => topic)
    await this.#until('new topics', async () => (await this.partitionCounts(names)).size === names.length)
  }

  async #until(what: string, isDone: () => Promise<boolean>): Promise<void> {
    const endMs = this.#clock.monotonicMs() + this.#limits.wakeMsMax
    while (!(await isDone())) {
      if (this.#clock.monotonicMs() > endMs) throw new HarrierError('BROKER_UNAVAILABLE', `waited ${this.#limits.wakeMsMax} ms for ${what}`)
      await this.#clock.sleep(this.#limits.retryPauseMs)
    }
  }

  async #patiently<T>(doing: string, call: () => Promise<T>): Promise<T> {
    const endMs = this.#clock.monotonicMs() + this.#limits.wakeMsMax
    for (;;) {
      try {
        return await call()
      } catch (error) {
        const { retriable } = error as { retriable?: boolean }
        if (retriable !== true || this.#clock.monotonicMs() > endMs) {
          throw new HarrierError('BROKER_UNAVAILABLE', `${doing}: ${messageOf(error)}`, { cause: error })
        }
        await this.#clock.sleep(this.#limits.retryPauseMs)
      }
    }
  }
}

/** ConfigResourceTypes.TOPIC of kafkajs, whose enumeration exists in its types only by name. */
const topicResource = 2
