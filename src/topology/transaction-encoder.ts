import avsc from 'avsc'
import { Arena } from '../base/arena.js'
import { HarrierError, messageOf } from '../base/errors.js'
import { RecordColumns } from '../base/record-columns.js'
import { EventColumns } from '../codec/event-columns.js'
import type { RegistryClient } from '../codec/registry-client.js'
import { schemaPrefix } from '../codec/registry-prefix.js'
import { createSourceDecoder, type SourceDecoder } from '../codec/source-decoder.js'
import type { Topology } from './load-topology.js'
import type { TopologyNames } from './names.js'
import { inputSubject } from './subjects.js'

/** Fields that one error names. */
const problemsMax = 5
/** At first; it grows for larger transactions. */
const arenaBytes = 1 << 12

export interface EncodedTransaction {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

/** Turns a transaction that came as JSON into a record of the input, in the format and by the schema of its other writers. */
export class TransactionEncoder {
  readonly #topology: Topology
  readonly #decoder: SourceDecoder
  /** Null: plain JSON. */
  readonly #prefix: Uint8Array | null
  /** Null: the bytes go as they came. */
  readonly #type: avsc.Type | null
  /** Of one transaction, from one await to the next. */
  readonly #records = new RecordColumns(1, new Arena(arenaBytes))
  readonly #events: EventColumns

  private constructor(topology: Topology, decoder: SourceDecoder, prefix: Uint8Array | null, type: avsc.Type | null) {
    this.#topology = topology
    this.#decoder = decoder
    this.#events = new EventColumns(topology.fields, 1)
    this.#prefix = prefix
    this.#type = type
  }

  /** Errors: SCHEMA_INVALID, REGISTRY_REFUSED. */
  static async open(topology: Topology, names: TopologyNames, registry: RegistryClient): Promise<TransactionEncoder> {
    const { format } = topology.spec.source
    const decoder = createSourceDecoder({ format, fields: topology.fields, readerSchema: topology.readerSchema, registry, recordBytesMax: topology.spec.limits.recordBytesMax })
    if (format === 'json') return new TransactionEncoder(topology, decoder, null, null)
    const subject = inputSubject(topology, names)
    const latest = subject === undefined ? undefined : await registry.latest(subject)
    const schema = latest?.schema ?? topology.readerSchema
    if (schema === undefined) throw new HarrierError('SCHEMA_INVALID', `no schema is registered under ${subject}`, { remedy: 'register the schema of the input, or name it as source.schema' })
    const id = latest?.id ?? (await registry.register(subject!, schema))
    try {
      const type = format === 'avro' ? avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: 'never' }) : null
      return new TransactionEncoder(topology, decoder, schemaPrefix(id), type)
    } catch (error) {
      throw new HarrierError('SCHEMA_INVALID', `the schema of ${subject} cannot be written by: ${messageOf(error)}`, { cause: error })
    }
  }

  /** Errors: RECORD_INVALID, as its dead letter would say; then nothing is in the log. */
  async encode(body: Uint8Array, json: unknown): Promise<EncodedTransaction> {
    const content = this.#type === null ? body : this.#toAvro(this.#type, json)
    const value = this.#prefix === null ? content : Buffer.concat([this.#prefix, content])
    const records = this.#records
    const events = this.#events
    this.#take(value)
    const loading = this.#decoder.prepare(records)
    if (loading) {
      await loading
      // Another transaction may have been here meanwhile.
      this.#take(value)
    }
    this.#decoder.decode(records, events)
    const fault = events.faultMessage(0)
    if (fault !== '') throw new HarrierError('RECORD_INVALID', fault)
    // a key is a text field: topology-schema.ts
    return { key: Buffer.from(events.text(events.index(this.#topology.stage.key), 0, records.arena)!), value }
  }

  #take(value: Uint8Array): void {
    this.#records.reset()
    this.#records.append(0, 0, 0, 0, null, value)
  }

  #toAvro(type: avsc.Type, json: unknown): Buffer {
    try {
      // fills what the schema has defaults for
      return type.toBuffer(type.clone(json))
    } catch {
      const wrong = new Map<string, string>()
      type.isValid(json, { errorHook: (path, value, wanted) => wrong.set(path.join('.') || 'the transaction', `${value === undefined ? 'missing' : 'of another type'} (${String(wanted.typeName)} is wanted)`) })
      const told = [...wrong].slice(0, problemsMax).map(([path, what]) => `${path} is ${what}`)
      throw new HarrierError('RECORD_INVALID', `the transaction does not fit the schema of the input: ${told.join('; ')}`)
    }
  }
}
