import { AssignerProtocol, Kafka, logLevel, type Admin } from 'kafkajs'
import { withTimeout, type Clock } from '../base/clock.js'
import { HarrierError, messageOf } from '../base/errors.js'
import type { KafkaSecurity } from '../connection/security.js'
import { lastingTrouble, tlsRemedy, withoutNoise } from '../connection/trouble.js'
import { kafkaJsSecurity } from './kafka-security.js'
import { recordBytesMax } from './kafka-settings.js'
import { quietKafkajs } from './quiet-kafkajs.js'

export interface TopicSpecification {
  readonly topic: string
  readonly partitions: number
  /** Topic settings for its creation, for example `cleanup.policy`. */
  readonly config?: Readonly<Record<string, string>>
  /** Copies of each partition, for its creation; by default as the broker has it. */
  readonly replication?: number | undefined
}

/** A topic as it is on the cluster. */
export interface TopicDescription {
  readonly partitions: number
  /** The fewest copies that a partition has. */
  readonly replication: number
  /** Settings in force, by name. */
  readonly config: Readonly<Record<string, string>>
  /** Those among them that were set for this topic. */
  readonly own: Readonly<Record<string, string>>
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
  /** A refusal counts when it lasts so long: a broker that has just started may not know its users yet. */
  readonly refusedMsMax: number
  /** How long a coordinator or a new topic may take to wake up. */
  readonly wakeMsMax: number
  readonly retryPauseMs: number
}

export const adminLimits: AdminLimits = { connectMsMax: 30_000, requestMsMax: 30_000, refusedMsMax: 2000, wakeMsMax: 60_000, retryPauseMs: 200 }

export interface KafkaAdminOptions {
  readonly brokers: string
  readonly clock: Clock
  readonly security?: KafkaSecurity | undefined
  readonly limits?: Partial<AdminLimits>
}

/** Settings of a topic that must hold whole records of others with headers added. */
export const deadLetterTopicConfig: Readonly<Record<string, string>> = { 'max.message.bytes': String(recordBytesMax) }

/** Connects, does the work and disconnects, however it ends. */
export async function withAdmin<T>(options: KafkaAdminOptions, work: (admin: KafkaAdmin) => Promise<T>): Promise<T> {
  const admin = new KafkaAdmin(options)
  await admin.start()
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}

/**
 * Topics and groups, over kafkajs: a second implementation of the protocol, so that what the data plane did is checked by
 * another hand. kafkajs logs errors while a coordinator wakes up; they are silenced, and waited for within `wakeMsMax`.
 */
export class KafkaAdmin {
  readonly #kafka: Kafka
  readonly #admin: Admin
  /** Asked for the reason when the patient one has none to give yet. */
  readonly #impatient: Admin
  readonly #brokers: string
  readonly #clock: Clock
  readonly #limits: AdminLimits
  readonly #encrypted: boolean

  constructor({ brokers, clock, security, limits }: KafkaAdminOptions) {
    this.#limits = { ...adminLimits, ...limits }
    this.#brokers = brokers
    this.#clock = clock
    this.#encrypted = security?.tls !== undefined
    const common = { clientId: 'harrier-admin', brokers: brokers.split(','), logLevel: logLevel.NOTHING, requestTimeout: this.#limits.requestMsMax, ...kafkaJsSecurity(security) }
    quietKafkajs()
    this.#kafka = new Kafka({ ...common, retry: { retries: 3, initialRetryTime: this.#limits.retryPauseMs } })
    this.#admin = this.#kafka.admin()
    this.#impatient = new Kafka({ ...common, retry: { retries: 0 } }).admin()
  }

  /** Errors: BROKER_UNAVAILABLE after `connectMsMax`; AUTHENTICATION_FAILED, CERTIFICATE_REFUSED, CONFIG_INVALID (no TLS there) after `refusedMsMax`. */
  async start(): Promise<void> {
    // An engine that starts while its broker starts too waits for it, as long as its other clients do.
    const limitMs = Math.min(this.#limits.wakeMsMax, this.#limits.connectMsMax)
    const endMs = this.#clock.monotonicMs() + limitMs
    let refusedAtMs = Infinity
    for (;;) {
      try {
        return await withTimeout(this.#admin.connect(), limitMs, () => new Error('no answer'))
      } catch (error) {
        const nowMs = this.#clock.monotonicMs()
        if (error instanceof HarrierError && (error.consequence !== 'retry' || nowMs > endMs)) throw error
        const refusal = lastingTrouble(`the broker at ${this.#brokers}`, saidBy(error), error)
        if (refusal) refusedAtMs = Math.min(refusedAtMs, nowMs)
        if (refusal && nowMs - refusedAtMs >= this.#limits.refusedMsMax) throw refusal
        if (nowMs > endMs) throw refusal ?? (await this.#unreachable(limitMs, error))
        await this.#clock.sleep(this.#limits.retryPauseMs)
      }
    }
  }

  async #unreachable(limitMs: number, last: unknown): Promise<HarrierError> {
    const error = await withTimeout(this.#impatient.connect(), reasonMsMax, () => new Error('no answer')).then(() => last, (thrown: unknown) => thrown)
    void this.#impatient.disconnect().catch(() => undefined)
    return new HarrierError('BROKER_UNAVAILABLE', `no broker answers at ${this.#brokers} within ${limitMs} ms: ${withoutNoise(messageOf(error))}`, { cause: error, ...tlsRemedy(messageOf(error), this.#encrypted) })
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

  /** Partitions by topic; topics that do not exist are absent. Needs Describe on each. */
  async partitionCounts(topics: readonly string[]): Promise<Map<string, number>> {
    const found = await Promise.all(topics.map(async (topic) => [topic, (await this.#partitionsOf(topic))?.length] as const))
    return new Map(found.filter((entry): entry is [string, number] => entry[1] !== undefined))
  }

  /** Undefined when the topic does not exist. Asked for by name: a list of all topics leaves out what we may not see. */
  #partitionsOf(topic: string): Promise<readonly { readonly replicas: readonly number[] }[] | undefined> {
    return this.#patiently(`reading topic ${topic}`, async () => {
      try {
        return (await this.#metadataOf(topic)).topics[0]?.partitions
      } catch (error) {
        if ((error as { type?: string }).type === 'UNKNOWN_TOPIC_OR_PARTITION') return undefined
        throw error
      }
    })
  }

  /** kafkajs stumbles over a topic that has gone, or brokers that have failed, since it cached them; a client without a cache says which. */
  async #metadataOf(topic: string): ReturnType<Admin['fetchTopicMetadata']> {
    try {
      return await this.#admin.fetchTopicMetadata({ topics: [topic] })
    } catch (error) {
      if (!hasStumbled(error)) throw error
      const fresh = this.#kafka.admin()
      try {
        await fresh.connect()
        return await fresh.fetchTopicMetadata({ topics: [topic] })
      } finally {
        await fresh.disconnect()
      }
    }
  }

  /** Undefined when the topic does not exist. Needs Describe and DescribeConfigs. */
  async describeTopic(topic: string): Promise<TopicDescription | undefined> {
    const partitions = await this.#partitionsOf(topic)
    if (!partitions) return undefined
    const described = await this.#patiently(`reading the settings of ${topic}`, () =>
      this.#admin.describeConfigs({ includeSynonyms: false, resources: [{ type: topicResource, name: topic }] }),
    )
    const entries = described.resources[0]?.configEntries ?? []
    const asRecord = (chosen: typeof entries): Record<string, string> => Object.fromEntries(chosen.map(({ configName, configValue }) => [configName, configValue]))
    return {
      partitions: partitions.length,
      replication: Math.min(...partitions.map(({ replicas }) => replicas.length)),
      config: asRecord(entries),
      own: asRecord(entries.filter((entry) => (entry as { configSource?: number }).configSource === setForTopic)),
    }
  }

  /** Changes settings of a topic and leaves its others. Needs DescribeConfigs and AlterConfigs. */
  async changeSettings(topic: string, config: Readonly<Record<string, string>>): Promise<void> {
    const own = (await this.describeTopic(topic))?.own ?? {}
    // The request replaces all that was set for the topic.
    const configEntries = Object.entries({ ...own, ...config }).map(([name, value]) => ({ name, value }))
    await this.#patiently(`changing ${topic}`, () => this.#admin.alterConfigs({ validateOnly: false, resources: [{ type: topicResource, name: topic, configEntries }] }))
  }

  /** Needs Alter. */
  async addPartitions(topic: string, count: number): Promise<void> {
    await this.#patiently(`adding partitions to ${topic}`, () => this.#admin.createPartitions({ topicPartitions: [{ topic, count }] }))
    await this.#until(`the partitions of ${topic}`, async () => (await this.partitionCounts([topic])).get(topic) === count)
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

  /** By partition the first offset whose record has this timestamp or a later one, exact also where timestamps fall now and then; the end where there is none. */
  async offsetsAtTime(topic: string, timeMs: number): Promise<Map<number, number>> {
    const found = await this.#patiently(`looking for a time in ${topic}`, () => this.#admin.fetchTopicOffsetsByTimestamp(topic, timeMs))
    return new Map(found.map(({ partition, offset }) => [partition, Number(offset)]))
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

  /** State and members of a group, for people. */
  async describeGroup(groupId: string): Promise<string> {
    const { groups } = await this.#patiently(`describing group ${groupId}`, () => this.#admin.describeGroups([groupId]))
    return groups.map(({ state, members }) => `group ${groupId}: ${state}; ${members.map(({ clientId, memberId, memberAssignment }) => `${clientId} (${memberId.slice(-8)}, ${memberAssignment.length} bytes)`).join(', ')}`).join('\n')
  }

  async deleteGroup(groupId: string): Promise<void> {
    await this.#patiently(`deleting group ${groupId}`, () => this.#admin.deleteGroups([groupId]))
  }

  async #create(missing: readonly TopicSpecification[]): Promise<void> {
    await this.#patiently(`creating ${missing.map(({ topic }) => topic).join(', ')}`, () =>
      this.#admin.createTopics({
        waitForLeaders: true,
        topics: missing.map(({ topic, partitions, replication, config = {} }) => ({
          topic,
          numPartitions: partitions,
          ...(replication === undefined ? {} : { replicationFactor: replication }),
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
        const denied = deniedBy(error)
        if (denied !== undefined) throw new HarrierError('NOT_AUTHORIZED', `${doing}: ${denied}`, { cause: error })
        const { retriable } = error as { retriable?: boolean }
        if ((retriable !== true && !hasStumbled(error)) || this.#clock.monotonicMs() > endMs) {
          throw new HarrierError('BROKER_UNAVAILABLE', `${doing}: ${messageOf(error)}`, { cause: error })
        }
        await this.#clock.sleep(this.#limits.retryPauseMs)
      }
    }
  }
}

/** How long the reason of a failure is looked for, after the time-out. */
const reasonMsMax = 1500

/** Where every broker has failed it, kafkajs reads on in a null. */
function hasStumbled(error: unknown): boolean {
  return error instanceof TypeError
}

/** What a denial says, wherever kafkajs has put it; undefined for any other error. */
function deniedBy(error: unknown): string | undefined {
  const { type, message, errors, cause } = error as { type?: string; message?: string; errors?: readonly unknown[]; cause?: unknown }
  if (type?.endsWith('_AUTHORIZATION_FAILED') === true) return `${message} (${type})`
  return (errors ?? []).map(deniedBy).find((each) => each !== undefined) ?? (cause === undefined || cause === null ? undefined : deniedBy(cause))
}

/** All that an error of kafkajs tells, its code and its cause's included. */
function saidBy(error: unknown): string {
  const { message, code, cause } = error as { message?: string; code?: string; cause?: unknown }
  return [message ?? String(error), code ?? '', cause === undefined || cause === null ? '' : saidBy(cause)].join(' ')
}

/** DYNAMIC_TOPIC_CONFIG. */
const setForTopic = 1

/** ConfigResourceTypes.TOPIC of kafkajs, whose enumeration exists in its types only by name. */
const topicResource = 2
