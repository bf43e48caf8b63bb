import avro from 'avsc'
import { decodeLineage, type LineageRecord } from '../codec/lineage-codec.js'
import { prefixBytes } from '../codec/registry-prefix.js'
import { loadOwnSchema } from '../codec/schema-files.js'
import { deadLetterHeaders } from '../consumer/dead-letter.js'
import type { TopologyNames } from '../topology/names.js'
import type { Connections } from '../stack/connections.js'
import { readCommitted, type CommittedRecord } from './committed-reader.js'

/** What came of one input record. */
export interface Outcome {
  readonly partition: number
  /** Offset in the output topic. */
  readonly offset: number
  /** Event id of a scored event, input offset of a dead letter. */
  readonly names: { readonly id: string } | { readonly inputOffset: number }
  /** All of it but its lineage, bit for bit. */
  readonly content: string
  /** Of a scored event. */
  readonly lineage?: { readonly task: string; readonly sequence: number }
  readonly needsAlert: boolean
}

export interface Alert {
  readonly id: string
  readonly partition: number
  readonly content: string
}

/** What a run left on the broker, as committed readers see it. */
export interface RunRecords {
  readonly outcomes: readonly Outcome[]
  readonly alerts: readonly Alert[]
  readonly lineage: readonly LineageRecord[]
}

interface ScoredEvent {
  readonly event_id: string
  readonly decision: string
  readonly lineage: { task: string; sequence: number }
}

// avsc, not the engine's own codec: what the engine wrote is read by another hand.
const scoredType = avro.Type.forSchema(loadOwnSchema('scored-event') as avro.Schema)
const alertType = avro.Type.forSchema(loadOwnSchema('alert') as avro.Schema)

export async function readRun(connections: Connections, names: TopologyNames): Promise<RunRecords> {
  const read = await readCommitted(connections, [names.scored, names.alerts, names.deadLetters, names.lineage])
  const of = (topic: string): CommittedRecord[] => read.get(topic)!
  return {
    outcomes: [...of(names.scored).map(scoredOutcome), ...of(names.deadLetters).map(deadLetterOutcome)],
    alerts: of(names.alerts).map((record) => {
      const alert = alertType.fromBuffer(body(record)) as ScoredEvent
      return { id: alert.event_id, partition: record.partition, content: withoutSequence(alertType, alert) }
    }),
    lineage: of(names.lineage).map(({ value }) => decodeLineage(value!)),
  }
}

function scoredOutcome(record: CommittedRecord): Outcome {
  const { partition, offset, key } = record
  const event = scoredType.fromBuffer(body(record)) as ScoredEvent
  const content = `${key?.toString('base64')} ${withoutSequence(scoredType, event)}`
  return { partition, offset, names: { id: event.event_id }, content, lineage: { ...event.lineage }, needsAlert: event.decision !== 'APPROVE' }
}

function deadLetterOutcome({ partition, offset, key, value, headers }: CommittedRecord): Outcome {
  const header = (name: keyof typeof deadLetterHeaders): string => String(headers[deadLetterHeaders[name]])
  const content = [header('exception'), header('message'), key?.toString('base64'), value?.toString('base64')].join(' ')
  return { partition, offset, names: { inputOffset: Number(header('offset')) }, content, needsAlert: false }
}

/** Where borders of batches fall differs from run to run, and with it the sequence; nothing else may differ. */
function withoutSequence(type: avro.Type, event: ScoredEvent): string {
  return type.toBuffer({ ...event, lineage: { ...event.lineage, sequence: 0 } }).toString('base64')
}

function body({ value }: CommittedRecord): Buffer {
  return value!.subarray(prefixBytes)
}
