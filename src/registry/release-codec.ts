import type avro from 'avsc'
import { HarrierError, messageOf } from '../base/errors.js'
import { exactAvroType } from '../codec/exact-avro-type.js'
import { prefixBytes, schemaPrefix } from '../codec/registry-prefix.js'
import { loadOwnSchema } from '../codec/schema-files.js'
import type { Release, StageModels } from './release.js'

/** One of our record types with the registry's prefix, and readers of what other versions of it wrote. */
class RecordCodec<T> {
  readonly #what: string
  readonly #type: avro.Type
  readonly #writers = new WeakMap<object, avro.Type>()

  constructor(what: string, schema: object) {
    this.#what = what
    this.#type = exactAvroType(schema)
  }

  encode(schemaId: number, value: T): Buffer {
    return Buffer.concat([schemaPrefix(schemaId), this.#type.toBuffer(value)])
  }

  /** `writerSchema`: of the value's id. Errors: RECORD_UNDECODABLE. */
  decode(value: Uint8Array, writerSchema: object): T {
    try {
      if (value.length < prefixBytes || value[0] !== 0) throw new Error('no registry prefix')
      let writer = this.#writers.get(writerSchema)
      if (!writer) this.#writers.set(writerSchema, (writer = exactAvroType(writerSchema)))
      const body = Buffer.from(value.buffer, value.byteOffset + prefixBytes, value.length - prefixBytes)
      // avsc gives instances of classes of its own; everything else here is plain.
      return JSON.parse(JSON.stringify(this.#type.fromBuffer(body, this.#type.createResolver(writer)))) as T
    } catch (error) {
      throw new HarrierError('RECORD_UNDECODABLE', `not ${this.#what}: ${messageOf(error)}`, { cause: error })
    }
  }
}

export const releaseCodec = new RecordCodec<Release>('a release', loadOwnSchema('release'))
export const stageModelsCodec = new RecordCodec<StageModels>('the models of a stage', loadOwnSchema('stage-models'))
