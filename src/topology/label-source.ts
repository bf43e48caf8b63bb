import type { SchemaLookup } from '../codec/registry-client.js'
import { createSourceDecoder, type SourceDecoder } from '../codec/source-decoder.js'
import type { LabelColumns } from './label-fold.js'
import type { Labels, Topology } from './load-topology.js'
import { eventIdField, isFraudField, knownAtField } from './topology-schema.js'

/** How a stage reads its labels topic. */
export interface LabelSource {
  readonly decoder: SourceDecoder
  readonly columns: LabelColumns & { readonly knownAt: number }
}

export function labelSource({ stage, spec }: Topology, labels: Labels, registry: SchemaLookup | undefined): LabelSource {
  const column = (name: string): number => labels.fields.findIndex((field) => field.name === name)
  return {
    decoder: createSourceDecoder({ format: labels.spec.format, fields: labels.fields, readerSchema: labels.readerSchema, registry, recordBytesMax: spec.limits.recordBytesMax }),
    columns: { id: column(eventIdField), knownAt: column(knownAtField), isFraud: column(isFraudField), key: column(stage.key) },
  }
}
