import type { RecordColumns } from '../base/record-columns.js'
import type { EventColumns } from '../codec/event-columns.js'
import type { SchemaLookup } from '../codec/registry-client.js'
import { createSourceDecoder, type SourceDecoder } from '../codec/source-decoder.js'
import { hashId } from '../entity/id-hash.js'
import type { Labels, Topology } from './load-topology.js'
import { eventIdField, eventTimeField, isFraudField, knownAtField } from './topology-schema.js'

/** How a stage reads its labels topic. Columns by number; -1: the labels do not give it. */
export interface LabelSource {
  readonly decoder: SourceDecoder
  readonly columns: { readonly id: number; readonly eventTime: number; readonly knownAt: number; readonly isFraud: number; readonly key: number }
}

export function labelSource({ stage, spec }: Topology, labels: Labels, registry: SchemaLookup | undefined): LabelSource {
  const column = (name: string): number => labels.fields.findIndex((field) => field.name === name)
  return {
    decoder: createSourceDecoder({ format: labels.spec.format, fields: labels.fields, readerSchema: labels.readerSchema, registry, recordBytesMax: spec.limits.recordBytesMax }),
    columns: { id: column(eventIdField), eventTime: column(eventTimeField), knownAt: column(knownAtField), isFraud: column(isFraudField), key: column(stage.key) },
  }
}

/** The hash by which a label finds its event in a window log. */
export function hashLabelId(records: RecordColumns, labels: EventColumns, column: number, row: number): number {
  return hashId(records.arena.bytes, labels.textAt[column]![row]!, labels.textBytes[column]![row]!)
}
