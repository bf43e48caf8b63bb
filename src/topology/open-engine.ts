import type { Clock } from '../base/clock.js'
import { HarrierError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { RegistryClient } from '../codec/registry-client.js'
import { connectLimits, type ClusterConnection } from '../connection/security.js'
import { KafkaAdmin, deadLetterTopicConfig, withAdmin, type TopicSpecification } from '../consumer/admin.js'
import { requireNative } from '../consumer/native-binding.js'
import { RangeReader } from '../consumer/range-reader.js'
import { RdkafkaGroupConsumer } from '../consumer/rdkafka-group-consumer.js'
import { onnxruntimeVersion } from '../inference/device-class.js'
import type { DevicePolicy } from '../inference/device.js'
import type { Scorer } from '../inference/scorer.js'
import type { PrivacyKeys } from '../privacy/privacy-keys.js'
import { outputPublisher, publisherLimits, type OutputPublisher } from '../producer/output-publisher.js'
import { RecordProducer } from '../producer/record-producer.js'
import { freeTransactionalId, RdkafkaTransactionalProducer } from '../producer/rdkafka-transactional-producer.js'
import { ReleaseFollower, type ReleaseLogOptions } from '../registry/release-ledger.js'
import { releaseTopicSpecifications } from '../registry/release-topics.js'
import type { StageModels } from '../registry/release.js'
import type { BatchTracing } from './batch-tracing.js'
import { settleContracts } from './contracts.js'
import { publishesEarly } from './delivery.js'
import { EngineChain } from './engine-chain.js'
import { Engine } from './engine.js'
import { harrierVersion } from './harrier-version.js'
import { LabelReader } from './label-reader.js'
import type { Topology } from './load-topology.js'
import { topologyNames, type TopologyNames } from './names.js'
import { guardrailsOf } from './guardrail-rollback.js'
import { ModelTurns } from './model-turns.js'
import { modelLibrary, openScorer, type Models, type Workers } from './open-scorer.js'
import { releasedUses } from './released-models.js'
import { openTracing, type Tracing } from './open-tracing.js'
import { outputPrivacy, type OutputPrivacy } from './output-privacy.js'
import { Outputs } from './outputs.js'
import { openRunLineage, type OpenLineageOptions } from './open-run-lineage.js'
import type { RunLineage } from './run-lineage.js'
import { TaskRestorer } from './restore.js'
import { Stage } from './stage.js'
import { Changelog } from './changelog.js'
import { Standby, type StandbyPlan } from './standby.js'
import { partitionsToStandBy } from './standby-plan.js'

export interface EngineOptions extends ClusterConnection {
  readonly topology: Topology
  /** The name of this instance: its static group membership and its transactional id. Two live ones must differ. */
  readonly instanceId: string
  readonly namespace?: string | undefined
  readonly models?: Models
  readonly device?: DevicePolicy | undefined
  readonly workers?: Workers | undefined
  /** Create missing output topics, and the input with so many partitions where they are given. Otherwise a missing topic is an error. */
  readonly createTopics?: { readonly partitions?: number } | undefined
  /** Where runs are told of by OpenLineage; absent: nowhere. */
  readonly openLineage?: OpenLineageOptions | undefined
  /** Keys of tokens and dead letters, which a topology with personal fields needs. */
  readonly privacyKeys?: PrivacyKeys | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly signal?: AbortSignal | undefined
}

/** An input that Harrier makes keeps everything. */
export const inputTopicConfig = { 'retention.ms': '-1' }

/** The lineage is read by every restore, whatever the brokers do with topics by default. */
const lineageTopicConfig = { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1' }

/** Changelogs keep the newest record of each entity. */
const stateTopicConfig = { 'cleanup.policy': 'compact', 'max.message.bytes': String(8 << 20) }

/** The topics that a stage writes, given the partitions of its input. */
export function outputTopics(names: TopologyNames, partitions: number): TopicSpecification[] {
  return [
    ...(names.forward === undefined
      ? [
          { topic: names.scored, partitions, config: deadLetterTopicConfig },
          { topic: names.alerts, partitions, config: deadLetterTopicConfig },
        ]
      : [{ topic: names.forward, partitions, config: inputTopicConfig }]),
    { topic: names.deadLetters, partitions, config: deadLetterTopicConfig },
    { topic: names.lineage, partitions, config: lineageTopicConfig },
    { topic: names.state, partitions, config: stateTopicConfig },
    ...releaseTopicSpecifications(names.releaseTopics),
  ]
}

/** What scoring and rebuilding have in common: models, contracts, a stage, its outputs and a reader of the log. */
export interface EngineCore {
  readonly client: ClientOptions
  /** Partitions of the input. */
  readonly partitions: number
  readonly registry: RegistryClient
  readonly stage: Stage
  readonly outputs: Outputs
  readonly privacy: OutputPrivacy
  readonly reader: RangeReader
  /** What was released when the models were opened. */
  readonly released: StageModels | undefined
}

type ClientOptions = Pick<EngineOptions, 'brokers' | 'security' | 'clock' | 'logger'> & ReturnType<typeof connectLimits>

/** Checks everything that can be wrong before the first record: models, schemas, topics. `privacy`: none where no output is written. */
export async function openCore(options: Omit<EngineOptions, 'instanceId'>, names: TopologyNames, transactionalId: string, privacy: OutputPrivacy, tracing?: BatchTracing): Promise<EngineCore> {
  const { topology, brokers, security, registryUrl, registrySecurity, clock, logger, signal } = options
  const client = { brokers, security, clock, logger, ...connectLimits(options) }
  const partitions = await withAdmin(client, (admin) => prepareTopics(admin, names, topology, options.createTopics))
  const registry = new RegistryClient(registryUrl, { clock, logger, security: registrySecurity })
  const reader = new RangeReader({ ...client, groupId: names.group })
  await reader.start()
  let scorer: Scorer | undefined
  try {
    const released = await releasedFor(topology, { reader, topics: names.releaseTopics, registry }, logger)
    scorer = await openScorer({ ...options, released })
    const schemaIds = await settleContracts({ topology, names, registry, logger, signal })
    const stage = new Stage(topology, scorer, registry, partitions)
    const outputs = new Outputs(stage, {
      schemaIds,
      inputTopic: names.input,
      labelsTopic: names.labels,
      partitions,
      transactionalId,
      engine: { harrier: harrierVersion, onnxruntime: onnxruntimeVersion(), node: process.versions.node, device_class: scorer.deviceClass },
      tracing,
      ...privacy,
    })
    return { client, partitions, registry, stage, outputs, privacy, reader, released }
  } catch (error) {
    await reader.close()
    await scorer?.close()
    throw error
  }
}

/** What is released for a stage; undefined: nothing, or the stage has no models. */
async function releasedFor(topology: Topology, log: ReleaseLogOptions, logger: Logger): Promise<StageModels | undefined> {
  if (!hasModels(topology)) return undefined
  const released = await new ReleaseFollower(log, keyOf(topology)).poll()
  const { champion, shadows } = topology.stage.models
  const file = [champion, ...shadows]
  if (released) {
    const { revision, actor, reason } = released
    const models = released.models.map(({ model, role }) => `${model} ${role}`)
    logger.log('info', 'models by the newest release; those of the topology file are not used', { stage: topology.stageName, revision, models, actor, reason, file })
  } else logger.log('info', 'models by the topology file: nothing has been released for this stage', { stage: topology.stageName, models: file })
  return released
}

function hasModels({ stage }: Topology): boolean {
  return stage.models.champion !== undefined
}

function keyOf({ name, stageName }: Topology): { topology: string; stage: string } {
  return { topology: name, stage: stageName }
}

/** The engines of all stages of a topology. Errors: those of its models, contracts and topics, before the first record. */
export async function openEngine(options: EngineOptions): Promise<EngineChain> {
  options.logger.log('info', 'Kafka client', { librdkafka: requireNative().version })
  const engines: Engine[] = []
  const lineages = new Map<Engine, RunLineage>()
  const tracing = await openTracing(options)
  for (const topology of options.topology.chain) {
    const { engine, lineage } = await openStageEngine({ ...options, topology }, tracing)
    engines.push(engine)
    if (lineage) lineages.set(engine, lineage)
  }
  return new EngineChain(engines, lineages)
}

/** The engine of one stage. */
async function openStageEngine(options: EngineOptions, tracing: Tracing | undefined): Promise<{ engine: Engine; lineage: RunLineage | undefined }> {
  const { topology, instanceId, clock, logger } = options
  const names = topologyNames(topology, options.namespace)
  const transactionalId = names.transactionalId(instanceId)
  const core = await openCore(options, names, transactionalId, outputPrivacy(topology, options.privacyKeys), tracing?.stage(topology, names.input))
  const { client, partitions, registry, stage, outputs, reader } = core
  const admin = new KafkaAdmin(client)
  let standby: Standby | undefined
  let labelReader: RangeReader | undefined
  let modelTurns: ModelTurns | undefined
  let publisher: OutputPublisher | undefined
  try {
    await admin.start()
    if (publishesEarly(topology)) publisher = await openPublisher(client, names.instance(instanceId))
    if (hasModels(topology)) modelTurns = await openModelTurns(core, options, names, () => lineage?.switched())
    if (names.labels !== undefined) {
      // Of its own: a restore reads for seconds.
      labelReader = new RangeReader({ ...client, groupId: names.group })
      await labelReader.start()
    }
    if (topology.spec.limits.standby > 0) standby = await openStandby(core, admin, names, names.instance(instanceId))
  } catch (error) {
    await modelTurns?.stop()
    await labelReader?.close()
    await publisher?.close()
    await admin.close()
    await reader.close()
    await stage.scorer.close()
    throw error
  }
  const engine = new Engine({
    stage,
    outputs,
    names,
    clock,
    logger,
    producer: new RdkafkaTransactionalProducer({ ...client, transactionalId }),
    publisher,
    restorer: new TaskRestorer({
      reader,
      names,
      registry,
      clock,
      logger,
      tokens: core.privacy.tokens,
      reached: modelTurns && ((release, signal) => modelTurns.reached(release, signal)),
      predecessors: {
        ownTransactionalId: transactionalId,
        isAlive: (id) => isMember(admin, names, id),
        free: (id) => freeTransactionalId({ ...client, transactionalId: id }),
      },
    }),
    closeReaders: async () => {
      // Not waited for: it may be asking a coordinator that is slow to answer, and a stop has seconds.
      void admin.close().catch(() => undefined)
      await reader.close()
      await tracing?.flush()
    },
    startOfInput: async (partition) => (await reader.watermarks(names.input, partition)).low,
    standby,
    modelTurns,
    makeLabelReader: labelReader && ((onFatal) => new LabelReader({ stage, reader: labelReader, topic: names.labels!, clock, logger, onFatal })),
    makeConsumer: (handlers) =>
      new RdkafkaGroupConsumer({
        ...client,
        groupId: names.group,
        groupInstanceId: names.instance(instanceId),
        topics: [names.input],
        group: { partitions, members: () => admin.groupMembers(names.group, names.input) },
        handlers,
      }),
  })
  const lineage = options.openLineage && (await openRunLineage(options, options.openLineage, { names, client, stage, counters: engine.counters }))
  return { engine, lineage }
}

/** Beside the transactional producer, which can send nothing outside of a transaction. */
async function openPublisher(client: ClientOptions, clientId: string): Promise<OutputPublisher> {
  return outputPublisher(await RecordProducer.open({ ...client, settings: { 'client.id': clientId, 'message.timeout.ms': publisherLimits.publishMsMax } }))
}

/** Follows releases with a client of its own, beside the restores. */
async function openModelTurns({ client, registry, stage, released }: EngineCore, options: EngineOptions, names: TopologyNames, onInForce: () => void): Promise<ModelTurns> {
  const { topology, clock, logger } = options
  const reader = new RangeReader({ ...client, groupId: names.group })
  await reader.start()
  const follower = new ReleaseFollower({ reader, topics: names.releaseTopics, registry }, keyOf(topology))
  const library = modelLibrary(options.models)
  const guardrails = guardrailsOf(options, released)
  return new ModelTurns({ guardrails, onInForce, scorer: stage.scorer, source: { poll: (signal) => follower.poll(signal), close: () => reader.close() }, usesOf: (released) => releasedUses(topology, released, library), clock, logger })
}

/** Follows changelogs with a client of its own, beside the restores. */
async function openStandby({ client, partitions, stage }: EngineCore, admin: KafkaAdmin, names: TopologyNames, self: string): Promise<Standby> {
  const { clock, logger } = client
  const reader = new RangeReader({ ...client, groupId: names.group })
  await reader.start()
  const plan: StandbyPlan = {
    async wanted() {
      const members = await admin.groupMembers(names.group, names.input)
      return members && partitionsToStandBy(members, self)
    },
    async wantedBeforeJoining() {
      if ((await admin.memberClientIds(names.group)).every((clientId) => clientId === self)) return []
      return Array.from({ length: partitions }, (_, partition) => partition)
    },
    close: () => reader.close(),
  }
  return new Standby({ stage, clock, logger, plan, changelog: new Changelog({ reader, names }) })
}

/** Members carry their instance's name as client id, and transactional ids begin with it. */
async function isMember(admin: KafkaAdmin, names: TopologyNames, transactionalId: string): Promise<boolean> {
  return (await admin.memberClientIds(names.group)).some((clientId) => names.transactionalIdOf(clientId) === transactionalId)
}

/** Checks the topics, and makes those that are missing where that is wanted. Returns the partitions of the input. */
async function prepareTopics(admin: KafkaAdmin, names: TopologyNames, { spec }: Topology, createTopics: EngineOptions['createTopics']): Promise<number> {
  const create = createTopics !== undefined
  let partitions = (await admin.partitionCounts([names.input])).get(names.input)
  if (partitions === undefined) {
    if (createTopics?.partitions === undefined) {
      throw new HarrierError('TOPIC_MISSING', `the input topic ${names.input} is not on the broker`, { remedy: 'create it, correct source.topic, or run with --create-topics' })
    }
    partitions = createTopics.partitions
    await admin.ensureTopics([{ topic: names.input, partitions, config: inputTopicConfig }], { create })
  }
  if (names.labels !== undefined) await admin.ensureTopics([{ topic: names.labels, partitions, config: inputTopicConfig }], { create })
  // Without guardrails the ledger is nothing that an engine reads: on a cluster with rights it has none to it.
  const needed = outputTopics(names, partitions).filter(({ topic }) => create || topic !== names.releaseTopics.releases || spec.releases?.guardrails)
  await admin.ensureTopics(needed, { create })
  return partitions
}
