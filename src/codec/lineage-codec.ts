import type avro from 'avsc'
import { HarrierError, messageOf } from '../base/errors.js'
import { exactAvroType } from './exact-avro-type.js'
import { prefixBytes, schemaPrefix } from './registry-prefix.js'
import { loadOwnSchema } from './schema-files.js'

/** Records `[from, to)` of one input partition that a transaction took. */
export interface OffsetRange {
  topic: string
  partition: number
  from: number
  to: number
}

export interface ResolvedModel {
  role: string
  /** Part of the events that this model decides, 0 to 1. */
  share: number
  /** name@version */
  model: string
  sha256: string
  /** Digest of what its manifest says of inputs, outputs and score; '' in records of before it was written. */
  manifest: string
  /** Release epoch of its hidden states: a state of another one was warmed from the ring. 1: as the topology names it. */
  epoch: number
  /** The device that really ran it. */
  device: string
  /** Why the model gave no scores in this batch; null when it gave them. */
  failure: string | null
}

/** What one transaction did to one task; schemas/lineage.avsc. All integers are safe integers; times in ms since 1970. */
export interface LineageRecord {
  /** topology/stage/partition */
  task: string
  sequence: number
  /** The input, then the labels topic where the stage reads it. */
  inputs: OffsetRange[]
  counts: {
    records: number
    /** Scored events: of records, and of days that turned. */
    scored: number
    /** Of those: days that turned. */
    turned: number
    /** Records that changed state and gave no scored event of their own. */
    unscored: number
    alerts: number
    dead_letters: number
    late: number
    fallbacks: number
    /** Labels that came into effect. */
    labels: number
    labels_repeated: number
    /** Of the labels that came into effect: those that said something else than the one before. */
    labels_conflicting: number
    /** Labels of no event that is known. */
    labels_unknown: number
  }
  models: ResolvedModel[]
  /** Revision of the stage's releases by which these models were in force; 0: the models that the topology names. */
  release: number
  digests: { topology: string; features: string; policy: string; layout: string }
  stream_time_before: number
  stream_time_after: number
  /** How far days have been turned: day since 1970 × 4096 + segment of the entities; -1 where no days turn. */
  turns_before: number
  turns_after: number
  /** After the first stage: stream time of each upstream task, by partition. */
  upstream_stream_times_before: number[]
  upstream_stream_times_after: number[]
  oldest_dirty: number
  transactional_id: string
  engine: { harrier: string; onnxruntime: string; node: string; device_class: string }
  /** Schema ids that the registry did not know when the batch was folded: a replay takes them as unknown too. */
  unknown_schema_ids: number[]
  /** How far an event was let ahead of its record's timestamp, by which a replay decides too; null: as far as it liked. */
  ahead_max_ms: number | null
  /** Keys of the tokens in its outputs, oldest first: the first one joins. Empty: its outputs carry none. */
  tokens: { version: number; id: string }[]
  /** The batch changed state only: another state generation had scored its events, or was about to. */
  silent: boolean
}

const ownType = exactAvroType(loadOwnSchema('lineage'))
/** Resolvers of writer schemas of other versions. One for each version of our own schema: few. */
const resolvers = new WeakMap<object, avro.Type>()

/** The value of a lineage record, with the registry's prefix. Throws for a wrong type or an integer beyond 2^53-1: our bug. */
export function encodeLineage(schemaId: number, record: LineageRecord): Uint8Array {
  return Buffer.concat([schemaPrefix(schemaId), ownType.toBuffer(record)])
}

/**
 * The lineage record of a value with the registry's prefix. `writerSchema` is the schema of the value's id where that
 * may be another version than schemas/lineage.avsc. Throws RECORD_UNDECODABLE (truncated, unsafe integer, ...).
 */
export function decodeLineage(value: Uint8Array, writerSchema?: object): LineageRecord {
  try {
    if (value.length < prefixBytes || value[0] !== 0) throw new Error('no registry prefix')
    const body = Buffer.from(value.buffer, value.byteOffset + prefixBytes, value.length - prefixBytes)
    if (writerSchema === undefined) return ownType.fromBuffer(body) as LineageRecord
    let writer = resolvers.get(writerSchema)
    if (!writer) {
      writer = exactAvroType(writerSchema)
      resolvers.set(writerSchema, writer)
    }
    return ownType.fromBuffer(body, ownType.createResolver(writer)) as LineageRecord
  } catch (error) {
    throw new HarrierError('RECORD_UNDECODABLE', `not a lineage record: ${messageOf(error)}`, { cause: error })
  }
}
