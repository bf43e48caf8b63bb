import { HarrierError } from '../base/errors.js'
import type { KafkaAdmin, TopicDescription, TopicSpecification } from '../consumer/admin.js'
import type { TopologyNames } from './names.js'
import { inputTopicConfig, outputTopics } from './open-engine.js'

/** What is to be done about a topic; `differs`: something that only a person can decide. */
export interface TopicStep {
  readonly topic: string
  readonly action: 'ok' | 'create' | 'change' | 'differs'
  /** What it has or will have, or how it differs, for people. */
  readonly details: readonly string[]
  readonly wanted: TopicSpecification
  /** Settings to change. */
  readonly config: Readonly<Record<string, string>>
  readonly addPartitions: boolean
}

export interface PlanOptions {
  /** Of each stage, first to last. */
  readonly stages: readonly TopologyNames[]
  /** Partitions of an input topic that is to be created; undefined: a missing input is an error. */
  readonly partitions?: number | undefined
  /** Copies of each partition; undefined: the default of the brokers, and what is there is taken as it is. */
  readonly replication?: number | undefined
}

/** Compares the topics of a topology with those on the cluster. Changes nothing. Errors: TOPIC_MISSING for the input. */
export async function planTopics(admin: KafkaAdmin, { stages, partitions, replication }: PlanOptions): Promise<TopicStep[]> {
  const names = stages[0]!
  const input = await admin.describeTopic(names.input)
  const count = input?.partitions ?? partitions
  if (count === undefined) {
    throw new HarrierError('TOPIC_MISSING', `the input topic ${names.input} is not on the broker`, { remedy: 'create it, correct source.topic, or give --partitions to have it created' })
  }
  const wantedInput: TopicSpecification = { topic: names.input, partitions: count, replication, config: inputTopicConfig }
  const steps = [input ? checkedInput(wantedInput, input, partitions) : created(wantedInput)]
  if (names.labels !== undefined) steps.push(await plannedLabels(admin, { topic: names.labels, partitions: count, replication, config: inputTopicConfig }, partitions))
  const outputs = new Map(stages.flatMap((stage) => outputTopics(stage, count)).map((each) => [each.topic, { ...each, replication }]))
  for (const wanted of outputs.values()) {
    const found = await admin.describeTopic(wanted.topic)
    steps.push(found ? compared(wanted, found) : created(wanted))
  }
  return steps
}

/** Labels go with the input: with as many partitions, or they are not found by partition. */
async function plannedLabels(admin: KafkaAdmin, wanted: TopicSpecification, partitions: number | undefined): Promise<TopicStep> {
  const found = await admin.describeTopic(wanted.topic)
  if (found) return checkedInput(wanted, found, wanted.partitions)
  if (partitions !== undefined) return created(wanted)
  throw new HarrierError('TOPIC_MISSING', `the labels topic ${wanted.topic} is not on the broker`, { remedy: `create it with ${wanted.partitions} partitions, as the input has, correct labels.topic, or give --partitions to have it created` })
}

/** Carries out the steps that can be; the rest stays as it is. */
export async function applyTopics(admin: KafkaAdmin, steps: readonly TopicStep[]): Promise<void> {
  const missing = steps.filter(({ action }) => action === 'create').map(({ wanted }) => wanted)
  if (missing.length > 0) await admin.ensureTopics(missing, { create: true })
  for (const { topic, wanted, config, addPartitions } of steps) {
    if (Object.keys(config).length > 0) await admin.changeSettings(topic, config)
    if (addPartitions) await admin.addPartitions(topic, wanted.partitions)
  }
}

function created(wanted: TopicSpecification): TopicStep {
  const { topic, partitions, replication, config = {} } = wanted
  const details = [partitionsText(partitions), `replication ${replication ?? 'as the brokers have it'}`, ...Object.entries(config).map(([name, value]) => `${name}=${value}`)]
  return { topic, action: 'create', details, wanted, config: {}, addPartitions: false }
}

/** The input belongs to those who write it: it is looked at, never changed. */
function checkedInput(wanted: TopicSpecification, found: TopicDescription, partitions: number | undefined): TopicStep {
  const { topic } = wanted
  const differences = [
    ...(partitions !== undefined && partitions !== found.partitions ? [`${found.partitions} partitions, not ${partitions}; those of an input are not changed, since its keys would move`] : []),
    ...(found.config['cleanup.policy']?.includes('compact') === true ? ['cleanup.policy=compact: events of a key would be lost before they are scored'] : []),
  ]
  const details = [partitionsText(found.partitions), `replication ${found.replication}`, `retention.ms=${found.config['retention.ms'] ?? '?'}`]
  return { topic, action: differences.length > 0 ? 'differs' : 'ok', details: differences.length > 0 ? differences : details, wanted, config: {}, addPartitions: false }
}

function compared(wanted: TopicSpecification, found: TopicDescription): TopicStep {
  const { topic, partitions, replication } = wanted
  const config = Object.fromEntries(Object.entries(wanted.config ?? {}).filter(([name, value]) => !suffices(name, value, found.config[name])))
  const addPartitions = found.partitions < partitions
  const changes = [
    ...(addPartitions ? [`partitions ${found.partitions} -> ${partitions}`] : []),
    ...Object.entries(config).map(([name, value]) => `${name} ${found.config[name] ?? '?'} -> ${value}`),
  ]
  const stays = [
    ...(found.partitions > partitions ? [`${found.partitions} partitions, and the input has ${partitions}: they cannot become fewer; give the topology another name, or delete the topic`] : []),
    ...(replication !== undefined && replication !== found.replication ? [`replication ${found.replication}, not ${replication}: kafka-reassign-partitions.sh changes it`] : []),
  ]
  const asIs = [partitionsText(found.partitions), `replication ${found.replication}`, ...Object.keys(wanted.config ?? {}).map((name) => `${name}=${found.config[name] ?? '?'}`)]
  const action = stays.length > 0 ? 'differs' : changes.length > 0 ? 'change' : 'ok'
  return { topic, action, details: action === 'ok' ? asIs : [...stays, ...changes], wanted, config, addPartitions }
}

/** A larger limit does as well; everything else must be as it is wanted. */
function suffices(name: string, wanted: string, found: string | undefined): boolean {
  return name === 'max.message.bytes' ? Number(found) >= Number(wanted) : found === wanted
}

function partitionsText(count: number | undefined): string {
  return count === 1 ? '1 partition' : `${count} partitions`
}
