import type { RecordColumns } from '../base/record-columns.js'
import { AvroSourceDecoder } from './avro-source-decoder.js'
import { recordBytesMaxDefault } from './decode-fault.js'
import type { EventColumns } from './event-columns.js'
import { checkFieldSpecs, type FieldSpec } from './field-spec.js'
import { JsonSchemaSourceDecoder } from './json-schema-source-decoder.js'
import { JsonSourceDecoder } from './json-source-decoder.js'
import { PackedRowDecoder } from './packed-row.js'
import type { SchemaLookup } from './registry-client.js'

/** `json-schema` is JSON behind the registry's envelope. */
export const sourceFormats = ['avro', 'json-schema', 'json'] as const
export type SourceFormat = (typeof sourceFormats)[number]

/** Bytes of a source to columns of events. One decoder serves any number of batches and of `EventColumns`. */
export interface SourceDecoder {
  /**
   * Fetches the schemas that the batch needs and that are not known yet. Undefined when there is nothing to fetch, so
   * that the steady path awaits nothing. Waits while the registry is down, until `signal` aborts
   * (REGISTRY_UNAVAILABLE); REGISTRY_REFUSED when it answers anything but the schema or "unknown id". The next batch is
   * prepared after this one is decoded: what is known may be forgotten to keep within its limit. `unknownIds` are not
   * asked for.
   */
  prepare(records: RecordColumns, from?: number, signal?: AbortSignal, unknownIds?: ReadonlySet<number>): Promise<void> | undefined
  /**
   * Decodes rows `from` to `records.count` and sets `events.count`. Every row is either complete or has a fault; never
   * throws for what is in a record. Formatted text is appended to the arena of `records`. `from` 0 resets `events`.
   * Records of the schema ids `unknownIds` are taken as of unknown schema, whatever the registry says now: a restore
   * folds them as they were folded then (`unknown_schema_ids` of the lineage).
   */
  decode(records: RecordColumns, events: EventColumns, from?: number, unknownIds?: ReadonlySet<number>): void
}

export interface SourceDecoderOptions {
  readonly format: SourceFormat
  readonly fields: readonly FieldSpec[]
  /** The contract as the topology knows it: Avro, whose defaults and aliases fill what a writer lacks, or JSON Schema. */
  readonly readerSchema?: object | undefined
  /** Needed for Avro and JSON Schema. */
  readonly registry?: SchemaLookup | undefined
  /** Largest accepted value in bytes. */
  readonly recordBytesMax?: number | undefined
  /** `json` only: the rows of a table, of which some are packed (packed-row.ts). */
  readonly isTable?: boolean | undefined
}

/** Throws TOPOLOGY_INVALID or SCHEMA_INVALID when the fields cannot be read from the reader schema. */
export function createSourceDecoder(options: SourceDecoderOptions): SourceDecoder {
  checkFieldSpecs(options.fields)
  const recordBytesMax = options.recordBytesMax ?? recordBytesMaxDefault
  const { format, fields, readerSchema, registry, isTable } = options
  if (format === 'json') return new JsonSourceDecoder(fields, recordBytesMax, readerSchema, isTable ? new PackedRowDecoder(fields) : undefined)
  if (format === 'json-schema') return new JsonSchemaSourceDecoder(fields, recordBytesMax, readerSchema, registry)
  return new AvroSourceDecoder(fields, recordBytesMax, readerSchema, registry)
}
