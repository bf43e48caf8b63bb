import { messageOf } from '../base/errors.js'
import type { MaskPath } from '../privacy/mask.js'
import { parseAvroSchema, type AvroType } from './avro-schema.js'
import { AvroValueReader } from './avro-value-reader.js'
import { marksOf } from './personal-marks.js'
import { UnknownSchemaIdError, WrongSchemaTypeError, type RegistryClient } from './registry-client.js'
import { prefixBytes, schemaIdOf } from './registry-prefix.js'

/** A value for a person. `problem` says why an Avro value could not be read; `value` is then what can be shown of it. */
export interface DecodedValue {
  readonly encoding: 'avro' | 'json' | 'text' | 'binary' | 'null'
  readonly schemaId?: number
  readonly value: unknown
  readonly problem?: string
  /** Where its schema marks personal values. */
  readonly personal?: readonly MaskPath[]
}

/** Bytes of a binary value that are shown. */
export const shownBytesMax = 64

/**
 * Decodes any value of any topic into a plain object for people: Avro or JSON by its schema id, else JSON, else text, else the
 * first bytes in hex. Integers beyond 2^53 become decimal text, exactly. Waits for a registry that is down.
 */
export class GenericDecoder {
  readonly #registry: Pick<RegistryClient, 'schemaById'> | undefined
  readonly #types = new Map<number, { readonly type: AvroType; readonly personal: readonly MaskPath[] }>()

  constructor(registry: Pick<RegistryClient, 'schemaById'> | undefined) {
    this.#registry = registry
  }

  async decode(value: Uint8Array | null, signal?: AbortSignal): Promise<DecodedValue> {
    if (value === null) return { encoding: 'null', value: null }
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
    const schemaId = schemaIdOf(value)
    if (schemaId === undefined || !this.#registry) return decodePlain(bytes)
    try {
      const { type, personal } = await this.#type(schemaId, this.#registry, signal)
      return { encoding: 'avro', schemaId, value: new AvroValueReader(bytes, prefixBytes).readAll(type), ...(personal.length > 0 ? { personal } : {}) }
    } catch (error) {
      if (error instanceof WrongSchemaTypeError) {
        // JSON Schema frames JSON as Avro is framed.
        const body = decodePlain(error.found === 'JSON' ? bytes.subarray(prefixBytes) : bytes)
        return error.found === 'JSON' ? { ...body, schemaId } : { ...body, schemaId, problem: error.message }
      }
      if (error instanceof Error && error.name === 'HarrierError' && !(error instanceof UnknownSchemaIdError)) throw error
      return { ...decodePlain(bytes), schemaId, problem: messageOf(error) }
    }
  }

  async #type(id: number, registry: Pick<RegistryClient, 'schemaById'>, signal: AbortSignal | undefined): Promise<{ readonly type: AvroType; readonly personal: readonly MaskPath[] }> {
    let known = this.#types.get(id)
    if (!known) {
      const schema = await registry.schemaById(id, signal)
      known = { type: parseAvroSchema(schema), personal: marksOf(schema, 'avro').map(({ path }) => path) }
      this.#types.set(id, known)
    }
    return known
  }
}

function decodePlain(bytes: Buffer): DecodedValue {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    const hex = bytes.subarray(0, shownBytesMax).toString('hex')
    return { encoding: 'binary', value: bytes.length > shownBytesMax ? `${hex}… (${bytes.length} bytes)` : hex }
  }
  try {
    return { encoding: 'json', value: JSON.parse(quoteUnsafeIntegers(text)) }
  } catch {
    return { encoding: 'text', value: text }
  }
}

/** Integers that a number would round, as strings; strings pass untouched. */
function quoteUnsafeIntegers(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token,
  )
}
