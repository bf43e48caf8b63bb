import { z } from 'zod'
import { durationSchema } from '../base/durations.js'
import { fieldTypes } from '../codec/field-spec.js'
import { featureSchema } from '../features/feature-spec.js'
import { policySchema } from '../policy/policy.js'

const identifier = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/i, 'a letter, then letters, digits, _ or - (63 at most)')
const topic = z.string().regex(/^[a-zA-Z0-9._-]{1,200}$/, 'a topic name: letters, digits, . _ -')
const modelReference = z.string().regex(/^[a-z][a-z0-9_-]*@[0-9]+$/i, 'a model is named name@version, for example card-gru@1')

/** The fields that every source must give; all others are named as the team likes. */
export const eventIdField = 'event_id'
export const eventTimeField = 'event_time'

const fieldSchema = z.strictObject({
  path: z.string().min(1),
  type: z.enum(fieldTypes),
  min: z.number().optional(),
  max: z.number().optional(),
  optional: z.boolean().optional(),
  default: z.union([z.number(), z.string(), z.boolean()]).optional(),
  scale: z.number().int().optional(),
})

const sourceSchema = z.strictObject({
  topic,
  format: z.enum(['avro', 'json']),
  /** An .avsc file, relative to the topology: defaults and aliases for what a writer lacks. */
  schema: z.string().optional(),
  fields: z.record(identifier, fieldSchema),
})

const stageSchema = z.strictObject({
  /** The text field whose value names the entity. */
  key: identifier,
  /** Longest key in bytes; longer ones are dead letters. */
  keyBytesMax: z.number().int().min(1).max(255).default(47),
  grace: durationSchema.default(0),
  ttl: durationSchema,
  late: z.enum(['score', 'dead-letter']).default('score'),
  ring: z.number().int().min(1).max(512).default(32),
  features: z.array(featureSchema).min(1).max(256),
  models: z.strictObject({
    champion: modelReference,
    shadows: z.array(modelReference).max(8).default([]),
    device: z.enum(['cpu', 'webgpu', 'cuda', 'auto']).default('cpu'),
  }),
  policy: policySchema,
})

/** Every limit of a running topology: name, default, range. */
export const limitsSchema = z.strictObject({
  /** Records of one batch, which is one transaction. */
  batchRecordsMax: z.number().int().min(1).max(16_384).default(2000),
  /** How long a batch waits for more records. */
  batchDelayMsMax: z.number().min(0).max(1000).default(5),
  /** Batches folded but not committed, besides the one that is committing. */
  batchesAheadMax: z.number().int().min(1).max(4).default(2),
  recordBytesMax: z.number().int().min(1).default(1 << 20),
  /** Records and outputs of one batch, in bytes. */
  batchBytesMax: z.number().int().min(1 << 20).default(256 << 20),
  /** Window log entries of one entity; a power of two. Past it the windows of the entity are tiled. */
  windowEntriesMax: z.number().int().min(64).max(1 << 20).default(4096),
  /** No change of an entity stays off the changelog longer than this, unless `checkpointBytesMax` forbids it. */
  checkpointIntervalMs: durationSchema.refine((ms) => ms >= 100, 'at least 100ms').default(10_000),
  /** Changelog bytes of one transaction. */
  checkpointBytesMax: z.number().int().min(1024).default(1 << 20),
  /** Threads that run models. */
  workers: z.number().int().min(1).max(64).default(1),
  /** Aborted transactions in a row before the engine gives up. */
  abortsInARowMax: z.number().int().min(1).default(20),
})

export const topologySchema = z
  .strictObject({
    name: identifier,
    source: sourceSchema,
    stages: z.record(identifier, stageSchema),
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
    const names = Object.keys(topology.stages)
    if (names.length !== 1) refuse(['stages'], `a topology has one stage; this one has ${names.length}`)
    for (const [name, stage] of Object.entries(topology.stages)) {
      const at = (...path: (string | number)[]): (string | number)[] => ['stages', name, ...path]
      if (fields[stage.key]?.type !== 'text') refuse(at('key'), `"${stage.key}" is not a text field of the source`)
      const seen = new Set<string>()
      for (const [index, feature] of stage.features.entries()) {
        if (seen.has(feature.name)) refuse(at('features', index, 'name'), `"${feature.name}" is declared twice`)
        seen.add(feature.name)
        if ('window' in feature && feature.window + stage.grace > stage.ttl) {
          refuse(at('ttl'), `must be at least the longest window plus grace, so that no entity expires within a window of ${feature.name}`)
        }
        if (!('field' in feature)) continue
        const field = fields[feature.field]
        if (!field) refuse(at('features', index, 'field'), `"${feature.field}" is not a field of the source`)
        else if (field.type === 'text') refuse(at('features', index, 'field'), `"${feature.field}" is text; a feature reads numbers`)
        else if (field.optional) refuse(at('features', index, 'field'), `"${feature.field}" is optional; give it a default so that a feature always has a value`)
        else if ('window' in feature && field.type !== 'integer') {
          refuse(at('features', index, 'field'), `"${feature.field}" is ${field.type}; windows sum integers exactly: declare it as integer with a scale (minor units)`)
        }
      }
      for (const [index, attribute] of stage.policy.attributes.entries()) {
        if (!fields[attribute]) refuse(at('policy', 'attributes', index), `"${attribute}" is not a field of the source`)
      }
      const { champion, shadows } = stage.models
      for (const [index, shadow] of shadows.entries()) {
        if (shadow === champion || shadows.indexOf(shadow) !== index) refuse(at('models', 'shadows', index), `"${shadow}" is named twice`)
      }
      const { fallback } = stage.policy
      if (typeof fallback === 'object' && 'model' in fallback && fallback.model === champion) {
        refuse(at('policy', 'fallback', 'model'), 'the champion cannot stand in for itself')
      }
      if (typeof fallback === 'object' && 'rule' in fallback && (fields[fallback.rule.field]?.type ?? 'text') === 'text') {
        refuse(at('policy', 'fallback', 'rule', 'field'), `"${fallback.rule.field}" is not a number field of the source`)
      }
    }
    if (!Number.isInteger(Math.log2(topology.limits.windowEntriesMax))) refuse(['limits', 'windowEntriesMax'], 'must be a power of two')
  })

export type TopologySpec = z.infer<typeof topologySchema>
export type StageSpec = TopologySpec['stages'][string]
export type Limits = z.infer<typeof limitsSchema>
