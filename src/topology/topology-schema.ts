import { z } from 'zod'
import { durationSchema } from '../base/durations.js'
import { fieldTypes } from '../codec/field-spec.js'
import { sourceFormats } from '../codec/source-decoder.js'
import { needsEvent, reachOf, sumsExactly, usesLabels } from '../features/feature-program.js'
import { featureSchema } from '../features/feature-spec.js'
import { rowsMaxLimit } from '../inference/frame.js'
import { policySchema, type PolicySpec } from '../policy/policy.js'
import { batchRecordsFor, dayMs, dueDaysMax, frameRowsMax } from './day-calendar.js'
import { guardrailsSchema } from './guardrail-spec.js'
import { fieldsOfStages } from './stage-fields.js'

const identifier = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/i, 'a letter, then letters, digits, _ or - (63 at most)')
const topic = z.string().regex(/^[a-zA-Z0-9._-]{1,200}$/, 'a topic name: letters, digits, . _ -')
const modelReference = z.string().regex(/^[a-z][a-z0-9_-]*@[0-9]+$/i, 'a model is named name@version, for example card-gru@1')

/** The fields that every source must give; all others are named as the team likes. */
export const eventIdField = 'event_id'
export const eventTimeField = 'event_time'
/** The fields that a labels topic must give besides the event's id and the keys of the stages. */
export const knownAtField = 'known_at'
export const isFraudField = 'is_fraud'

/** How subjects are named: TopicNameStrategy, RecordNameStrategy and TopicRecordNameStrategy of the Confluent clients. */
export const subjectStrategies = ['topic', 'record', 'topic-record'] as const
export type SubjectStrategy = (typeof subjectStrategies)[number]

export const stagesMax = 8
const upstreamSkewDefault = 604_800_000
export const aheadMaxDefaultMs = 86_400_000

// The descriptions are printed into docs/topology.md by scripts/docs.js.
const fieldSchema = z.strictObject({
  path: z.string().min(1).describe('Where the value stands in the record: `payment.amount`, `legs[0].amount`, `legs[only].amount`, `tags["a.b"]`; see contracts.md, "Paths".'),
  type: z.enum(fieldTypes).describe('How it is read; see "Field types".'),
  min: z.number().optional().describe('Smaller values make the record a dead letter. In the unit of the column: minor units with `scale`, ms for times.'),
  max: z.number().optional().describe('Larger values make the record a dead letter. Same unit as `min`.'),
  optional: z.boolean().optional().describe('Null and absent are accepted. Of the features only `category` can read an optional field.'),
  default: z.union([z.number(), z.string(), z.boolean()]).optional().describe('Stands in for an absent value, never for a null. In the unit of the column.'),
  scale: z.number().int().optional().describe('Only for `integer`, 0 to 15: the value times 10^scale, exactly. The decimal 12.34 with scale 2 is 1234; 12.345 is a dead letter.'),
  from: z.literal('text').optional().describe('Only for numbers and `timestamp-` types: they may also be written as text, `"129.90"`.'),
  zone: z.string().optional().describe('Only for `iso8601`: the zone of times that name none: `Z`, `+01:00`. A date alone is then its first moment.'),
  personal: z
    .union([z.boolean(), identifier])
    .optional()
    .describe('Says something of a person: masked where people look, a token in outputs; see privacy.md. A name instead of `true` is the domain: fields of one domain have tokens that can be joined. A schema that `schema` names may say so, too.'),
})

const sourceSchema = z.strictObject({
  topic: topic.describe('The input topic. A `--namespace` goes before it, with a dot.'),
  format: z
    .enum(sourceFormats, { error: ({ input }) => (/^proto/i.test(String(input)) ? 'Protobuf is not read: write the topic as Avro, JSON Schema or plain JSON, or copy it into one of those' : undefined) })
    .describe('`avro` and `json-schema`: magic byte 0, four bytes of schema id, the value as Avro or JSON. `json`: one object for each record, no envelope.'),
  schema: z
    .string()
    .optional()
    .describe(
      [
        'A schema file, relative to the topology, that gives every field: Avro (.avsc), whose defaults and aliases fill what a writer lacks, or JSON Schema for the other formats.',
        'Where the registry has none under the input\'s subject, it is registered there, unless `schemas.register` is false.',
      ].join(' '),
    ),
  subjects: z.enum(subjectStrategies).optional().describe('Under which subject the input\'s schema is registered; see contracts.md, "Subjects". Default `topic`.'),
  record: z.string().min(1).optional().describe('Full name of the record, for `subjects: record` and `topic-record`. Default: the name in `schema`.'),
  aheadMax: durationSchema
    .refine(Number.isSafeInteger, 'whole milliseconds')
    .default(aheadMaxDefaultMs)
    .describe('How far an event time may lie ahead of the timestamp that the record has in Kafka. Further makes it a dead letter: it would move stream time, and all that follow would be late.'),
  fields: z.record(identifier, fieldSchema).describe('What the engine reads, under names of its own. `event_id` (text) and `event_time` (a time) are required; at most 200.'),
})

const labelsSchema = z.strictObject({
  topic: topic.describe('The topic of labels. It has as many partitions as the input and is keyed by the first stage\'s key, as the input is.'),
  format: z.enum(sourceFormats).describe('As in `source`.'),
  schema: z.string().optional().describe('As in `source`.'),
  fields: z
    .record(identifier, fieldSchema)
    .describe('`event_id` (text), `known_at` (a time), `is_fraud` (boolean), and each stage\'s key under the name that it has in `source.fields`.'),
})

const scoreSchema = z.strictObject({
  when: z
    .enum(['event', 'dayTurn'])
    .describe('`event`: every event. `dayTurn`: each entity at the end of each UTC day, once stream time has passed it by `grace`; the ring then holds one row for each day. Only in the last stage, and with labels not in the first.'),
  events: z
    .strictObject({ field: z.string().min(1).describe('A number field, for example the score of the stage before.'), from: z.number().optional().describe('At least this.'), below: z.number().optional().describe('Less than this.') })
    .refine(({ below, from }) => below !== undefined || from !== undefined, 'a condition has a bound: from or below')
    .optional()
    .describe('Only with `dayTurn`: events that fulfil this are scored besides, at once, as if the day ended with them; no row of theirs is kept.'),
})

const stageSchema = z.strictObject({
  key: identifier.describe('The text field whose value names the entity. The input must be partitioned by the key of the first stage: an entity lives in one partition. For later stages events are rekeyed.'),
  keyBytesMax: z.number().int().min(1).max(255).default(47).describe('Longest key in bytes, part of every slot; a longer one makes the record a dead letter.'),
  grace: durationSchema.default(0).describe('How far an event may lie behind stream time and still change state.'),
  ttl: durationSchema.describe('An entity whose last event lies further back than this, in event time, starts anew. At least the longest window plus `grace`.'),
  late: z.enum(['score', 'dead-letter']).default('score').describe('What happens to an event after the grace period: it is scored and changes nothing, or it becomes a dead letter.'),
  generation: z
    .number()
    .int()
    .min(1)
    .max(9999)
    .default(1)
    .describe('The state generation. A change of windows, features, ring or source fields needs the next one: raise it, fold its state with `harrier rebuild`, restart. Each has a changelog of its own.'),
  ring: z.number().int().min(1).max(512).default(32).describe('Feature rows kept of each entity: input of window models, and what a recurrent model is warmed from.'),
  upstreamSkew: durationSchema.default(upstreamSkewDefault).describe('Only after the first stage: how far in event time the slowest of the upstream tasks may lie behind the fastest before it is not waited for with expiry and lateness.'),
  features: z.array(featureSchema).min(1).max(256).describe('The feature row, in this order; see "Features".'),
  models: z
    .strictObject({
      champion: modelReference.describe('The model that decides, as `name@version`; before the last stage: whose score is passed on.'),
      shadows: z.array(modelReference).max(8).default([]).describe('Models that score the same rows and decide nothing.'),
      device: z
        .enum(['cpu', 'webgpu', 'cuda', 'auto'])
        .default('cpu')
        .describe('Where models run. A named device runs the whole model or the engine does not start; `auto` takes a GPU that runs the whole model and is faster at `batchRecordsMax`, else the CPU, and says what it measured; see models.md, "Devices".'),
    })
    .optional()
    .describe('Model versions, from `models/` or the folder given by `--models`. The last stage needs them.'),
  score: scoreSchema.optional().describe('When entities are scored; see "Day turns". Default: at every event.'),
  policy: policySchema.optional().describe('From a score to a decision, in the last stage and only there; see "Policy".'),
})

const schemasSchema = z.strictObject({
  register: z.boolean().default(true).describe('Register what Harrier writes, and `source.schema` where the input has none. With `false` they must be registered already; `harrier topology schemas` writes them out.'),
  subjects: z.enum(subjectStrategies).default('topic').describe('Under which subjects the outputs\' schemas are registered; see contracts.md, "Subjects".'),
})

const privacySchema = z.strictObject({
  outputs: z.enum(['tokens', 'clear']).default('tokens').describe('What scored events and alerts have in place of personal values: tokens under the keys of `--privacy-keys`, or the values as they are.'),
  deadLetters: z.enum(['clear', 'encrypted']).default('clear').describe('`encrypted`: key, value and headers of dead letters are encrypted whole under a key of `--privacy-keys`; the cause stays readable.'),
})

/** What a release has to bring with it, and when it goes back by itself. */
const releasesSchema = z.strictObject({
  validation: z.boolean().default(false).describe('A version needs a validation record in the ledger (`harrier models validate`) before it may decide anything.'),
  approval: z.boolean().default(false).describe('A release or a canary is a proposal until somebody else approves it (`harrier models approve`). A rollback never waits.'),
  guardrails: guardrailsSchema.optional().describe('Limits whose breach rolls a release back by itself; see releases.md, "Guardrails".'),
})

/** Every limit of a running topology: name, default, range. */
export const limitsSchema = z.strictObject({
  batchRecordsMax: z.number().int().min(1).max(16_384).default(2000).describe('Records of one batch, which is one transaction.'),
  batchDelayMsMax: z.number().min(0).max(1000).default(5).describe('A batch begins at least so long after the one before, in ms, so that events share a transaction; one that comes alone waits for nothing.'),
  batchesAheadMax: z.number().int().min(1).max(4).default(2).describe('Batches folded but not committed, besides the one that is committing.'),
  earlyBatchesMax: z.number().int().min(1).max(64).optional().describe('In place of `batchesAheadMax` with `delivery: atLeastOnce`: batches whose scores can be read already and that have not committed. 8 where it is left out.'),
  recordBytesMax: z.number().int().min(1).default(1 << 20).describe('Largest value of an input record in bytes; a larger one is a dead letter.'),
  batchBytesMax: z.number().int().min(64 << 20).default(256 << 20).describe('Records of one batch in bytes, and its outputs in bytes.'),
  windowEntriesMax: z.number().int().min(64).max(1 << 17).default(4096).describe('Entries in the window log of one entity; a power of two. Past it the windows of that entity are tiled.'),
  checkpointIntervalMs: durationSchema
    .refine((ms) => ms >= 100, 'at least 100ms')
    .default(10_000)
    .describe('No change of an entity stays off the changelog longer than this (half as long again where the entity is in every batch), unless `checkpointBytesMax` forbids it. At least 100ms.'),
  checkpointBytesMax: z.number().int().min(1024).default(1 << 20).describe('Changelog bytes of one transaction.'),
  turnedPerBatchMax: z.number().int().min(16).max(8192).default(2048).describe('Entities whose turned day the sweep of a batch looks at, in stages with `score: { when: dayTurn }`; at least one segment of 4096.'),
  standby: z.number().int().min(0).max(1).default(0).describe('Warm copies of the state of each partition in other processes of the group, for a quick take-over. Costs as much memory again.'),
  workers: z.union([z.literal('auto'), z.number().int().min(1).max(64)]).default('auto').describe('Threads that run models. `auto`: one, and more while the models are what limits the throughput; see architecture.md, "Threads and sequence memory".'),
  workersMax: z.number().int().min(1).max(64).default(8).describe('Threads of `workers: auto`; never more than the machine has cores.'),
  explainedEventsMax: z.number().int().min(1).max(16_384).default(2000).describe('Alerts of one batch that get reasons, the first ones; those behind say that they have none. Below `batchRecordsMax` it depends on the borders of batches which these are.'),
  inputIdleMsMax: durationSchema.default(2000).describe('How long events wait for labels that are on their topic and have not been read yet. Where all have been read nothing waits.'),
  labelsPendingMax: z.number().int().min(1000).default(50_000).describe('Labels of a partition that have been read and whose time has not come. Past it they are read later.'),
  abortsInARowMax: z.number().int().min(1).default(20).describe('Aborted transactions in a row before the engine gives up.'),
})

export const topologySchema = z
  .strictObject({
    name: identifier.describe('Goes into every topic, group and id that the topology owns.'),
    source: sourceSchema,
    labels: labelsSchema.optional().describe('What events turned out to be, as it becomes known; see "Labels".'),
    stages: z.record(identifier, stageSchema).describe('One or more, under names of your own, in the order in which events pass through them; see "Stages".'),
    releases: releasesSchema.optional().describe('What a release needs; see releases.md, "Validation and approval".'),
    privacy: privacySchema.optional().describe('What happens to personal fields and to dead letters; see privacy.md.'),
    schemas: schemasSchema.optional().describe('How the schemas of the outputs get into the registry.'),
    delivery: z
      .enum(['exactlyOnce', 'atLeastOnce'])
      .optional()
      .describe('When scored events and alerts can be read: with the transaction of their batch (`exactlyOnce`, also where it is left out), or as soon as they are computed, and after a crash some of them twice (`atLeastOnce`); see "Delivery".'),
    limits: limitsSchema.prefault({}),
  })
  .superRefine((topology, context) => {
    const refuse = (path: (string | number)[], message: string): void => context.addIssue({ code: 'custom', path, message })
    const { fields } = topology.source
    if (fields[eventIdField]?.type !== 'text') refuse(['source', 'fields', eventIdField], 'is required, with type text: the id that scored events carry')
    const time = fields[eventTimeField]?.type
    if (time === undefined || !(time === 'iso8601' || time.startsWith('timestamp-'))) {
      refuse(['source', 'fields', eventTimeField], 'is required, with type timestamp-millis, timestamp-micros, timestamp-seconds or iso8601')
    }
    const { subjects = 'topic', record, schema, format } = topology.source
    if (subjects !== 'topic' && record === undefined && schema === undefined) refuse(['source', 'record'], `subjects: ${subjects} needs the full name of the record, here or in a schema file`)
    if (format === 'json' && (subjects !== 'topic' || record !== undefined)) refuse(['source', 'subjects'], 'plain JSON has no schema in a registry; format: json-schema has')
    const names = Object.keys(topology.stages)
    if (names.length === 0 || names.length > stagesMax) refuse(['stages'], `a topology has 1 to ${stagesMax} stages; this one has ${names.length}`)
    if (topology.labels) refuseLabels(topology.labels, Object.values(topology.stages), refuse)
    const fieldsOf = fieldsOfStages(fields, topology.stages)
    for (const [place, [name, stage]] of Object.entries(topology.stages).entries()) {
      const at = (...path: (string | number)[]): (string | number)[] => ['stages', name, ...path]
      const fields = new Map(fieldsOf[place]!.map((field) => [field.name, field]))
      const isLast = place === names.length - 1
      if (isLast && !stage.models) refuse(at('models'), 'the last stage needs a champion: it decides')
      if (isLast && !stage.policy) refuse(at('policy'), 'the last stage needs a policy: decline and review')
      if (!isLast && stage.policy) refuse(at('policy'), 'only the last stage decides; leave the policy to it')
      if (place === 0 && stage.upstreamSkew !== upstreamSkewDefault) refuse(at('upstreamSkew'), 'the first stage has no stage before it')
      const key = fields.get(stage.key)
      if (key?.type !== 'text') refuse(at('key'), `"${stage.key}" is not a text field of the source`)
      else if (place > 0 && key.optional) refuse(at('key'), `"${stage.key}" is optional: an event without it would have no way through this stage`)
      refuseTurns(topology, { stage, place, isLast }, fields, (path, message) => refuse(at(...path), message))
      const seen = new Set<string>()
      for (const [index, feature] of stage.features.entries()) {
        if (seen.has(feature.name)) refuse(at('features', index, 'name'), `"${feature.name}" is declared twice`)
        seen.add(feature.name)
        if (reachOf(feature) + stage.grace > stage.ttl) {
          refuse(at('ttl'), `must be at least the longest window plus grace, so that no entity expires within a window of ${feature.name}`)
        }
        if (usesLabels([feature]) && !topology.labels) refuse(at('features', index, 'kind'), `${feature.kind} needs a labels topic: declare it under labels`)
        if ('where' in feature && feature.where) {
          const type = fields.get(feature.where.field)?.type ?? 'text'
          if (type === 'text') refuse(at('features', index, 'where', 'field'), `"${feature.where.field}" is not a number field of the source`)
        }
        if (!('field' in feature)) continue
        const field = fields.get(feature.field)
        if (!field) refuse(at('features', index, 'field'), `"${feature.field}" is not a field of the source`)
        else if (feature.kind === 'category') {
          const { values } = feature
          if (field.type !== 'text' && field.type !== 'integer') {
            refuse(at('features', index, 'field'), `"${feature.field}" is ${field.type}; a category reads a text or an integer field`)
          } else if (field.type === 'integer' && values.some((value) => typeof value !== 'number')) {
            refuse(at('features', index, 'values'), `"${feature.field}" is integer; write its values as numbers, without quotes`)
          }
          const twice = values.find((value, place) => values.findIndex((other) => String(other) === String(value)) !== place)
          if (twice !== undefined) refuse(at('features', index, 'values'), `"${twice}" stands twice`)
        } else if (feature.kind === 'distinctCount') {
          if (field.type !== 'text' && field.type !== 'integer') refuse(at('features', index, 'field'), `"${feature.field}" is ${field.type}; a distinct count reads a text or an integer field`)
        } else if (field.type === 'text') refuse(at('features', index, 'field'), `"${feature.field}" is text; a feature reads numbers`)
        else if (field.optional) refuse(at('features', index, 'field'), `"${feature.field}" is optional; give it a default so that a feature always has a value`)
        else if (sumsExactly(feature) && field.type !== 'integer') {
          refuse(at('features', index, 'field'), `"${feature.field}" is ${field.type}; windows sum integers exactly: declare it as integer with a scale (minor units)`)
        }
      }
      const { policy, models } = stage
      for (const [index, attribute] of (policy?.attributes ?? []).entries()) {
        if (!fields.has(attribute)) refuse(at('policy', 'attributes', index), `"${attribute}" is not a field of the source`)
      }
      const { champion, shadows = [] } = models ?? {}
      for (const [index, shadow] of shadows.entries()) {
        if (shadow === champion || shadows.indexOf(shadow) !== index) refuse(at('models', 'shadows', index), `"${shadow}" is named twice`)
      }
      const fallback = policy?.fallback
      if (typeof fallback === 'object' && 'model' in fallback && fallback.model === champion) {
        refuse(at('policy', 'fallback', 'model'), 'the champion cannot stand in for itself')
      }
      if (typeof fallback === 'object' && 'rule' in fallback && (fields.get(fallback.rule.field)?.type ?? 'text') === 'text') {
        refuse(at('policy', 'fallback', 'rule', 'field'), `"${fallback.rule.field}" is not a number field of the source`)
      }
    }
    if (topology.limits.earlyBatchesMax !== undefined && topology.delivery !== 'atLeastOnce') refuse(['limits', 'earlyBatchesMax'], 'only with delivery: atLeastOnce; batches that wait for their transaction have limits.batchesAheadMax')
    if (!Number.isInteger(Math.log2(topology.limits.windowEntriesMax))) refuse(['limits', 'windowEntriesMax'], 'must be a power of two')
  })

/** What a stage that scores when days turn cannot have. */
function refuseTurns(
  { labels, limits }: { labels?: object | undefined; limits: Limits },
  { stage, place, isLast }: { stage: DeclaredStage; place: number; isLast: boolean },
  fields: ReadonlyMap<string, { type: string; optional?: boolean | undefined }>,
  refuse: (path: (string | number)[], message: string) => void,
): void {
  const { score, features, policy, ring, grace, ttl } = stage
  if (score?.events && score.when !== 'dayTurn') refuse(['score', 'events'], 'without dayTurn every event is scored; leave it out, or write when: dayTurn')
  if (score?.when !== 'dayTurn') return
  if (!isLast) refuse(['score', 'when'], 'only the last stage can score when days turn: a turned day is no event that could be passed on')
  if (place === 0 && labels) refuse(['score', 'when'], 'a stage that reads labels itself cannot turn days; put a stage before it, which may do without models')
  const { events } = score
  if (events && (fields.get(events.field)?.type ?? 'text') === 'text') refuse(['score', 'events', 'field'], `"${events.field}" is not a number field of the source`)
  else if (events && fields.get(events.field)!.optional) refuse(['score', 'events', 'field'], `"${events.field}" is optional; give it a default`)
  for (const [index, feature] of features.entries()) {
    if (needsEvent(feature)) refuse(['features', index, 'kind'], `${feature.kind} looks at an event, and the end of a day is none; write max, sum or mean over window: 1d`)
  }
  if (features.every((feature) => reachOf(feature) === 0)) refuse(['features'], 'at least one feature has a window: what is scored at the end of a day are its windows')
  if (ttl < ring * dayMs + grace) refuse(['ttl'], `must be at least ring × 1d plus grace: an entity is scored for ${ring} days after its last event`)
  if (typeof policy?.fallback === 'object' && 'rule' in policy.fallback) refuse(['policy', 'fallback', 'rule'], 'a day has no fields that a rule could read; write review or { model: … }')
  const rows = frameRowsMax(stage, place, limits)
  if (rows > rowsMaxLimit) {
    const { batchRecordsMax, turnedPerBatchMax } = limits
    const why = `limits.batchRecordsMax ${batchRecordsMax} makes up to ${rows} rows a batch (each event may bring ${dueDaysMax(stage, place)} days with it), more than ${rowsMaxLimit}`
    refuse(['score', 'when'], `${why}; write limits: { batchRecordsMax: ${batchRecordsFor(stage, place, turnedPerBatchMax)} }, a smaller ring or upstreamSkew`)
  }
}

/** The labels give what each stage looks them up by. */
function refuseLabels(labels: z.infer<typeof labelsSchema>, stages: readonly { key: string }[], refuse: (path: (string | number)[], message: string) => void): void {
  const { fields } = labels
  const need = (name: string, wanted: string, fits: (type: string) => boolean): void => {
    if (!fits(fields[name]?.type ?? '') || fields[name]?.optional) refuse(['labels', 'fields', name], `is required, ${wanted}`)
  }
  const isTime = (type: string): boolean => type === 'iso8601' || type.startsWith('timestamp-')
  need(eventIdField, 'with type text: the id of the event that the label is about', (type) => type === 'text')
  need(knownAtField, 'a time: when the label became known', isTime)
  need(isFraudField, 'with type boolean', (type) => type === 'boolean')
  for (const { key } of stages) need(key, 'with type text: a stage is keyed by it', (type) => type === 'text')
}

export type TopologySpec = z.infer<typeof topologySchema>
/** A stage as it is declared. */
export type DeclaredStage = TopologySpec['stages'][string]
/** A stage as it runs: one without models passes its features on, one that is not the last decides nothing. */
export type StageSpec = Omit<DeclaredStage, 'models' | 'policy'> & {
  readonly models: Omit<NonNullable<DeclaredStage['models']>, 'champion'> & { readonly champion: string | undefined }
  readonly policy: PolicySpec
}
export type LabelsSpec = z.infer<typeof labelsSchema>
export type Limits = z.infer<typeof limitsSchema>
